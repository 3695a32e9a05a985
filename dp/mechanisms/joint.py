"""Joint sensitivity of several trailing windows over one log whose users act on time.

A user who is present for 30 days cannot start a new MAU run inside them, and a user who comes and goes every other day
is in MAU all the time: no single user is the worst case of DAU, WAU and MAU at once. The class here is *everything one
user ever does, reported on the day itself and never taken back*. Then the presence in window W is the set of active
days, each stretched to W ticks, the same days for every window. Each window may freeze the user while absent, after any
number of runs (an even W_BOUND). A stated number of exceptions (removals, late arrivals) is charged on top.
Proofs: docs/guarantees.md, "joint release".

The bounds of each series are additive over its runs and gaps, and gaps nest: a gap of g ticks in window V is one of
g − (W − V) ticks in a longer window W, or none. So the worst set of days for all series together is found exactly, for
these bounds, by one max-plus programme per window, from the shortest to the longest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy

from dp.arrays import Floats
from dp.mechanisms import certificate
from dp.mechanisms.filters import autocorrelation
from dp.mechanisms.toeplitz import ToeplitzStrategy, quantised_root

SEARCH_TOLERANCE = 1e-4
"""Relative distance from the best mixture of bounds at which the search stops; every mixture is a valid bound."""

SEARCH_START = -1.7
"""log10(1 − r) at which the search for dampings starts."""

LONG_ENOUGH_TO_JUDGE = 180
"""Ticks on which dampings are compared: the search then takes some seconds, whatever the horizon."""

MOST_ROUNDS = 100
"""Most cutting planes; ten to thirty are usual."""


class AdditiveBound(NamedTuple):
    """‖B⁻¹Δ‖² ≤ Σ run[ticks of a run] + Σ gap[ticks of a gap] + hull[first tick of Δ to its last].

    Each array has the shape (horizon + window,) and is indexed by a length in ticks; entry 0 is not used. The last run
    is counted in full, although the series may end inside it.
    """

    run: Floats
    gap: Floats
    hull: Floats


@dataclass(frozen=True)
class WindowSeries:
    """What the joint sensitivity needs to know of one series.

    Attributes:
        window: trailing window W, in ticks.
        bounds: bounds on the energy of the presence of a user who acts on time; they are mixed for the best.
        removal: most energy that one removal can add, in squared users.
        late: most energy that one late arrival can add, in squared users.
    """

    window: int
    bounds: tuple[AdditiveBound, ...]
    removal: float
    late: float


class Exceptions(NamedTuple):
    """How often the protected user may leave the rule "on the day itself, and for good".

    Attributes:
        removals: operations that take activity back: one retracted user-day, or an erasure of everything so far.
        late: user-days that arrive after their day, each time they do (so a day that is added again after it was
            taken back is late); all activity before the first tick together counts as one.
    """

    removals: int = 0
    late: int = 0


def window_series(subtracted: Floats, window: int, horizon: int) -> WindowSeries:
    """A Toeplitz strategy's bounds for one window.

    Args:
        subtracted: p₁, p₂, … of B⁻¹ = 1 − Σ pₙzⁿ, as the strategy uses them.
        window: trailing window, in ticks.
        horizon: number of ticks T.

    Raises:
        ValueError: the weights break the certificate's conditions, or a number is below 1.
    """
    certificate.validate_damping(subtracted)
    for name, value in (("window", window), ("horizon", horizon)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it is a whole number of ticks, at least 1")
    longest = horizon + window - 1
    lengths = np.arange(longest + 1)
    energy = certificate.run_energy(certificate.step_response(subtracted, horizon), horizon)
    ground = (1 - float(subtracted.sum())) ** 2
    interaction = off_diagonals(subtracted, longest + 2 * window + 1)
    # Runs: their energies, less what the `window` last ticks of one share with the `window` first ticks of the next.
    shared = np.convolve(np.ones(window), np.ones(window))
    from_runs = AdditiveBound(
        run=certificate.run_energy(certificate.step_response(subtracted, longest), longest),
        gap=2 * np.correlate(interaction[1:], shared, mode="valid")[: longest + 1],
        hull=np.zeros(longest + 1),
    )
    # Hull: its energy and the gaps', less the gaps' edges to the ground, less what two gaps share across a run. The
    # first and the last run have no gap on one side, which the hull makes up for.
    clipped = np.minimum(lengths, horizon)
    from_hull = AdditiveBound(
        run=2 * interaction[lengths + 1],
        gap=energy[clipped] - 2 * ground * lengths,
        hull=np.maximum.accumulate(energy)[clipped] - 4 * float(interaction[window + 1 :].min()),
    )
    exceptional = np.arange(min(window - 1, horizon) + 1)
    return WindowSeries(
        window,
        (_growing(from_runs, window), _growing(from_hull, window)),
        removal=float((energy[exceptional] - 2 * ground * exceptional).max()),
        late=float(energy[exceptional].max()),
    )


def _growing(bound: AdditiveBound, window: int) -> AdditiveBound:
    """A bound, nowhere smaller, that a pattern never lowers by lasting longer or by one more gap and run.

    So it holds for a user who was frozen while absent, too: for what is shown is the beginning of what would have been.
    """
    run = bound.run.copy()
    run[window:] = np.maximum.accumulate(run[window:])
    return AdditiveBound(run, np.maximum(bound.gap, -run[window]), np.maximum.accumulate(bound.hull))


def off_diagonals(subtracted: Floats, longest: int) -> Floats:
    """The n-th off-diagonal −pₙ + Σ_{k≥1} p_k p_{k+n} ≤ 0 of the endless Q at n ≤ `longest`; entry 0 is set to 0.

    Cutting Q at a horizon takes away terms p_k p_{k+n} ≥ 0 only, so these bound the entries of every finite Q.
    """
    reach = len(subtracted)
    padded = np.concatenate([subtracted, np.zeros(max(longest - reach, 0))])
    entries = np.zeros(longest + 1)
    entries[1:] = np.minimum(autocorrelation(padded, longest + 1)[1:] - padded[:longest], 0.0)
    return entries


def joint_sensitivity_squared(
    series: Sequence[WindowSeries],
    weights: Sequence[float],
    horizon: int,
    exceptions: Exceptions = Exceptions(),  # noqa: B008 (an immutable value)
) -> float:
    """An upper bound on Σ weightᵢ ‖Bᵢ⁻¹Δᵢ‖² over all that one user may do, Δᵢ being the presence in window i.

    With weights 1/σᵢ² it is μ² of the joint release with Gaussian noise.

    Args:
        series: one or more, shortest window first, no window twice.
        weights: one positive number a series.
        horizon: number of ticks T that the bounds were made for.
        exceptions: most exceptions of the protected user, over the whole horizon.

    Raises:
        ValueError: windows out of order, bounds for another horizon, or a number out of range.
    """
    _validate(series, weights, horizon, exceptions)
    scaled = [
        WindowSeries(
            one.window,
            tuple(AdditiveBound(*(weight * part for part in bound)) for bound in one.bounds),
            weight * one.removal,
            weight * one.late,
        )
        for one, weight in zip(series, weights, strict=True)
    ]
    extra = math.fsum(exceptions.removals * one.removal + exceptions.late * one.late for one in scaled)
    return (_best_mixture(scaled, horizon) + extra) * certificate.ROUNDING_FACTOR


def scale_factor(
    series: Sequence[WindowSeries],
    shares: Sequence[float],
    horizon: int,
    exceptions: Exceptions = Exceptions(),  # noqa: B008 (an immutable value)
) -> float:
    """The factor, at most 1, by which all noise scales shrink when the joint sensitivity replaces the sum.

    Series i calibrated alone for its share of μ² has the scale σᵢ = Sᵢ/(μ√shareᵢ). With `scale_factor`·σᵢ in its place
    the joint release still has μ.

    Raises:
        ValueError: as in `joint_sensitivity_squared`.
    """
    alone = [joint_sensitivity_squared([one], [1.0], horizon, exceptions) for one in series]
    total = math.fsum(shares)
    weights = [share / total / squared for share, squared in zip(shares, alone, strict=True)]
    return min(1.0, math.sqrt(joint_sensitivity_squared(series, weights, horizon, exceptions)))


def _best_mixture(series: Sequence[WindowSeries], horizon: int) -> float:
    """min over mixtures of the bounds of max over sets of days, by cutting planes (Kelley 1960).

    For a fixed set of days the mixed bound is linear in the mixture, so that each worst set found is one plane.
    """
    sizes = [len(one.bounds) for one in series]
    mixture = np.concatenate([np.full(size, 1 / size) for size in sizes])
    one_each = np.zeros((len(series), len(mixture) + 1))
    for row, end in enumerate(np.cumsum(sizes)):
        one_each[row, end - sizes[row] : end] = 1.0
    planes: list[Floats] = []
    best = math.inf
    for _ in range(MOST_ROUNDS):
        planes.append(worst_days(series, horizon, mixture))
        best = min(best, float(planes[-1] @ mixture))
        # Variables: the mixture and the height, which is to be least above all planes.
        solved = scipy.optimize.linprog(
            np.append(np.zeros(len(mixture)), 1.0),
            A_ub=np.column_stack([planes, -np.ones(len(planes))]),
            b_ub=np.zeros(len(planes)),
            A_eq=one_each,
            b_eq=np.ones(len(series)),
            bounds=[(0, 1)] * len(mixture) + [(None, None)],
        )
        # Without a solution the mixtures so far stand: the search needs no proof.
        if solved.x is None or best - solved.x[-1] <= SEARCH_TOLERANCE * best:
            break
        mixture = np.clip(solved.x[:-1], 0.0, 1.0)
        mixture /= np.repeat(np.add.reduceat(mixture, np.cumsum([0, *sizes[:-1]])), sizes)
    return best


def worst_days(series: Sequence[WindowSeries], horizon: int, mixture: Floats) -> Floats:
    """The value of every bound at a set of active days that maximises their `mixture`; shapes (number of bounds,).

    The order is series by series, bound by bound. Sets of days lie in [0, horizon), so a pattern of window W spans at
    most horizon + W − 1 ticks.
    """
    # Level 0 is a stretch from the first active day to the last, as yet with nothing in between.
    stretches = np.zeros((horizon + 1, len(mixture)))
    values = np.zeros(horizon + 1)
    values[0] = -np.inf
    window, column = 1, 0
    for index, one in enumerate(series):
        columns = slice(column, column + len(one.bounds))
        column += len(one.bounds)
        # A stretch of window V makes a run of the next window W that is W − V ticks longer.
        longer = one.window - window
        window = one.window
        runs = np.pad(stretches, ((longer, 0), (0, 0)))
        runs[:, columns] += np.stack([bound.run for bound in one.bounds], axis=1)
        run_values = np.where(
            np.isfinite(np.pad(values, (longer, 0), constant_values=-np.inf)), runs @ mixture, -np.inf
        )
        # A longer gap would be one of the next window too, and is met there.
        longest = series[index + 1].window - window if index + 1 < len(series) else horizon
        gaps = _gap_bounds(series[: index + 1], min(longest, max(horizon - window - 1, 0)), len(mixture))
        values, stretches = _alternate(run_values, runs, gaps @ mixture, gaps)
    hulls = np.column_stack([np.pad(bound.hull, (window - one.window, 0)) for one in series for bound in one.bounds])
    totals = stretches + hulls
    return np.asarray(totals[np.where(np.isfinite(values), totals @ mixture, -np.inf).argmax()])


def _gap_bounds(series: Sequence[WindowSeries], longest: int, width: int) -> Floats:
    """What a gap of 0 … `longest` ticks of the last series adds to every bound; shape (longest + 1, width)."""
    gaps = np.zeros((longest + 1, width))
    column = 0
    for one in series:
        wider = series[-1].window - one.window
        for bound in one.bounds:
            gaps[1:, column] = bound.gap[wider + 1 : wider + longest + 1]
            column += 1
    return gaps


def _alternate(run_values: Floats, runs: Floats, gap_values: Floats, gaps: Floats) -> tuple[Floats, Floats]:
    """The best alternation of runs and gaps for every total length: its value, and what it adds to every bound.

    Entry 0 of `gap_values` is no gap; a pattern begins and ends with a run.
    """
    size = len(run_values)
    values, additions = run_values.copy(), runs.copy()
    gap_first = np.full(size + 1, -np.inf)
    gap_first_additions = np.zeros((size + 1, runs.shape[1]))
    for total in range(1, size):
        # A run of `length`, then a gap, then a pattern; or one run alone, which is included already.
        options = run_values[1:total] + gap_first[total - 1 : 0 : -1]
        if total > 1 and options.max() > values[total]:
            length = int(options.argmax()) + 1
            values[total] = options[length - 1]
            additions[total] = runs[length] + gap_first_additions[total - length]
        reach = min(len(gap_values) - 1, total)
        if reach:
            options = gap_values[1 : reach + 1] + values[total : total - reach : -1]
            gap = int(options.argmax()) + 1
            gap_first[total + 1] = options[gap - 1]
            gap_first_additions[total + 1] = gaps[gap] + additions[total + 1 - gap]
    return values, additions


def _validate(series: Sequence[WindowSeries], weights: Sequence[float], horizon: int, exceptions: Exceptions) -> None:
    windows = [one.window for one in series]
    if not windows or windows != sorted(set(windows)):
        raise ValueError(f"windows are {windows}; give one or more, shortest first, none twice")
    if len(weights) != len(series) or any(not 0 < weight < math.inf for weight in weights):
        raise ValueError(f"weights are {list(weights)}; one positive number is needed for each of {len(series)} series")
    for one in series:
        lengths = {len(part) for bound in one.bounds for part in bound}
        if lengths != {horizon + one.window}:
            raise ValueError(
                f"the bounds of window {one.window} have lengths {sorted(lengths)}; "
                f"for a horizon of {horizon} ticks each has {horizon + one.window}"
            )
    if min(exceptions) < 0:
        raise ValueError(f"exceptions are {exceptions}; they are numbers of operations, at least 0")


@lru_cache(maxsize=8)
def best_strategies(
    windows: tuple[int, ...], shares: tuple[float, ...], horizon: int, exceptions: Exceptions
) -> tuple[ToeplitzStrategy, ...]:
    """One damped square root a window, the dampings chosen together for the smallest product of all errors.

    Args:
        windows: shortest first.
        shares: how the series divide μ², in the order of the windows.
    """
    judged_on = min(horizon, LONG_ENOUGH_TO_JUDGE)

    def error(parameters: Floats) -> float:
        made = _damped(parameters, judged_on)
        series = [window_series(one.subtracted, window, judged_on) for one, window in zip(made, windows, strict=True)]
        factor = scale_factor(series, shares, judged_on, exceptions)
        total = 0.0
        for one, strategy in zip(series, made, strict=True):
            alone = joint_sensitivity_squared([one], [1.0], judged_on, exceptions)
            total += math.log(factor**2 * alone * float(strategy.decoder_energy(judged_on).mean()))
        return total

    start = np.full(len(windows), SEARCH_START)
    most = 30 * len(windows)
    found = scipy.optimize.minimize(
        error, start, method="Nelder-Mead", options={"maxfev": most, "xatol": 0.03, "fatol": 3e-3}
    )
    return _damped(found.x, horizon)


def _damped(parameters: Floats, horizon: int) -> tuple[ToeplitzStrategy, ...]:
    """Damped square roots with 1 − r = 10^parameter, at most 1."""
    dampings = 1 - 10.0 ** np.minimum(parameters, 0.0)
    return tuple(quantised_root(float(damping), max(horizon - 1, 1)) for damping in dampings)
