"""The page *Plan*: accuracy first, and what it costs."""
