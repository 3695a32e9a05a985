"""The sensitivity certificate for Toeplitz strategies that damp monotonically (docs/guarantees.md, section 2.3).

Let B⁻¹ = 1 − Σ pₙzⁿ with pₙ ≥ 0 non-increasing and Σ pₙ ≤ 1. Then Q = B⁻ᵀB⁻¹ has off-diagonals ≤ 0 and row sums ≥ 0, so
that the energy ΔᵀQΔ of a set of ticks is a graph cut: it is subadditive over unions and over differences. A pattern of
runs therefore has at most the energy Σ E(run), and at most E(hull) + Σ E(gap). Both are bounded together by a convex
combination, whose maximum over all patterns of the class is found exactly by dynamic programming. Where there are
several runs, a sharper bound keeps the negative energy between each run and the next and drops only that between runs
further apart; with a price on every tick its maximum is again found by dynamic programming.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from dp.arrays import Floats
from dp.mechanisms import patterns
from dp.mechanisms.filters import autocorrelation
from dp.units import ProtectedClass

ROUNDING_FACTOR = 1 + 1e-9
"""Covers the float error of sums of at most a few hundred thousand terms of order one (about 1e-12), with room."""

LONGEST_HULL = 2**20
"""Ticks of the longest hull that is certified (2,870 years of days)."""

FAR = 2**17
"""Horizons from here on are not written out: what is long past changes nothing any more."""

DENSE_LIMIT = 1200
"""Longest hull for which all run positions are told apart; the table then has (hull + 1)² entries."""


LONG_RUN, LONG_GAP = 192, 96
"""Runs and gaps above these lengths are not told apart by the neighbour bound."""


def damps(subtracted: Floats) -> bool:
    """Whether p = `subtracted` (p₁, p₂, …) meets the three conditions of the certificate."""
    return bool(np.all(subtracted >= 0) and np.all(np.diff(subtracted) <= 0) and subtracted.sum() <= 1)


def validate_damping(subtracted: Floats) -> None:
    """Raise ValueError unless the weights meet the conditions of the certificate."""
    if not damps(subtracted):
        raise ValueError("the certificate needs weights that are non-negative, non-increasing and sum to at most 1")


def validate_hull(protected: ProtectedClass) -> None:
    """Raise ValueError where the series that a protected change can alter is too long to be looked at tick by tick."""
    if protected.hull > LONGEST_HULL:
        raise ValueError(
            f"one protected change reaches over {protected.hull} ticks, where a strategy that remembers is certified "
            f"up to {LONGEST_HULL}; choose a shorter horizon, or laplace or gaussian, which serve any"
        )


def told_apart(protected: ProtectedClass, reach: int) -> int:
    """How many ticks to look at for a change that is felt for `reach` ticks after its hull: the horizon, if it is near.

    Nothing follows the hull and the reach, so that an end beyond them is not seen.
    """
    settled = protected.hull + reach + 1
    if protected.horizon is None or protected.horizon > max(settled, FAR):
        return settled
    return protected.horizon


def step_response(subtracted: Floats, length: int) -> Floats:
    """c = B⁻¹1, the strategy's answer to a run without an end; shape (length,)."""
    response = np.ones(length)
    reach = min(len(subtracted), length - 1)
    response[1 : reach + 1] -= np.cumsum(subtracted[:reach])
    response[reach + 1 :] = response[reach]
    return response


def sensitivity_squared(subtracted: Floats, protected: ProtectedClass) -> float:
    """An upper bound on the energy ‖B⁻¹Δ‖₂² over the class, in squared users.

    Exact for one run; for few patterns, exact in an endless series.

    Args:
        subtracted: p₁, p₂, …, exactly as the strategy uses them.
        protected: the class; without a horizon the series is as long as any energy can last.

    Raises:
        ValueError: there are too many patterns to try each, and the weights break the conditions of the certificate.
    """
    if protected.runs == 1:
        return single_run(subtracted, protected)
    energy = run_energy(step_response(subtracted, protected.hull + len(subtracted) + 1), protected.hull)
    damped = damps(subtracted)
    if patterns.count(protected) <= patterns.FEW or (not damped and patterns.tractable(protected)):
        endless = patterns.worst(energy, protected)
    else:
        validate_damping(subtracted)
        endless = neighbour_bound(energy, protected.runs, protected.hull)
    # The end of the series, and that a run may last to it, is seen by the cut bound alone.
    return (min(_cut_bound(subtracted, protected), endless) if damped else endless) * ROUNDING_FACTOR


def single_run(subtracted: Floats, protected: ProtectedClass) -> float:
    """The largest energy of one run, whatever the signs of the weights: shifting it to the left only adds energy."""
    length = told_apart(protected, len(subtracted))
    response = step_response(subtracted, length)
    if protected.open_ended:
        return float(response @ response) * ROUNDING_FACTOR
    return float(run_energy(response, protected.hull).max()) * ROUNDING_FACTOR


def _cut_bound(subtracted: Floats, protected: ProtectedClass) -> float:

    length = told_apart(protected, len(subtracted))
    response = step_response(subtracted, length)
    equal_parts = balanced_bound(concave_majorant(run_energy(response, protected.hull)), protected.runs)
    if protected.hull > DENSE_LIMIT:
        return equal_parts
    table = run_energy_table(response, protected.hull)
    best = scipy.optimize.minimize_scalar(
        lambda share: combined_bound(table, protected.runs, protected.open_ended, share),
        bounds=(0.0, 1.0),
        method="bounded",
        options={"xatol": 1e-3},
    )
    edges = (combined_bound(table, protected.runs, protected.open_ended, share) for share in (0.0, 1.0))
    return min(float(best.fun), *edges, equal_parts)


def run_energy(response: Floats, longest: int) -> Floats:
    """E(ℓ) of a run that starts at the first tick, for ℓ = 0 … `longest`; shape (longest + 1,).

    Ticks inside the run see c, ticks after it c_t − c_(t−ℓ); expanding the square leaves two running sums and one
    autocorrelation.
    """
    length = len(response)
    energy = np.concatenate([[0.0], np.cumsum(response**2)])
    lags = np.arange(1, longest + 1)
    overlap = autocorrelation(response, longest + 1)[1:]
    return np.concatenate([[0.0], energy[length] + energy[length - lags] - 2 * overlap])


def run_energy_table(response: Floats, hull: int) -> Floats:
    """Energy of the run [start, end) at [start, end], 0 where end ≤ start; shape (hull + 1, hull + 1).

    The hull starts with the series, so that a later run has fewer ticks left to act on.
    """
    length = len(response)
    inside = np.concatenate([[0.0], np.cumsum(response**2)])
    table = np.zeros((hull + 1, hull + 1))
    for run in range(1, hull + 1):
        after = np.concatenate([[0.0], np.cumsum((response[run:] - response[: length - run]) ** 2)])
        starts = np.arange(hull - run + 1)
        table[starts, starts + run] = inside[run] + after[length - run - starts]
    return table


def combined_bound(table: Floats, runs: int, open_ended: bool, share: float) -> float:
    """max over patterns of share·Σ E(run) + (1 − share)·(E(hull) + Σ E(gap)), exactly.

    A pattern may be taken to start at tick 0, because moving it to the left only adds energy. With `open_ended` those
    that use all runs end with the series and cannot be moved, so they are searched from every start.
    """
    backwards = np.where(np.tri(table.shape[0], dtype=bool), -np.inf, 0.0)
    run_value, gap_value = share * table + backwards, (1 - share) * table + backwards
    origin = np.full(table.shape[0], -np.inf)
    origin[0] = 0.0
    by_number = _ends(origin, run_value, gap_value, runs)
    movable = by_number[:-1] if open_ended else by_number
    best = max((float((ended + (1 - share) * table[0]).max()) for ended in movable), default=0.0)
    if open_ended:
        # All these hulls end with the series, so that a hull's term belongs to its start.
        best = max(best, float(_ends((1 - share) * table[:, -1], run_value, gap_value, runs)[-1][-1]))
    return best


def _ends(started: Floats, run_value: Floats, gap_value: Floats, runs: int) -> list[Floats]:
    """For 1, 2, … `runs` runs: the best value of a pattern that ends at each tick, given the value of each start."""
    found = []
    for _ in range(runs):
        ended = (started[:, np.newaxis] + run_value).max(axis=0)
        found.append(ended)
        started = (ended[:, np.newaxis] + gap_value).max(axis=0)
    return found


def neighbour_bound(energy: Floats, runs: int, hull: int) -> float:
    """max over patterns in an endless series of Σ E(run) + 2 Σ Q(run, next run), from above.

    With R, R′ of ℓ and ℓ′ ticks and g between them, 2Q(R, R′) = E(ℓ+g+ℓ′) + E(g) − E(ℓ+g) − E(g+ℓ′). A price κ ≥ 0 on
    every tick between first and last gives max(value − κ·ticks) + κ·hull ≥ max value, and makes the search a chain from
    run to run. Runs of LONG_RUN or more count the best energy less price among them and the shortest's interaction;
    longer gaps than LONG_GAP count no interaction and the price of the shortest. Both can only add.

    Args:
        energy: E(ℓ) for ℓ = 0 … hull.
    """
    longest, widest = min(hull, LONG_RUN), min(hull, LONG_GAP)
    lengths = np.arange(1, longest + 1)
    every = np.arange(1, hull + 1)
    interactions = np.full((widest, longest, longest), -np.inf)
    for gap in range(1, widest + 1):
        together = np.add.outer(lengths, lengths) + gap
        one_gap = energy[np.minimum(lengths + gap, hull)]
        value = energy[np.minimum(together, hull)] + energy[gap] - one_gap[:, np.newaxis] - one_gap
        interactions[gap - 1] = np.where(together <= hull, value, -np.inf)

    def bound(price: float) -> float:
        gaps = np.arange(1, widest + 1)
        between = (interactions - (price * gaps)[:, np.newaxis, np.newaxis]).max(axis=0)
        if widest < hull:
            between = np.maximum(between, -price * (widest + 1))
        single = energy[1:] - price * every
        value = np.append(single[: longest - 1], single[longest - 1 :].max())
        best = ended = value
        for _ in range(runs - 1):
            ended = (ended[:, np.newaxis] + between).max(axis=0) + value
            best = np.maximum(best, ended)
        return float(best.max()) + price * hull

    highest = float(energy[1])
    found = scipy.optimize.minimize_scalar(
        bound, bounds=(0.0, highest), method="bounded", options={"xatol": highest * 1e-3}
    )
    return min(float(found.fun), bound(0.0))


def concave_majorant(energy: Floats) -> Floats:
    """The least concave, non-decreasing sequence that is nowhere below `energy`."""
    rising = np.maximum.accumulate(energy)
    corners = [0]
    for x in range(1, len(rising)):
        while len(corners) > 1 and _slope(rising, corners[-2], corners[-1]) <= _slope(rising, corners[-1], x):
            corners.pop()
        corners.append(x)
    return np.interp(np.arange(len(rising)), corners, rising[corners])


def balanced_bound(energy: Floats, runs: int) -> float:
    """max over patterns of min(Σ E(run), E(hull) + Σ E(gap)) for a concave non-decreasing `energy`.

    Concavity makes equal parts the worst, so only the number of ticks inside the runs is left to search.
    """
    hull = len(energy) - 1
    best = 0.0
    for count in range(1, min(runs, (hull + 1) // 2) + 1):
        inside = np.arange(count, hull - count + 2)
        by_runs = split_evenly(energy, inside, count)
        by_gaps = energy[hull] + (split_evenly(energy, hull - inside, count - 1) if count > 1 else 0.0)
        best = max(best, float(np.minimum(by_runs, by_gaps).max()))
    return best


def split_evenly(energy: Floats, total: NDArray[np.int64], parts: int) -> Floats:
    """Σ E over `total` ticks split into `parts` parts as equal as whole ticks allow; shape of `total`."""
    size, larger = np.divmod(total, parts)
    next_size = np.minimum(size + 1, len(energy) - 1)
    return np.asarray((parts - larger) * energy[size] + larger * energy[next_size])


def _slope(values: Floats, left: int, right: int) -> float:
    return float(values[right] - values[left]) / (right - left)
