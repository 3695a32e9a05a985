"""The page *ε × W_BOUND*: what accuracy costs."""
