"""Patterns of runs that are bad for a strategy: found by local search, or all of them where they are few.

A pattern is the sorted ticks of its flips, an even number of them: starts and ends of runs, alternating. Two flips at a
single tick cancel, so that patterns of fewer runs are among those of more. In an endless series its energy is
−½ Σ s_a s_b E(|t_a − t_b|) over flips t with alternating signs s, E being the energy of one run.
"""

from __future__ import annotations

import math
from itertools import combinations, islice

import numpy as np

from dp.arrays import Floats, Integers
from dp.units import ProtectedClass

MOST_ENUMERATED = 2_500_000
FEW = 100_000
"""Up to so many patterns each is tried, which takes less than a second."""

LONGEST_IN_HALVES = 31
CHUNK = 2**22
STRIDES = np.unique(np.concatenate([np.arange(16), np.geomspace(16, 2**20, 64).astype(np.int64)]))


def series(flips: Integers, length: int) -> Floats:
    """The 0/1 series of a pattern, shape (length,)."""
    changes = np.zeros(length + 1)
    np.add.at(changes, flips[0::2], 1)
    np.add.at(changes, flips[1::2], -1)
    return np.cumsum(changes)[:length]


def energies(table: Floats, flips: Integers) -> Floats:
    """Energy of patterns with equally many flips; `flips` has shape (patterns, flips)."""
    signs = _signs(flips.shape[1])
    total = np.zeros(len(flips))
    for first, second in combinations(range(flips.shape[1]), 2):
        total -= signs[first] * signs[second] * table[flips[:, second] - flips[:, first]]
    return total


def climbed(table: Floats, flips: Integers, hull: int) -> tuple[float, Integers]:
    """Move one flip at a time to where the energy is largest, until nothing helps: the energy and the flips."""
    flips = flips.copy()
    signs = _signs(len(flips))

    def total() -> float:
        return float(-0.5 * signs @ table[np.abs(np.subtract.outer(flips, flips))] @ signs)

    energy = total()
    while True:
        for position in range(len(flips)):
            low = flips[position - 1] if position else 0
            high = flips[position + 1] + 1 if position + 1 < len(flips) else hull + 1
            candidates = _candidates(low, int(flips[position]), high)
            others = np.arange(len(flips)) != position
            gains = -signs[position] * table[np.abs(np.subtract.outer(candidates, flips[others]))] @ signs[others]
            flips[position] = candidates[gains.argmax()]
        improved = total()
        if improved <= energy * (1 + 1e-9):
            return improved, flips
        energy = improved


def starts(protected: ProtectedClass, generator: np.random.Generator, at_random: int) -> list[Integers]:
    """Patterns to climb from, with as many runs as the class has: regular ones of several densities, random ones."""
    runs, hull = protected.runs, protected.hull
    period = hull / runs
    regular = [
        np.round(np.arange(runs)[:, np.newaxis] * period + np.array([0.0, share * period])).astype(np.int64).ravel()
        for share in (0.3, 0.5, 0.7, 0.85)
    ]
    random = [np.sort(generator.choice(hull + 1, 2 * runs, replace=False)) for _ in range(at_random)]
    return [flips for flips in regular if np.all(np.diff(flips) > 0)] + random


def count(protected: ProtectedClass) -> int:
    """How many patterns of a class start at one tick; counting stops when there are more than anyone could try."""
    total = 0
    for runs in range(1, protected.runs + 1):
        total += math.comb(protected.hull, 2 * runs - 1)
        if total > 10**18:
            break
    return total


def tractable(protected: ProtectedClass) -> bool:
    """Whether the worst of all patterns can be found without a bound."""
    return protected.hull <= LONGEST_IN_HALVES or count(protected) <= MOST_ENUMERATED


def worst(table: Floats, protected: ProtectedClass) -> float:
    """The largest energy of all patterns of a tractable class in an endless series."""
    if protected.hull <= LONGEST_IN_HALVES and count(protected) > FEW:
        return worst_of_halves(table, protected)
    return worst_of_all(table, protected)


def worst_of_all(table: Floats, protected: ProtectedClass) -> float:
    """The largest energy of all patterns of the class in an endless series, one by one."""
    best = 0.0
    for runs in range(1, protected.runs + 1):
        every = combinations(range(1, protected.hull + 1), 2 * runs - 1)
        while chunk := list(islice(every, 200_000)):
            flips = np.pad(np.array(chunk), ((0, 0), (1, 0)))
            best = max(best, float(energies(table, flips).max()))
    return best


def worst_of_halves(table: Floats, protected: ProtectedClass) -> float:
    """The largest energy of all patterns of the class in an endless series, hull ≤ LONGEST_IN_HALVES.

    All halves of patterns are listed; a whole one's energy is that of its halves and what is between them, and its
    runs are theirs, less one where a run goes across.
    """
    left_ticks = protected.hull // 2
    right_ticks = protected.hull - left_ticks
    # Q's n-th off-diagonal is half the second difference of E.
    correlation = np.diff(np.concatenate([[table[1]], table[: protected.hull + 1]]), 2) / 2
    form = correlation[np.abs(np.subtract.outer(np.arange(protected.hull), np.arange(protected.hull)))]
    left, right = _all_series(left_ticks), _all_series(right_ticks)
    across = 2 * left @ form[:left_ticks, left_ticks:]
    left_energy = np.einsum("ij,jk,ik->i", left, form[:left_ticks, :left_ticks], left)
    right_energy = np.einsum("ij,jk,ik->i", right, form[left_ticks:, left_ticks:], right)
    left_groups, right_groups = _groups(left, -1), _groups(right, 0)
    best = 0.0
    for (left_runs, ends), first in left_groups.items():
        for (right_runs, begins), second in right_groups.items():
            if left_runs + right_runs - (ends and begins) <= protected.runs:
                for chunk in np.array_split(first, -(-len(first) * len(second) // CHUNK)):
                    between = across[chunk] @ right[second].T
                    between += left_energy[chunk, np.newaxis]
                    between += right_energy[second]
                    best = max(best, float(between.max()))
    return best


def _all_series(ticks: int) -> Floats:
    """Every 0/1 series, shape (2^ticks, ticks)."""
    return (np.arange(2**ticks)[:, np.newaxis] >> np.arange(ticks) & 1).astype(np.float64)


def _groups(series: Floats, at: int) -> dict[tuple[int, bool], Integers]:
    """Which rows have so many runs and are present, or not, at the tick `at`."""
    runs = (np.diff(series, axis=1, prepend=0.0) > 0).sum(axis=1)
    present = series[:, at] > 0
    return {
        (int(number), bool(there)): np.flatnonzero((runs == number) & (present == there))
        for number in np.unique(runs)
        for there in (False, True)
        if np.any((runs == number) & (present == there))
    }


def _candidates(low: int, present: int, high: int) -> Integers:
    """Ticks in [low, high) to try: all of a short range; of a long one those near its ends and the present one."""
    if high - low <= 2 * len(STRIDES):
        return np.arange(low, high)
    found = np.unique(np.concatenate([low + STRIDES, present - STRIDES, present + STRIDES, high - 1 - STRIDES]))
    return found[(found >= low) & (found < high)]


def _signs(flips: int) -> Integers:
    return np.where(np.arange(flips) % 2 == 0, 1, -1)
