"""The page *Sketches*: error against memory, and what becomes of it when users leave."""
