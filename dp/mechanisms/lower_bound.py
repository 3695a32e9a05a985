"""What no mechanism of the form counts + Gaussian noise can beat, whatever its covariance.

For any distribution π on a class, mean variance × μ² ≥ (trace √K)²/T with K = Σ π(Δ) ΔΔᵀ: every π proves a bound, and a
good one is searched for (docs/guarantees.md). Without a horizon the same holds for spectra.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np

from dp.arrays import Floats
from dp.mechanisms import buffered_toeplitz, certificate, design_cache, patterns, stationary
from dp.mechanisms.dense_optimum import STEP, early_covariance, optimal_covariance
from dp.mechanisms.matrix_roots import one_thread, square_roots
from dp.units import ProtectedClass

LONGEST = 1024
"""Longer horizons are bounded by what they hold of this length."""

CLIMBS = 40
MOST_CANDIDATES = 2000
UPDATES = 8
FEW_TICKS = 16
"""Horizons up to which the bounds for fewer runs are looked at too, each in a fraction of a second."""

SEGMENT_ROUNDS = 8
"""For a distribution on a segment; sharper ones mix worse with others."""

ROUNDS = {128: 12, 365: 8, 512: 5, 1024: 2}
"""Rounds of updates of π and of new patterns, for horizons up to so many ticks: some ten seconds."""

SWEEPS = 3


@lru_cache(maxsize=64)
def lower_bound(protected: ProtectedClass) -> float:
    """The least root mean square, over the horizon, of the standard deviation of a release times μ; in users."""
    return design_cache.number("lower-bound", protected, _computed)


def _computed(protected: ProtectedClass) -> float:
    if protected.horizon is None:
        return stationary.optimum(protected).factor
    if protected.horizon > LONGEST:
        return _by_shorter(protected, protected.horizon)
    if protected.runs == 1:
        return math.sqrt(optimal_covariance(protected)[1])
    with one_thread():
        if protected.hull < protected.horizon:
            return float(square_roots(_everywhere(protected, protected.horizon))[0].sum()) / math.sqrt(
                protected.horizon
            )
    differences, shares = _candidates(protected)
    moments = _by_segments(protected)
    shares = np.append(0.5 * shares, np.full(len(moments), 0.5 / max(len(moments), 1)))
    shares /= shares.sum()
    rounds = next(number for longest, number in ROUNDS.items() if protected.horizon <= longest)
    best = 0.0
    if protected.open_ended or protected.horizon <= FEW_TICKS:
        # The search tries patterns that use all runs; the class also holds those with fewer, which may all end.
        fewer = ProtectedClass(protected.runs - 1, protected.hull, protected.horizon)
        best = lower_bound(fewer) * math.sqrt(protected.horizon)
    with one_thread():
        for _ in range(rounds):
            shares, total, form = _updated(differences, moments, shares)
            best = max(best, total)
            single = len(differences)
            found = _climbed_from(form, differences[np.argsort(shares[:single])[-CLIMBS:]], protected)
            differences = np.concatenate([differences, found])
            shares = np.insert(0.9 * shares, single, np.full(len(found), 0.1 / len(found)))
    return best / math.sqrt(protected.horizon)


def _by_shorter(protected: ProtectedClass, horizon: int) -> float:
    """The bound for a long horizon, from mechanisms for fewer ticks that every mechanism for it contains."""
    if protected.hull == horizon:
        # Any LONGEST of the ticks make up the class of that horizon: take all choices, and each tick as often as any.
        return lower_bound(_within(protected, LONGEST))
    whole, rest = divmod(horizon, LONGEST)
    total = whole * LONGEST * lower_bound(_within(protected, LONGEST)) ** 2
    if rest:
        total += rest * lower_bound(_within(protected, rest)) ** 2
    return math.sqrt(total / horizon)


def _within(protected: ProtectedClass, ticks: int) -> ProtectedClass:
    """What of a class lies within so many consecutive ticks."""
    hull = min(protected.hull, ticks)
    most_runs = (hull + 1) // 2
    open_ended = protected.open_ended and protected.runs <= most_runs
    return ProtectedClass(min(protected.runs, most_runs), hull, ticks, open_ended)


def _by_segments(protected: ProtectedClass) -> Floats:
    """K of distributions that draw one run in each of `runs` segments, each as if it were alone; shape (number, T, T).

    In a segment of its own, one run's K is Σ² of the dense optimum, and its mean is the diagonal because Δ is 0 or 1.
    """
    ticks = protected.hull
    if protected.open_ended:
        return np.empty((0, ticks, ticks))
    found = []
    size = -(-ticks // protected.runs)
    for first in {size, max(size // 2, 1)}:
        bounds = [0, *range(first, ticks, size), ticks]
        if len(bounds) - 1 > protected.runs:
            # One segment too many: nobody is ever present in the first.
            bounds = bounds[1:]
        spread, mean = np.zeros((ticks, ticks)), np.zeros(ticks)
        for start, stop in pairwise(bounds):
            length = stop - start
            covariance = early_covariance(ProtectedClass(1, length, length), SEGMENT_ROUNDS)
            moment = covariance @ covariance
            mean[start:stop] = np.diag(moment)
            spread[start:stop, start:stop] = moment - np.outer(mean[start:stop], mean[start:stop])
        found.append(spread + np.outer(mean, mean))
    return np.array(found)


def _updated(differences: Floats, moments: Floats, shares: Floats) -> tuple[Floats, float, Floats]:
    """π after some multiplicative updates, the best trace √K among them, and K^(−1/2).

    Args:
        differences: patterns, shape (number, T).
        moments: K of distributions that get a share as a whole, shape (number, T, T).
        shares: of the patterns and then of the distributions.
    """
    best = 0.0
    single = len(differences)
    for _ in range(UPDATES):
        mixed = np.tensordot(shares[single:], moments, axes=1)
        roots, vectors = square_roots((differences.T * shares[:single]) @ differences + mixed)
        total = float(roots.sum())
        best = max(best, total)
        form = (vectors / roots) @ vectors.T
        energies = np.append(
            ((differences @ vectors) ** 2 / roots).sum(axis=1), np.tensordot(moments, form, axes=((1, 2), (0, 1)))
        )
        shares = shares * (energies / total) ** STEP
        shares = shares / shares.sum()
    return shares, best, form


def _climbed_from(form: Floats, differences: Floats, protected: ProtectedClass) -> Floats:
    """Patterns of the class with larger energy ΔᵀQΔ, by moving one flip at a time; shape of `differences`."""
    ticks = len(form)
    sums = np.zeros((ticks + 1, ticks + 1))
    sums[1:, 1:] = form.cumsum(axis=0).cumsum(axis=1)
    found = []
    for series in differences:
        flips = np.flatnonzero(np.diff(np.concatenate([[0.0], series, [0.0]])))
        signs = np.where(np.arange(len(flips)) % 2 == 0, 1, -1)
        for _ in range(SWEEPS):
            for position in range(len(flips) - protected.open_ended):
                low = flips[position - 1] + 1 if position else 0
                high = flips[position + 1] if position + 1 < len(flips) else ticks + 1
                candidates = np.arange(low, high)
                others = np.arange(len(flips)) != position
                crossing = sums[np.ix_(candidates, flips[others])] @ signs[others]
                flips[position] = candidates[(sums[candidates, candidates] + 2 * signs[position] * crossing).argmax()]
        found.append(patterns.series(flips, ticks))
    return np.array(found)


def _everywhere(protected: ProtectedClass, ticks: int) -> Floats:
    """K for the stationary optimum's patterns, each spread evenly over all places of the horizon; shape (T, T)."""
    optimum = stationary.optimum(protected)
    moment = np.zeros((ticks, ticks))
    for flips, share in zip(optimum.flips, optimum.shares, strict=True):
        length = int(flips[-1])
        series = patterns.series(flips, length)
        places = ticks - length + 1
        for lag in range(length):
            products = series[: length - lag] * series[lag:]
            # Entry (i, i + lag) sums the products at i − start over all places.
            sums = np.convolve(products, np.ones(places))
            index = np.arange(ticks - lag)
            moment[index, index + lag] += share / places * sums
    return np.asarray(moment + np.triu(moment, 1).T)


def _candidates(protected: ProtectedClass) -> tuple[Floats, Floats]:
    """Bad differences where the hull is the horizon, moved all over it, shape (number, T), and their first shares."""
    ticks = protected.hull
    weights = buffered_toeplitz.strategy(protected).subtracted(2 * ticks)
    table = certificate.run_energy(certificate.step_response(weights, 3 * ticks), ticks)
    starts = patterns.starts(protected, np.random.default_rng(0), CLIMBS)
    found = []
    for start in starts:
        series = patterns.series(patterns.climbed(table, start, ticks)[1], ticks)
        shifts = np.linspace(0, ticks - 1, max(MOST_CANDIDATES // len(starts), 2)).astype(np.int64)
        found += [_moved(series, int(shift), protected) for shift in shifts]
    differences = np.unique(np.array(found), axis=0)
    return differences, np.full(len(differences), 1 / len(differences))


def _moved(series: Floats, shift: int, protected: ProtectedClass) -> Floats:
    """The pattern `shift` ticks later; what leaves at the end comes in at the beginning while the class allows it."""
    rolled = np.roll(series, shift)
    begins = np.flatnonzero(np.diff(rolled, prepend=0.0) > 0)
    if len(begins) > protected.runs:
        rolled[: begins[1]] = 0
    if protected.open_ended:
        rolled[begins[-1] :] = 1
    return rolled
