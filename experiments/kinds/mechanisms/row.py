"""The row of a point: a pure function of counts and a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.mechanisms import family_of
from dp.units import protected_class
from experiments.engine.grid import point_seed
from experiments.kinds.mechanisms.measures import error_columns, formula_columns
from experiments.kinds.mechanisms.task import Task
from experiments.kinds.mechanisms.trials import Observed, TrialErrors, linear_trial_errors, trial_errors


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
