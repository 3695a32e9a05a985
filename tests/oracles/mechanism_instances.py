"""The literal list of mechanisms and classes that every law is tested on, and the slow definitions they are held to.

Adding a mechanism is one line in `MECHANISM_NAMES`; if it can run without a horizon, one more in `ENDLESS_NAMES`.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.mechanisms import EMPTY_STATE, GRID, LinearDesign, LinearMechanism, Strategy, linear_design
from dp.mechanisms.subtraction_tree import SubtractionTreeStrategy
from dp.units import protected_class
from tests.oracles import subtraction

MECHANISM_NAMES = (
    "laplace",
    "gaussian",
    "binary-tree",
    "binary-tree-laplace",
    "subtraction-tree",
    "b-ary-tree",
    "honaker-tree",
    "smooth-binary",
    "square-root",
    "damped-square-root",
    "buffered-toeplitz",
    "optimal",
)
DATA_DEPENDENT_NAMES = ("sparse-vector", "adaptive-flippancy")
ROUNDED_NAMES = ("buffered-toeplitz", "optimal")
"""What they measure, or how they decode it, is rounded to the grid: without noise counts come back almost."""
ENDLESS_NAMES = (
    "laplace",
    "gaussian",
    "damped-square-root",
    "buffered-toeplitz",
    "optimal",
)


class ClassArguments(NamedTuple):
    """Arguments of `protected_class`."""

    unit: str
    window: int
    w_bound: int
    horizon: int | None


FINITE_CLASSES = (
    ClassArguments("user-day", 1, 2, 40),
    ClassArguments("user-day", 7, 2, 40),
    ClassArguments("user-day", 7, 3, 33),
    ClassArguments("user-day", 30, 2, 64),
    ClassArguments("user-day", 30, 8, 20),
    ClassArguments("user", 1, 1, 1),
    ClassArguments("user", 1, 5, 2),
    ClassArguments("user", 1, 1, 40),
    ClassArguments("user", 7, 3, 40),
    ClassArguments("user", 30, 24, 50),
)
ENDLESS_CLASSES = (
    ClassArguments("user-day", 1, 2, None),
    ClassArguments("user-day", 7, 2, None),
    ClassArguments("user-day", 30, 4, None),
)
ENDLESS_TICKS = 50
"""Ticks over which an instance without a horizon is tested."""


class Instance(NamedTuple):
    """One mechanism for one class."""

    name: str
    arguments: ClassArguments

    @property
    def ticks(self) -> int:
        """How many ticks to test."""
        return self.arguments.horizon or ENDLESS_TICKS

    def __str__(self) -> str:
        unit, window, w_bound, horizon = self.arguments
        return f"{self.name}-{unit}-W{window}-w{w_bound}-T{horizon}"


INSTANCES = tuple(Instance(name, arguments) for name in MECHANISM_NAMES for arguments in FINITE_CLASSES) + tuple(
    Instance(name, arguments) for name in ENDLESS_NAMES for arguments in ENDLESS_CLASSES
)


@cache
def design_of(instance: Instance) -> LinearDesign:
    """The instance's strategy with its sensitivity."""
    return linear_design(instance.name, protected_class(*instance.arguments))


@cache
def mechanism_of(instance: Instance, epsilon: float = 1.0, delta: float = 1e-6) -> LinearMechanism:
    """The instance calibrated on its own."""
    return calibrate_linear([design_of(instance)], Guarantee(epsilon, delta), [1.0])[0]


def strategy_matrix(strategy: Strategy, ticks: int) -> Floats:
    """B⁻¹, by measuring one user who is present at one tick; in users, shape (draws, ticks)."""
    if isinstance(strategy, SubtractionTreeStrategy):
        return subtraction.encoder(strategy.branching, ticks)
    matrix = np.empty((strategy.draws(0, ticks), ticks))
    for present in range(ticks):
        secret, measured = EMPTY_STATE.secret, []
        for tick in range(ticks):
            exact, secret = strategy.measure(tick, secret, int(tick == present))
            measured.extend(exact.tolist())
        matrix[:, present] = measured
    return matrix / GRID


@cache
def strategy_matrix_of(instance: Instance) -> Floats:
    """That of the instance's strategy, over the ticks on which it is tested."""
    return strategy_matrix(design_of(instance).strategy, instance.ticks)


def all_series(ticks: int) -> NDArray[np.int8]:
    """Every 0/1 series; shape (2^ticks, ticks)."""
    return ((np.arange(2**ticks)[:, np.newaxis] >> np.arange(ticks)) & 1).astype(np.int8)


def count_flips(series: NDArray[np.int8]) -> NDArray[np.int64]:
    """Changes of each row, the first from absent; a presence that lasts to the end has no flip there."""
    before = np.pad(series, ((0, 0), (1, 0)))[:, :-1]
    return (series != before).sum(axis=1)


def count_runs(series: NDArray[np.int8]) -> NDArray[np.int64]:
    """Runs of ones of each row."""
    before = np.pad(series, ((0, 0), (1, 0)))[:, :-1]
    return (series > before).sum(axis=1)


def hull_lengths(series: NDArray[np.int8]) -> NDArray[np.int64]:
    """Ticks from the first one of each row to its last, inclusive; 0 for a row of zeros."""
    ticks = series.shape[1]
    lengths = ticks - series[:, ::-1].argmax(axis=1) - series.argmax(axis=1)
    return np.where(series.any(axis=1), lengths, 0)


def allowed_series(arguments: ClassArguments, series: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Which rows a protected change may cause, in the words of the design's section 3 (not of `ProtectedClass`)."""
    unit, window, w_bound, _ = arguments
    if unit == "user":
        return count_flips(series) <= w_bound
    return (count_runs(series) <= (w_bound + 1) // 2) & (hull_lengths(series) <= window)
