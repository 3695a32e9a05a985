"""The worst pattern of a class for any measured matrix, found by search.

A pattern is the sorted ticks of its flips, alternately starts and ends of runs; an end at T is a run that lasts to the
end of the series. With S the two-dimensional prefix sums of Q = MᵀM its energy ‖MΔ‖² is Σ sₐs_b S[tₐ, t_b], where the
signs s alternate. Nothing is assumed of Q, so that trees and other strategies that depend on the position are searched
as well as Toeplitz ones. The search is exact for one run. For more it inserts runs and gaps one by one where they add
most, then moves single flips and exchanges neighbouring pairs until nothing helps, from several starting points.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, islice
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats, Integers
from dp.units import ProtectedClass

MAX_ENUMERATED = 200_000
"""Every set of flips is tried where there are at most this many."""

PROMISING_WINDOWS = 40
"""Positions of a short hull in which flips are moved; the most promising of all."""

RESTARTS = 3
"""Regular patterns, and as many random ones, that are improved besides the one built run by run."""

MIN_GAIN = 1 + 1e-9
"""An energy is larger only by at least this factor; float errors are smaller."""


class Pattern(NamedTuple):
    """A difference series Δ of zeros and ones, and the energy of its change.

    Attributes:
        flips: starts and ends of its runs, alternately; ascending.
        energy: ‖MΔ‖² in squared users.
        exact: whether every pattern of the class was tried.
    """

    flips: Integers
    energy: float
    exact: bool

    def series(self, ticks: int) -> Integers:
        """Δ, shape (ticks,)."""
        changes = np.zeros(ticks + 1, dtype=np.int64)
        changes[self.flips[0::2]] = 1
        changes[self.flips[1::2]] = -1
        return np.cumsum(changes[:ticks])


def worst_pattern(form: Floats, protected: ProtectedClass, generator: np.random.Generator) -> Pattern:
    """The pattern of the class with the largest energy that the search finds.

    Args:
        form: Q = MᵀM for the matrix M of what is seen, shape (T, T).
        protected: of a class without a horizon, the patterns that end within T ticks.
        generator: of random starting points.

    Raises:
        ValueError: the series is shorter than the hull.
    """
    ticks = len(form)
    if protected.hull > ticks:
        raise ValueError(f"{ticks} ticks are measured, but the hull of the class has {protected.hull}")
    sums = np.zeros((ticks + 1, ticks + 1))
    sums[1:, 1:] = form.cumsum(axis=0).cumsum(axis=1)
    if _sets_of_flips(protected, ticks) <= MAX_ENUMERATED:
        return _enumerate(sums, protected)
    if protected.runs == 1:
        return _best_single_run(sums, protected)
    found = list(_search(sums, protected, generator))
    best = max(found, key=lambda flips: _energy(sums, flips))
    return Pattern(best, _energy(sums, best), exact=False)


def _sets_of_flips(protected: ProtectedClass, ticks: int) -> int:
    return sum(comb(ticks + 1, 2 * runs) for runs in range(1, protected.runs + 1))


def _enumerate(sums: Floats, protected: ProtectedClass) -> Pattern:
    """Try every set of flips, a chunk at a time."""
    ticks = len(sums) - 1
    best = Pattern(np.array([0, 1]), -1.0, exact=True)
    for runs in range(1, protected.runs + 1):
        signs = _signs(2 * runs)
        every = combinations(range(ticks + 1), 2 * runs)
        while chunk := list(islice(every, 20_000)):
            flips = np.array(chunk)
            allowed = flips[:, -1] - flips[:, 0] <= protected.hull
            if protected.open_ended and runs == protected.runs:
                allowed &= flips[:, -1] == ticks
            flips = flips[allowed]
            energies = np.einsum("a,nab,b->n", signs, sums[flips[:, :, np.newaxis], flips[:, np.newaxis, :]], signs)
            if len(flips) and energies.max() > best.energy:
                best = Pattern(flips[energies.argmax()], float(energies.max()), exact=True)
    return best


def _best_single_run(sums: Floats, protected: ProtectedClass) -> Pattern:
    diagonal = np.diag(sums)
    starts, ends = np.indices(sums.shape)
    allowed = (ends > starts) & (ends - starts <= protected.hull)
    if protected.open_ended:
        allowed &= ends == len(sums) - 1
    energies = np.where(allowed, np.add.outer(diagonal, diagonal) - 2 * sums, -np.inf)
    start, end = np.unravel_index(energies.argmax(), energies.shape)
    return Pattern(np.array([start, end]), float(energies[start, end]), exact=True)


def _search(sums: Floats, protected: ProtectedClass, generator: np.random.Generator) -> Iterator[Integers]:
    """Patterns that no single move improves, one for each starting point."""
    ticks = len(sums) - 1
    if protected.open_ended:
        # Fewer runs than all end where they like; all of them end with the series.
        fewer = protected.runs - 1
        yield from _search_window(sums, fewer, generator, pinned=False)
        yield from _search_window(sums, protected.runs, generator, pinned=True)
        return
    windows = np.arange(ticks - protected.hull + 1)
    parts = {int(low): sums[low : low + protected.hull + 1, low : low + protected.hull + 1] for low in windows}
    first = {low: _insert_pairs(part, protected.runs, np.empty(0, dtype=np.int64)) for low, part in parts.items()}
    promising = sorted(parts, key=lambda low: -_energy(parts[low], first[low]))[:PROMISING_WINDOWS]
    for low in promising:
        for flips in _search_window(parts[low], protected.runs, generator, pinned=False):
            yield flips + low


def _search_window(sums: Floats, runs: int, generator: np.random.Generator, *, pinned: bool) -> Iterator[Integers]:
    """Starting points in a series as long as the hull, each improved until nothing helps.

    Args:
        pinned: the last run lasts to the end.
    """
    ticks = len(sums) - 1
    last = np.array([ticks]) if pinned else np.empty(0, dtype=np.int64)
    for flips in _starting_points(sums, runs, generator, last):
        yield _improve(sums, flips, runs, pinned)


def _starting_points(sums: Floats, runs: int, generator: np.random.Generator, last: Integers) -> Iterator[Integers]:
    ticks = len(sums) - 1
    if len(last):
        energies = np.diag(sums)[:-1] + sums[-1, -1] - 2 * sums[:-1, -1]
        yield _insert_pairs(sums, runs, np.array([energies.argmax(), ticks]))
    else:
        yield _insert_pairs(sums, runs, last)
    for share in np.linspace(0.3, 0.85, RESTARTS):
        period = ticks / runs
        regular = np.rint(np.arange(runs)[:, np.newaxis] * period + [0.0, share * period]).astype(np.int64).ravel()
        if len(last):
            regular[-1] = ticks
        if np.all(np.diff(regular) > 0):
            yield regular
    room = ticks + 1 - len(last)
    if room >= 2 * runs - len(last):
        for _ in range(RESTARTS):
            yield np.concatenate([np.sort(generator.choice(room, 2 * runs - len(last), replace=False)), last])


def _insert_pairs(sums: Floats, runs: int, flips: Integers) -> Integers:
    """Insert runs and gaps, one at a time where they add most, as long as they add anything."""
    while len(flips) < 2 * runs:
        gain, bigger = _insert_pair(sums, flips)
        if gain <= 0:
            break
        flips = bigger
    return flips


def _improve(sums: Floats, flips: Integers, runs: int, pinned: bool) -> Integers:
    """Move single flips and exchange pairs, each to where the energy is largest, until nothing helps."""
    energy = _energy(sums, flips)
    while True:
        for position in range(len(flips) - pinned):
            flips = _best_place(sums, flips, position)
        for position in range(len(flips) - 1 - pinned):
            if position + 1 < len(flips) - pinned:
                without = np.delete(flips, [position, position + 1])
                _, other = _insert_pair(sums, without)
                if _energy(sums, other) > _energy(sums, flips) * MIN_GAIN:
                    flips = other
        flips = _insert_pairs(sums, runs, flips)
        improved = _energy(sums, flips)
        if improved <= energy * MIN_GAIN:
            return flips
        energy = improved


def _best_place(sums: Floats, flips: Integers, position: int) -> Integers:
    """The pattern with one flip moved to the best place between its neighbours."""
    low = flips[position - 1] + 1 if position else 0
    high = flips[position + 1] if position + 1 < len(flips) else len(sums)
    candidates = np.arange(low, high)
    signs = _signs(len(flips))
    others = np.arange(len(flips)) != position
    across = sums[candidates][:, flips[others]] @ signs[others]
    energies = np.diag(sums)[candidates] + 2 * signs[position] * across
    moved = flips.copy()
    moved[position] = candidates[energies.argmax()]
    return moved


def _insert_pair(sums: Floats, flips: Integers) -> tuple[float, Integers]:
    """The largest gain of a run inserted into a gap, or a gap into a run, and the pattern with it."""
    places = np.arange(len(sums))
    between = np.searchsorted(flips, places, side="right")
    # Where an even number of flips lies before, the pair is a run: its first flip is a start.
    sign = np.where(between % 2 == 0, -1.0, 1.0)
    across = sums[:, flips] @ _signs(len(flips)) if len(flips) else np.zeros(len(sums))
    diagonal = np.diag(sums)
    gains = (diagonal + 2 * sign * across)[:, np.newaxis] + (diagonal - 2 * sign * across) - 2 * sums
    free = ~np.isin(places, flips)
    allowed = (between[:, np.newaxis] == between) & np.triu(np.ones(sums.shape, dtype=np.bool_), 1)
    allowed &= free[:, np.newaxis] & free
    gains = np.where(allowed, gains, -np.inf)
    first, second = np.unravel_index(gains.argmax(), gains.shape)
    if not np.isfinite(gains[first, second]):
        return -np.inf, flips
    return float(gains[first, second]), np.sort(np.append(flips, [first, second]))


def _energy(sums: Floats, flips: Integers) -> float:
    signs = _signs(len(flips))
    return float(signs @ sums[np.ix_(flips, flips)] @ signs)


def _signs(number: int) -> NDArray[np.float64]:
    """−1 for a start, 1 for an end: Δ is the sum of prefixes with these signs."""
    return np.where(np.arange(number) % 2 == 0, -1.0, 1.0)
