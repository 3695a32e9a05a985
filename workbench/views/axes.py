"""What the pages offer for ε, δ and W_BOUND, and their generated population. Nothing here imports Streamlit.

Questions are answered in a process that draws nothing.
"""

EPSILONS = (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
W_BOUNDS = (2, 4, 6, 8, 12, 16, 24, 36)
DELTAS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5)
POPULATION_SEED = 7
"""Of every population that a page generates."""
