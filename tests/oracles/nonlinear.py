"""Exact outcome probabilities of the two mechanisms that test privately, for tiny series; and their broken twins.

Everything is written from the definitions, on whole users (a grid of one cell), with one-sided noise cut off where its
weight is far below what any test looks at. Nothing here is shared with the code under test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import beta

FAR = 60
"""Scales at which one-sided noise is cut off: e^(−60)."""

LARGEST_GAP = 6
"""Largest gap in the outcomes listed; larger ones have the same ratios, for noise falls geometrically."""


def at_least(k: np.ndarray, scale: float) -> np.ndarray:
    """P(ν ≥ k) of one-sided geometric noise ν with that scale."""
    return np.exp(-np.maximum(k, 0) / scale)


def equal_to(k: np.ndarray, scale: float) -> np.ndarray:
    """P(ν = k) of one-sided geometric noise ν with that scale."""
    return np.where(k >= 0, -math.expm1(-1 / scale) * np.exp(-np.maximum(k, 0) / scale), 0.0)


# --- Sparse vector ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    """A sparse-vector mechanism on whole users, with what a broken twin does differently.

    Attributes:
        test_scale: of the noise of the tests; None means `scale`, as it should be.
        shared_edges: both edges of a band move with one draw.
        redrawn_edges: the edges are drawn anew every tick.
    """

    hull: int
    releases: int
    threshold: int
    scale: int
    test_scale: float | None = None
    shared_edges: bool = False
    redrawn_edges: bool = False


Release = tuple[int, int, int]
"""What ends a segment: the tick, 1 or −1 for the upper or the lower edge, the gap."""


def segment(band: Band, drift: tuple[int, ...]) -> dict[Release | None, float]:
    """Probabilities of how a segment ends, for counts `drift` above its value; None: not within these ticks."""
    if not drift:
        return {None: 1.0}
    tests = band.test_scale or band.scale
    edge = np.arange(FAR * band.scale)
    weight = equal_to(edge, band.scale)
    gaps = range(LARGEST_GAP + 1)
    # Per edge draw: P(below the upper edge), P(above the lower edge), P(pass it by each gap), one row a tick.
    below = np.array([1 - at_least(band.threshold + edge - x, tests) for x in drift])
    above = np.array([1 - at_least(x + band.threshold + edge, tests) for x in drift])
    up = np.array([[equal_to(band.threshold + edge + gap - x, tests) for gap in gaps] for x in drift])
    down = np.array([[equal_to(x + band.threshold + edge + gap, tests) for gap in gaps] for x in drift])
    found: dict[Release | None, float] = {}

    def together(of_upper: np.ndarray, of_lower: np.ndarray) -> float:
        """Weight of events (tick, edge draw) of the upper and of the lower edge, both of all ticks in turn."""
        if band.shared_edges:
            return float(weight @ (of_upper.prod(axis=0) * of_lower.prod(axis=0)))
        if band.redrawn_edges:
            return float(np.prod(of_upper @ weight) * np.prod(of_lower @ weight))
        return float(weight @ of_upper.prod(axis=0)) * float(weight @ of_lower.prod(axis=0))

    for end in range(len(drift)):
        for gap in gaps:
            found[end, 1, gap] = together(np.vstack([below[:end], up[end, gap][None]]), above[:end])
            found[end, -1, gap] = together(below[: end + 1], np.vstack([above[:end], down[end, gap][None]]))
    found[None] = together(below, above)
    return found


def tested_ticks(band: Band, past: tuple[int, ...], ticks: int) -> Iterator[int]:
    """Ticks after the last of the releases `past` at which there is a test, while nothing is released."""
    for tick in range(past[-1] + 1, ticks):
        if sum(tick - band.hull < release for release in past) < band.releases:
            yield tick


def outcomes(band: Band, counts: tuple[int, ...], first: int) -> dict[tuple[object, ...], float]:
    """Probabilities of the releases after the first, of value `first` at tick 0; gaps up to LARGEST_GAP."""

    def after(past: tuple[int, ...], value: int) -> dict[tuple[object, ...], float]:
        ticks = list(tested_ticks(band, past, len(counts)))
        found: dict[tuple[object, ...], float] = {}
        for end, chance in segment_of(band, tuple(counts[tick] - value for tick in ticks)).items():
            if end is None:
                found[()] = chance
                continue
            index, side, gap = end
            step = side * (band.threshold + gap)
            for rest, rest_chance in after((*past, ticks[index]), value + step).items():
                found[(ticks[index], step), *rest] = chance * rest_chance
        return found

    return after((0,), first)


segment_of = cache(segment)


def worst_ratio(band: Band, counts: tuple[int, ...], changed: tuple[int, ...], first: int) -> float:
    """The largest |log ratio| of an outcome's probabilities under the two series, the first release included."""

    @cache
    def after(past: tuple[int, ...], value: int) -> tuple[float, float]:
        ticks = list(tested_ticks(band, past, len(counts)))
        one, other = (segment_of(band, tuple(series[tick] - value for tick in ticks)) for series in (counts, changed))
        largest, smallest = -math.inf, math.inf
        for end, chance in one.items():
            if chance < 1e-250 or other[end] < 1e-250:
                assert chance < 1e-200, (chance, other[end])
                assert other[end] < 1e-200, (chance, other[end])
                continue
            ratio = math.log(chance) - math.log(other[end])
            more = (0.0, 0.0)
            if end is not None:
                index, side, gap = end
                more = after((*past, ticks[index]), value + side * (band.threshold + gap))
            largest, smallest = max(largest, ratio + more[0]), min(smallest, ratio + more[1])
        return largest, smallest

    at_first = (abs(first - changed[0]) - abs(first - counts[0])) / band.scale
    largest, smallest = after((0,), first)
    return max(at_first + largest, -(at_first + smallest))


def log_likelihood(band: Band, counts: tuple[int, ...], values: tuple[int, ...]) -> float:
    """Log probability of the values published, gaps beyond LARGEST_GAP counted as the largest listed."""
    total = math.log(math.tanh(0.5 / band.scale)) - abs(values[0] - counts[0]) / band.scale
    past, value = (0,), values[0]
    while past[-1] < len(counts):
        ticks = list(tested_ticks(band, past, len(counts)))
        ends = [tick for tick in ticks if values[tick] != value]
        end: Release | None = None
        if ends:
            step = values[ends[0]] - value
            end = ticks.index(ends[0]), int(math.copysign(1, step)), min(abs(step) - band.threshold, LARGEST_GAP)
        total += math.log(segment_of(band, tuple(counts[tick] - value for tick in ticks))[end])
        past, value = (*past, ends[0] if ends else len(counts)), values[ends[0]] if ends else value
    return total


# --- A private test of a number that only grows ----------------------------------------------------------------------


@dataclass(frozen=True)
class Alarm:
    """Tests of one threshold, until the first alarm; `test_scale` None means `scale`, as it should be."""

    threshold: int
    scale: int
    test_scale: float | None = None
    redrawn_edge: bool = False


def alarm_ticks(alarm: Alarm, frozen: tuple[int, ...]) -> np.ndarray:
    """P(first alarm at tick 0, 1, …, never)."""
    edge = np.arange(FAR * alarm.scale)
    weight = equal_to(edge, alarm.scale)
    passed = np.array([at_least(alarm.threshold + edge - x, alarm.test_scale or alarm.scale) for x in frozen])
    if alarm.redrawn_edge:
        chance = passed @ weight
        return np.append(np.cumprod(np.append(1.0, 1 - chance))[:-1] * chance, np.prod(1 - chance))
    alive = np.vstack([np.ones_like(weight), np.cumprod(1 - passed, axis=0)])
    return np.append((alive[:-1] * passed) @ weight, alive[-1] @ weight)


def alarm_ratio(alarm: Alarm, frozen: tuple[int, ...], changed: tuple[int, ...]) -> float:
    """The largest |log ratio| over the ticks of the first alarm."""
    return float(np.abs(np.log(alarm_ticks(alarm, frozen)) - np.log(alarm_ticks(alarm, changed))).max())


# --- Statistics ------------------------------------------------------------------------------------------------------


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """The exact two-sided confidence interval of a proportion."""
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)


def epsilon_lower_bound(without: np.ndarray, with_change: np.ndarray, delta: float, confidence: float) -> float:
    """The ε that scores of releases without and with the change disprove, at `confidence`.

    The event "score of at least a threshold" is chosen on the first halves. On the second halves (ε, δ)-DP requires
    TPR ≤ e^ε FPR + δ, with TPR at its lower and FPR at its upper Clopper-Pearson bound.
    """
    half = len(without) // 2
    thresholds = np.unique(np.quantile(with_change[:half], np.linspace(0.02, 0.998, 80)))
    hits = np.array([np.count_nonzero(with_change[:half] >= threshold) for threshold in thresholds])
    alarms = np.array([np.count_nonzero(without[:half] >= threshold) for threshold in thresholds])
    guess = np.maximum(hits - 2 * np.sqrt(hits), 0) / half - delta
    choice = thresholds[np.argmax(guess / (alarms + 2 * np.sqrt(alarms) + 4))]
    trials = len(without) - half
    hit, alarm = (int(np.count_nonzero(scores[half:] >= choice)) for scores in (with_change, without))
    lowest_hit = clopper_pearson(hit, trials, confidence)[0]
    highest_alarm = clopper_pearson(alarm, trials, confidence)[1]
    return math.log((lowest_hit - delta) / highest_alarm) if lowest_hit > delta + highest_alarm else 0.0
