"""The figures of experiments with mechanisms, by name."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from experiments.kinds.mechanisms.budget_figures import budget_split, mechanism_frontier
from experiments.kinds.mechanisms.epsilon_figures import epsilon_measures, epsilon_vs_error
from experiments.kinds.mechanisms.error_figures import deletion_error, horizon_error, w_bound_error

FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "epsilon_vs_error": epsilon_vs_error,
    "epsilon_measures": epsilon_measures,
    "mechanism_frontier": mechanism_frontier,
    "budget_split": budget_split,
    "w_bound_error": w_bound_error,
    "horizon_error": horizon_error,
    "deletion_error": deletion_error,
}
