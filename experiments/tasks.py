"""What is measured at one point: a pure function from counts and a seed to one row."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.mechanisms import Design, linear_design
from dp.release import METRICS
from dp.units import protected_class
from experiments.config import Point

Counts = NDArray[np.int64]

START = date(2024, 1, 1)
CI_LEVEL = 0.95


@dataclass(frozen=True)
class Task:
    """A point with all that its row depends on.

    Attributes:
        truth: true counts, shape (T,).
        bounded: counts with every user frozen after W_BOUND flips, for the unit user; else the true counts.
    """

    point: Point
    delta: float
    trials: int
    seed: int
    truth: tuple[int, ...]
    bounded: tuple[int, ...]


@lru_cache(maxsize=64)
def _design(mechanism: str, unit: str, window: int, w_bound: int, horizon: int) -> Design:
    # One strategy serves all values of ε; choosing it costs more than a thousand trials.
    return linear_design(mechanism, protected_class(unit, window, w_bound, horizon))


def point_seed(seed: int, point: Point) -> int:
    """A seed of the point's own, from the experiment's seed and the point's identity."""
    return int.from_bytes(hashlib.sha256(f"{seed} {point.identity}".encode()).digest()[:16])


def evaluate(task: Task) -> dict[str, Any]:
    """One row: the error of a released day in users, in total and split into noise and truncation bias.

    `rmse` is over the days of one series; its mean and its 5 % and 95 % quantiles are over the trials. `analytic_rmse`
    is √(mean variance + mean squared bias) by formula. `coverage` is the share of days whose interval covers the count
    that the noise was added to: intervals speak of noise, truncation bias is reported apart.
    """
    point = task.point
    truth, bounded = np.array(task.truth), np.array(task.bounded)
    horizon = len(truth)
    chosen = _design(point.mechanism, point.unit, METRICS[point.metric], point.w_bound, horizon)
    mechanism = calibrate_linear([chosen], Guarantee(point.epsilon, task.delta), [1.0])[0]
    generator = np.random.default_rng(point_seed(task.seed, point))
    noise = mechanism.simulate(np.zeros_like(bounded), task.trials, generator)
    bias = (bounded - truth).astype(np.float64)
    error = noise + bias
    by_trial = np.sqrt((error**2).mean(axis=1))
    deviation = mechanism.standard_deviation(horizon)
    return {
        **asdict(point),
        "window": METRICS[point.metric],
        "delta": 0.0 if mechanism.noise.pure else task.delta,
        "horizon": horizon,
        "trials": task.trials,
        "sensitivity": mechanism.sensitivity,
        "rmse": by_trial.mean(),
        "rmse_p05": np.quantile(by_trial, 0.05),
        "rmse_p95": np.quantile(by_trial, 0.95),
        "analytic_rmse": np.sqrt((deviation**2 + bias**2).mean()),
        "noise_rmse": np.sqrt((noise**2).mean()),
        "analytic_noise_rmse": np.sqrt((deviation**2).mean()),
        "bias_rms": np.sqrt((bias**2).mean()),
        "bias_mean": bias.mean(),
        "mae": np.abs(error).mean(),
        "p95_error": np.quantile(np.abs(error), 0.95),
        "relative_rmse": by_trial.mean() / truth.mean(),
        "coverage": (np.abs(noise) <= mechanism.half_width(CI_LEVEL, horizon)).mean(),
    }
