"""The row of a point: a pure function of counts and a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.mechanisms import family_of
from dp.units import protected_class
from experiments.engine.grid import point_seed
from experiments.kinds.mechanisms.measures import error_columns, formula_columns
from experiments.kinds.mechanisms.points import MechanismPoint
from experiments.kinds.mechanisms.trials import (
    Observed,
    Steps,
    TrialErrors,
    linear_trial_errors,
    trial_errors,
)


@dataclass(frozen=True)
class Task:
    """A point with all that its row depends on.

    Attributes:
        truth: true counts, shape (T,).
        bounded: counts with every user frozen after W_BOUND flips, for the unit user; else the true counts. Mechanisms
            that need no W_BOUND do not use them.
        metrics: columns besides the usual ones; see `measures.error_measure`.
        share: part of the budget that the series has.
        accountant: the one that vouches for the guarantee; None for the noise's own exact accounting.
        rate: share of the users who are counted.
        steps: the flips behind `bounded`, where only a sample of the users is counted.
        levels: counts under the bounds of a mechanism that chooses its own, shape (2·bounds, T).
    """

    point: MechanismPoint
    delta: float
    trials: int
    seed: int
    truth: tuple[int, ...]
    bounded: tuple[int, ...]
    metrics: tuple[str, ...] = ()
    share: float = 1.0
    accountant: str | None = None
    rate: float = 1.0
    steps: Steps | None = None
    levels: tuple[tuple[int, ...], ...] = ()


def evaluate(task: Task) -> dict[str, Any]:
    """One row: the error of a released day in users, in total and split into noise, sketch error and truncation bias.

    `rmse` is over the days of one series; its mean and its 5 % and 95 % quantiles are over the trials. The same holds
    for `mae`, `p95_error` (what one day in twenty exceeds) and the measures in `metrics`. `analytic_rmse` is
    √(mean variance + mean squared bias) by formula; `analytic_mae` and `analytic_p95_error` are exact for the noise
    that is drawn. `coverage` is the share of days whose interval covers the count that the noise was added to:
    intervals speak of noise (and of the sample where there is one); truncation bias is reported separately. `memory` is
    the most numbers that a stream keeps of the counts between two ticks. What has no formula, because the error depends
    on the data, is None; `noise_rmse` of sparse-vector covers the whole error of its estimates.

    Raises:
        ValueError: the mechanism cannot serve the point.
    """
    point = task.point
    truth = np.array(task.truth)
    generator = np.random.default_rng(point_seed(task.seed, point))
    trial = _trial_errors(task, truth, generator)
    row = {
        **point.values,
        "window": point.window,
        "delta": trial.delta,
        "horizon": len(truth),
        "trials": task.trials,
        "sensitivity": trial.sensitivity,
        "memory": trial.memory,
        **error_columns(trial.errors, truth, task.metrics),
        **formula_columns(trial, truth, task.metrics),
        "noise_rmse": _root_mean_square(trial.noise),
        "bias_rms": _root_mean_square(trial.bias),
        "bias_mean": trial.bias.mean(),
        "coverage": trial.coverage,
    }
    if trial.sampling is not None:
        row["sketch_rmse"] = _root_mean_square(trial.sampling)
    if "delta" in dict(point.extra):
        # What the point may spend: what its guarantee has is 0 where the noise needs no δ.
        row["delta_allowed"] = task.delta
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}


def _trial_errors(task: Task, truth: Integers, generator: np.random.Generator) -> TrialErrors:
    point = task.point
    protected = protected_class(point.unit, point.window, point.w_bound, len(truth))
    budget = (point.epsilon, task.delta, task.share)
    observed = Observed(truth, np.array(task.bounded), np.array(task.levels).T, task.steps)
    asked = (point.mechanism, protected, budget, observed, task.trials, generator)
    if family_of(point.mechanism).data_dependent:
        return trial_errors(*asked)
    return linear_trial_errors(*asked, accountant=task.accountant, rate=task.rate)


def _root_mean_square(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt((errors**2).mean()))
