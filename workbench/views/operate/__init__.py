"""The page *Operate*: what an operator does and sees. What is not private stands here alone."""
