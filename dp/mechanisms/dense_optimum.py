"""The distribution on runs whose bound is the largest, and the covariance that nearly reaches it.

Shares are multiplied with how far each run exceeds the average. The changes of the last rounds are combined so that
what is left to change is least (Anderson, "Iterative procedures for nonlinear integral equations", 1965). A long
horizon starts from the shares of half as many ticks.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache

import numpy as np

from dp.arrays import Floats
from dp.mechanisms.matrix_roots import one_thread
from dp.mechanisms.one_run import SingleRuns, runs_of
from dp.units import ProtectedClass

ROUNDS = 60
STEP = 1.7
"""Power of the multiplicative update; 1 is safe, and a third as fast."""

REMEMBERED = 5
"""Rounds that are combined."""

FALL = 3e-4
"""A combination that lowers the bound by more than this share of it is taken back."""

SMALLEST = -60.0
"""The logarithm of the smallest share, relative to the largest."""

CLOSE_ENOUGH = 2e-6
COARSEST = 64
"""Ticks up to which all shares start equal."""


@lru_cache(maxsize=8)
def optimal_covariance(protected: ProtectedClass) -> tuple[Floats, float]:
    """A covariance close to the optimum, shape (T, T), and the lower bound on the mean of variance times μ².

    The bound holds whatever the search has found.

    Raises:
        ValueError: the class has several runs, or no horizon.
    """
    runs = runs_of(protected)
    with one_thread():
        shares, bound = _searched(runs)
        return runs.covariance(shares), bound


@lru_cache(maxsize=32)
def early_covariance(protected: ProtectedClass, rounds: int) -> Floats:
    """√K of the distribution that so many rounds reach from equal shares, shape (T, T).

    Raises:
        ValueError: the class has several runs, or no horizon.
    """
    runs = runs_of(protected)
    with one_thread():
        return runs.covariance(_improved(runs, np.zeros(len(runs)), rounds)[0])


def _searched(runs: SingleRuns) -> tuple[Floats, float]:
    """The shares whose covariance has the smallest error, and the best bound of any."""
    start = np.zeros(len(runs))
    if runs.ticks > COARSEST:
        start = runs.from_coarser(np.log(_searched(runs.coarser())[0]))
    return _improved(runs, start, ROUNDS)


def _improved(runs: SingleRuns, logs: Floats, rounds: int) -> tuple[Floats, float]:
    """`_searched`, from the logarithms of these shares and in so many rounds at most."""
    best, least = 0.0, math.inf
    good = shares = logs
    tried: deque[tuple[Floats, Floats]] = deque(maxlen=REMEMBERED)
    for _ in range(rounds):
        logs = np.maximum(logs - logs.max(), SMALLEST)
        logs -= math.log(np.exp(logs).sum())
        present = np.exp(logs)
        total, energies = runs.value(present)
        if tried and total**2 < best * (1 - FALL):
            logs = good
            tried.clear()
            continue
        change = STEP * np.log(energies / total)
        if total**2 > best:
            best, good = total**2, logs + change
        if total * energies.max() < least:
            least, shares = total * float(energies.max()), present
        if energies.max() <= total * (1 + CLOSE_ENOUGH):
            break
        tried.append((logs, change))
        logs = _combined(tried, present)
    return shares, best / runs.ticks


def _combined(tried: deque[tuple[Floats, Floats]], shares: Floats) -> Floats:
    """The next logarithms: those of the last round and its change, less what the rounds before say is left."""
    logs, change = tried[-1]
    if len(tried) == 1:
        return logs + change
    moved, differences = (np.diff(np.array(each), axis=0) for each in zip(*tried, strict=True))
    weighted = differences * shares
    coefficients = np.linalg.lstsq(weighted @ differences.T, weighted @ change, rcond=1e-10)[0]
    return np.asarray(logs + change - coefficients @ (moved + differences))
