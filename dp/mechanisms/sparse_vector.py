"""Sparse vector: hold the last value, and release again when the count has left a noisy band around it.

Henzinger, Sricharan, Steiner, "Private counting of distinct elements in the turnstile model and extensions", APPROX
2024 (item level, error in the sum of all flippancies). Three things are done differently, each with a proof in
docs/guarantees.md ("Sparse vector"):

- One protected change moves all counts the same way, so the upper and the lower edge of the band are tested as two
  monotone queries whose noises are only ever shifted *upwards*: geometric (one-sided) noise serves for both the edges
  and the tests, and the two sides together cost what one side costs. The difference of two geometric draws is one
  discrete Laplace draw, where two-sided noise would be a sum of two. (That one-sided noise suffices for tests of one
  side: Liu, Wang, Liu, Li, Chen, "Unleash the power of ellipsis", 2024.)
- The value released is the edge plus the gap by which it was passed (the gap is free: Ding, Wang, Zhang, Kifer,
  "Free gap information from the differentially private sparse vector and noisy max mechanisms", PVLDB 2019).
- At most `releases` values are released in any `hull` consecutive ticks. So a protected change meets at most that many
  segments, whatever its runs: no W_BOUND is needed, and where the hull is a window the series needs no end.

A segment is what lies between two releases. With noise of scale b on a grid of g cells a user it is 2g/b-DP.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats, Integers
from dp.mechanisms.protocol import GRID, MOST_USERS, Cost, NoiseName, NoiseSource, Released, SeriesBudget, State, Trials
from dp.mechanisms.segments import segment_epsilon
from dp.noise import LaplaceNoise, validate_level
from dp.units import ProtectedClass

DRAWS = 4
"""Draws a tick: one for the test of each edge, one for each edge of a band that may start."""

FALSE_ALARMS = 0.1
"""Bound on the chance that a count which does not move is released again within a hull, for the band by `design`."""


SURE_SCALES = 60
"""Noise scales by which a number passes a threshold: a test has the other answer with a probability of about e⁻⁶⁰."""

CROWD = 1000
"""Users of the neighbouring series who are not the protected one."""


class Held(NamedTuple):
    """What a stream holds, one column a trial: whole numbers in grid units, and ticks.

    Attributes:
        value: the value published last, shape (trials,).
        ceiling: noisy upper edge of the band, shape (trials,).
        floor: noisy lower edge, shape (trials,).
        recent: ticks of the last releases, oldest first, shape (releases, trials).
    """

    value: Integers
    ceiling: Integers
    floor: Integers
    recent: Integers


class Path(NamedTuple):
    """What consecutive ticks published, and what their intervals depend on; shape (ticks, trials) each.

    Attributes:
        ticks: shape (ticks, 1).
        values: whole numbers in grid units.
        segment_starts: tick of the release before this tick.
        last_releases: tick of the release that is held after this tick.
        tested: whether the value could be released again.
    """

    ticks: Integers
    values: Integers
    segment_starts: Integers
    last_releases: Integers
    tested: NDArray[np.bool_]


@dataclass(frozen=True)
class SparseVector:
    """A calibrated sparse-vector mechanism.

    Attributes:
        hull: ticks that one protected change can touch, from its first to its last.
        horizon: number of ticks, or None for a series without an end.
        releases: most releases in any `hull` consecutive ticks, and so the segments that a protected change can touch.
        threshold: half width of the band before noise, in grid units.
        noise: of one draw, in grid units; folded to one side for everything but the first release.
        grid: grid cells a user.

    Raises:
        ValueError: a number is out of range; the message names it.
    """

    hull: int
    horizon: int | None
    releases: int
    threshold: int
    noise: LaplaceNoise
    grid: int = GRID

    name: ClassVar[str] = "sparse-vector"
    data_dependent: ClassVar[bool] = True
    bounds: ClassVar[None] = None
    gaussian_draws: ClassVar[tuple[tuple[int, int], ...]] = ()
    spent: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.hull < 1:
            raise ValueError(f"hull is {self.hull}; it is a number of ticks, at least 1")
        if self.horizon is not None and self.horizon < self.hull:
            raise ValueError(f"horizon is {self.horizon} ticks, less than the hull of {self.hull}")
        if not 1 <= self.releases <= self.hull:
            raise ValueError(f"releases is {self.releases}; between 1 and the hull of {self.hull} ticks are possible")
        if not 0 <= self.threshold <= 2**58:
            raise ValueError(f"threshold is {self.threshold} grid units; it must lie between 0 and 2^58")
        if not 1 <= self.grid <= GRID:
            raise ValueError(f"grid is {self.grid} cells a user; it must lie between 1 and 2^24")

    @property
    def segment_epsilon(self) -> float:
        """ε of one segment; `releases` of them compose (`composed_delta`)."""
        return 2 * self.grid / self.noise.scale

    @property
    def epsilon(self) -> float:
        """ε of the whole series with δ = 0."""
        return _halves(self.releases, self.hull, self.horizon) * self.grid / self.noise.scale

    def run(self, state: State, counts: Integers, source: NoiseSource, level: float) -> tuple[State, Released]:
        """Consecutive ticks with noise from `source`; see `protocol.Mechanism`.

        Where the releases of a hull are used up there is no test: the value is held and the interval is without ends.

        Raises:
            ValueError: a count is negative or too large, the level is no probability, or the ticks pass the horizon.
        """
        draws = source(self.noise, DRAWS * len(counts)).reshape(-1, DRAWS, 1)
        held, released = self._released(_unpacked(state, self), state.tick, counts, iter(draws), level)
        packed = np.concatenate([held.value, held.ceiling, held.floor]) if len(counts) else state.secret
        recent = held.recent[:, 0].astype(np.float64) if len(counts) else state.public
        return State(state.tick + len(counts), packed, recent), Released.of(values[:, 0] for values in released.arrays)

    def simulate(self, counts: Integers, trials: int, generator: np.random.Generator) -> Floats:
        """Estimates of seeded trials, shape (trials, ticks); never for publication."""
        _, path = self._path(_nothing_held(self, trials), 0, counts, self._seeded(counts, trials, generator))
        return np.asarray((path.values / self.grid).T)

    def rehearse(self, counts: Integers, trials: int, generator: np.random.Generator, level: float) -> Released:
        """What seeded trials would publish, with intervals; every array has the shape (trials, ticks)."""
        draws = self._seeded(counts, trials, generator)
        _, released = self._released(_nothing_held(self, trials), 0, counts, draws, level)
        return Released.of(values.T for values in released.arrays)

    def trials(self, counts: Integers, trials: int, generator: np.random.Generator, level: float) -> Trials:
        """Seeded trials; see `protocol.Mechanism`."""
        _, path = self._path(_nothing_held(self, trials), 0, counts, self._seeded(counts, trials, generator))
        deviations = np.full(len(counts), np.nan)
        return Trials(
            (path.values / self.grid).T - counts,
            counts,
            deviations,
            level,
            lambda asked: self._half_width(path, asked).T,
        )

    def neighbours(self) -> tuple[Integers, Integers]:
        """Counts that jump out of the band at each of the first ticks, without and with one user all the time.

        Everybody else's count leaves the band by so much that both series are surely released again at these ticks:
        every value that can be released is released, with fresh noise, and shows the change. What the tests are
        allowed to tell stays unused.
        """
        counts = CROWD + surely_beyond(self.threshold, self.noise, self.grid) * (np.arange(self.releases) % 2)
        return counts, counts + 1

    def standard_deviation(self, horizon: int) -> Floats:
        """NaN: it depends on the data."""
        return np.full(horizon, np.nan)

    def errors_of_draws(self, ticks: int) -> None:
        """None: errors depend on the data."""

    def memory(self, ticks: int) -> int:
        """The value, the two edges of its band, and the ticks of the last releases."""
        return 3 + self.releases

    def describe(self) -> dict[str, Any]:
        """What names the strategy and the noise."""
        strategy = {
            "hull": self.hull, "horizon": self.horizon, "releases": self.releases, "threshold": self.threshold,
        }  # fmt: skip
        return {"strategy": strategy, "pure": self.noise.pure, "scale": self.noise.scale}

    def _seeded(self, counts: Integers, trials: int, generator: np.random.Generator) -> Iterator[Integers]:
        return (self.noise.seeded(generator, (DRAWS, trials)).astype(np.int64) for _ in counts)

    def _released(
        self, held: Held, start: int, counts: Integers, draws: Iterator[Integers], level: float
    ) -> tuple[Held, Released]:
        """The ticks from `start` on, the arrays of shape (ticks, trials)."""
        held, path = self._path(held, start, counts, draws)
        estimates, half_width = path.values / self.grid, self._half_width(path, level)
        deviation = math.sqrt(self.noise.variance) / self.grid
        deviations = np.where(np.broadcast_to(path.ticks, estimates.shape) == 0, deviation, np.nan)
        return held, Released(estimates, estimates - half_width, estimates + half_width, deviations)

    def _path(self, held: Held, start: int, counts: Integers, draws: Iterator[Integers]) -> tuple[Held, Path]:
        _validate(self, start, counts)
        trials = held.value.shape[0]
        values, segment_starts, last_releases = np.empty((3, len(counts), trials), dtype=np.int64)
        tested = np.empty((len(counts), trials), dtype=bool)
        for i, count in enumerate(counts.tolist()):
            tick = start + i
            segment_starts[i] = held.recent[-1]
            tested[i] = held.recent[0] <= tick - self.hull
            held = self._step(held, tick, count, next(draws), tested[i])
            values[i], last_releases[i] = held.value, held.recent[-1]
        ticks = np.arange(start, start + len(counts))[:, np.newaxis]
        return held, Path(ticks, values, segment_starts, last_releases, tested)

    def _half_width(self, path: Path, level: float) -> Floats:
        """Half widths of the pointwise intervals, in users; shape (ticks, trials)."""
        fresh = path.last_releases == path.ticks
        width = self._reach(path.ticks - path.segment_starts, path.ticks, level) + np.where(fresh, 0, self.threshold)
        return np.where(path.tested, width, np.inf) / self.grid

    def _step(self, held: Held, tick: int, count: int, draws: Integers, tested: NDArray[np.bool_]) -> Held:
        """One tick for all trials; `draws` has the shape (DRAWS, trials)."""
        measured = self.grid * count
        above, below, upper, lower = one_sided(draws)
        if tick == 0:
            value = measured + draws[0]
            released = np.ones_like(tested)
        else:
            # The gaps are differences of what is measured and what is secret; the value is published with them.
            gap_above, gap_below = measured + above - held.ceiling, held.floor - (measured - below)
            rises = tested & (gap_above >= 0)
            falls = tested & ~rises & (gap_below >= 0)
            value = np.where(rises, held.value + self.threshold + gap_above, held.value)
            value = np.where(falls, held.value - self.threshold - gap_below, value)
            released = rises | falls
        later = np.concatenate([held.recent[1:], np.full((1, len(value)), tick)])
        return Held(
            value,
            np.where(released, value + self.threshold + upper, held.ceiling),
            np.where(released, value - self.threshold - lower, held.floor),
            np.where(released, later, held.recent),
        )

    def _reach(self, ages: Integers, ticks: Integers, level: float) -> Floats:
        """How far beyond the band, or from a new value, the interval reaches: grid units, of the shape of `ages`.

        What can go wrong at one tick in one segment has at most three tails p^n/(1 + p) of the discrete Laplace. A
        segment that is alive is a survivor, so every segment that might be alive gets its part of 1 − level: at most
        `releases` of them started in the last hull, as many in the hull before, and so on.
        """
        miss = 1 - validate_level(level)
        # 1/(1·2) + 1/(2·3) + … is 1, and less than 1 by 1/(n + 1) where it stops after n hulls.
        hulls = 1 + 1 / max(1, -((1 - self.horizon) // self.hull)) if self.horizon is not None else 1.0
        age = (np.maximum(ages, 1) - 1) // self.hull
        shares = np.where(ticks == 0, 1.0, hulls / (self.releases * (age + 1.0) * (age + 2.0)))
        tails = np.where(ticks == 0, 2.0, 3.0)
        ratio = math.exp(-1 / self.noise.scale)
        return np.asarray(np.ceil(self.noise.scale * np.log(np.maximum(tails / ((1 + ratio) * miss * shares), 1.0))))


@dataclass(frozen=True)
class SparseVectorDesign:
    """Sparse vector for a class: everything but the guarantee."""

    protected: ProtectedClass

    name: ClassVar[str] = SparseVector.name
    noise: ClassVar[NoiseName] = "laplace"
    data_dependent: ClassVar[bool] = True

    def calibrated(self, budget: SeriesBudget) -> SparseVector:
        """The mechanism of `design` for that ε and δ."""
        return design(self.protected, budget.epsilon, budget.delta)

    def cost(self, budget: SeriesBudget, ticks: int) -> Cost:
        """Deviation of a draw, what is remembered, and the draws of a tick."""
        mechanism = self.calibrated(budget)
        return Cost(math.sqrt(mechanism.noise.variance) / GRID, mechanism.memory(ticks), float(DRAWS))


def design(
    protected: ProtectedClass, epsilon: float, delta: float = 0.0, *, movement: float | None = None
) -> SparseVector:
    """A mechanism for a class and a guarantee; parameters depend on nothing else, above all not on data.

    Args:
        protected: the class; its number of runs does not matter.
        epsilon: of the whole series.
        delta: of the whole series; with 0 the guarantee is pure.
        movement: a public guess how far, in users, the count moves in all within a hull; by default one user a tick.
            It decides how many releases there can be: as many bands of their width as cover the movement.

    Returns:
        The one with the fewest releases that can follow the movement, but at least two (one for a hull of one tick),
        whose band a count at rest leaves with probability at most 0.1 a hull.

    Raises:
        ValueError: epsilon, delta or movement is out of range, or the noise it takes cannot be drawn.
    """
    movement = float(protected.hull) if movement is None else movement
    if not 0 <= movement < math.inf:
        raise ValueError(f"movement is {movement}; it is a number of users, at least 0")

    def follows(releases: int) -> bool:
        return releases * calibrated(protected, releases, epsilon, delta).threshold >= movement * GRID

    # More releases need wider bands, so all of them together reach further with each one more.
    fewest = most = min(2, protected.hull)
    while most < protected.hull and not follows(most):
        fewest, most = most + 1, min(2 * most, protected.hull)
    while fewest < most:
        middle = (fewest + most) // 2
        fewest, most = (fewest, middle) if follows(middle) else (middle + 1, most)
    return calibrated(protected, most, epsilon, delta)


def calibrated(protected: ProtectedClass, releases: int, epsilon: float, delta: float = 0.0) -> SparseVector:
    """The mechanism with that many releases a hull; see `design`."""
    pure = 2 * epsilon / _halves(releases, protected.hull, protected.horizon)
    scale = math.ceil(2 * GRID / max(pure, segment_epsilon(releases, epsilon, delta)))
    # At rest, each of the hull's ticks passes one of two edges with probability at most e^(−threshold/scale).
    threshold = math.ceil(scale * math.log(protected.hull / FALSE_ALARMS))
    return SparseVector(protected.hull, protected.horizon, releases, threshold, LaplaceNoise(scale))


def one_sided(draws: Integers) -> Integers:
    """Geometric draws, P(n) = (1 − p)pⁿ, from discrete Laplace ones: z ≥ 0 stays and z < 0 becomes −z − 1."""
    return np.where(draws < 0, ~draws, draws)


def surely_beyond(threshold: int, noise: LaplaceNoise, grid: int) -> int:
    """Users who pass a threshold, which is in grid units, in all but about e⁻⁶⁰ of the tests with such noise."""
    return -(-(threshold + SURE_SCALES * noise.scale) // grid)


def _halves(releases: int, hull: int, horizon: int | None) -> int:
    # The first release is half a segment: it has no band to leave. Where the hull is the whole series it always counts.
    return 2 * releases - (hull == horizon)


def _nothing_held(mechanism: SparseVector, trials: int) -> Held:
    # Ticks so long ago that they hold nothing back.
    nothing = np.zeros(trials, dtype=np.int64)
    return Held(nothing, nothing, nothing, np.full((mechanism.releases, trials), -mechanism.hull))


def _unpacked(state: State, mechanism: SparseVector) -> Held:
    if state.tick == 0:
        return _nothing_held(mechanism, 1)
    if state.secret.shape != (3,) or state.public.shape != (mechanism.releases,):
        raise ValueError(
            f"the state has {state.secret.shape} secret and {state.public.shape} public numbers, where this mechanism "
            f"keeps 3 and {mechanism.releases}; it belongs to another one"
        )
    value, ceiling, floor = state.secret.reshape(3, 1)
    return Held(value, ceiling, floor, state.public.astype(np.int64)[:, np.newaxis])


def _validate(mechanism: SparseVector, start: int, counts: Integers) -> None:
    if counts.ndim != 1:
        raise ValueError(f"counts have the shape {counts.shape}; one number a tick is needed")
    if mechanism.horizon is not None and start + len(counts) > mechanism.horizon:
        raise ValueError(f"ticks up to {start + len(counts)} were asked for; the horizon is {mechanism.horizon}")
    for offset in np.flatnonzero((counts < 0) | (counts > MOST_USERS))[:1]:
        raise ValueError(f"count is {counts[offset]} at tick {start + offset}; it must lie between 0 and 2^36")
