"""The page *Mechanisms*: which of them no other beats at one budget, and what their releases look like."""
