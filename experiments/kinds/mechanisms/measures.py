"""The numbers of a row: measures of error over days and trials, and by formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dp.arrays import Floats, Integers
from experiments.kinds.mechanisms.closed_forms import mean_absolute, quantile_absolute
from experiments.kinds.mechanisms.trials import TrialErrors

HIGH = 0.95
"""The quantile of `p95_error`."""


def error_columns(errors: Floats, truth: Integers, metrics: Sequence[str]) -> dict[str, float]:
    """Columns over trials: each measure with its 5 % and 95 % quantiles; see `row.evaluate`.

    Args:
        errors: in users, shape (trials, T).
        truth: shape (T,).
        metrics: names that `error_measure` knows.
    """
    size = np.abs(errors)
    by_trial = np.sqrt((errors**2).mean(axis=1))
    mean, means = size.mean(), size.mean(axis=1)
    # Rows are sorted with vector instructions, which selecting two places lacks; both quantiles gain by the order.
    size.sort(axis=1)
    highs = np.quantile(size, HIGH, axis=1, overwrite_input=True)
    high = np.quantile(size, HIGH, overwrite_input=True)
    columns = {
        **_banded("rmse", by_trial.mean(), by_trial),
        **_banded("mae", mean, means),
        **_banded("p95_error", high, highs),
        "relative_rmse": by_trial.mean() / truth.mean(),
    }
    for metric in metrics:
        each = np.array([error_measure(metric, one[np.newaxis], truth) for one in errors])
        columns |= _banded(column_of(metric), error_measure(metric, errors, truth), each)
    return columns


def formula_columns(trial: TrialErrors, truth: Integers, metrics: Sequence[str]) -> dict[str, Any]:
    """Columns `analytic_…`, NaN where there is no formula."""
    squared = trial.deviation**2 + trial.bias**2
    if trial.sampling_deviation is not None:
        squared = squared + trial.sampling_deviation**2
    columns = {
        "analytic_rmse": np.sqrt(squared.mean()),
        "analytic_noise_rmse": np.sqrt((trial.deviation**2).mean()),
        "analytic_mae": mean_absolute(trial.tails, trial.bias) if trial.tails else np.nan,
        "analytic_p95_error": quantile_absolute(trial.tails, trial.bias, HIGH) if trial.tails else np.nan,
    }
    for metric in metrics:
        name, threshold = parse_measure(metric)
        if name == "rmsre":
            columns[f"analytic_{column_of(metric)}"] = np.sqrt((squared / np.maximum(truth, threshold) ** 2).mean())
    return columns


def error_measure(metric: str, error: Floats, truth: Integers) -> float:
    """A measure of error by its name in a config.

    Args:
        metric: "rmsre-THRESHOLD": the root mean square relative error, where a count below the threshold counts as
            the threshold; or "within-PERCENT": the share of days whose error is at most that much of the count.
        error: in users, shape (trials, T).
        truth: shape (T,).

    Raises:
        ValueError: the name says something else.
    """
    name, number = parse_measure(metric)
    if name == "rmsre":
        return float(np.sqrt(((error / np.maximum(truth, number)) ** 2).mean()))
    return float((np.abs(error) <= number / 100 * truth).mean())


def parse_measure(metric: str) -> tuple[str, float]:
    """The two parts of a measure's name.

    Raises:
        ValueError: see `error_measure`.
    """
    name, _, number = metric.partition("-")
    if name not in ("rmsre", "within"):
        raise ValueError(f"metric is {metric!r}; write rmsre-USERS or within-PERCENT, as in rmsre-100, within-10")
    return name, float(number)


def column_of(metric: str) -> str:
    """The column of a measure."""
    return metric.replace("-", "_")


def _banded(name: str, value: float, by_trial: Floats) -> dict[str, float]:
    low, high = np.quantile(by_trial, [0.05, 0.95])
    return {name: value, f"{name}_p05": low, f"{name}_p95": high}
