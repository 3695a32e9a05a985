"""The page *Coverage*: how often intervals hold the count that was noised, and how often the true one."""
