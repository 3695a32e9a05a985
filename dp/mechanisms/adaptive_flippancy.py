"""Unknown W_BOUND: start with a small one and raise it when a private test finds too many users frozen.

Jain, Kalemaj, Raskhodnikova, Sivakumar, Smith, "Counting distinct elements in the turnstile model with differential
privacy under continual observation", NeurIPS 2023. At level j the counts are those of users frozen after w_j flips,
released by a linear mechanism for that bound. The number of frozen users, which is how far those counts may lie below
the truth, is tested against a threshold before every release; while the test is positive, the next level takes over,
and its mechanism starts afresh. (The paper doubles w_j. Here it grows fourfold by default: fewer levels share the
budget, which at a year's horizon gains more than the coarser steps lose.)

One user raises the number of frozen users by 0 and then by 1 for good. For such a pair of series a test with one-sided
noise costs max(ε₁, ε₂) and not ε₁ + ε₂ (docs/guarantees.md, "Adaptive flippancy").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, ClassVar

import numpy as np

from dp.arrays import Floats, Integers
from dp.mechanisms.linear import LinearMechanism
from dp.mechanisms.protocol import EMPTY_STATE, GRID, MOST_USERS, NoiseSource, Released, State, Trials
from dp.mechanisms.pure_gdp import gdp_of_pure
from dp.mechanisms.sparse_vector import one_sided
from dp.noise import LaplaceNoise, validate_level

NOBODY = np.empty(0, dtype=np.intp)


@dataclass(frozen=True)
class AdaptiveFlippancy:
    """A calibrated mechanism for the unit `user` whose W_BOUND follows the data.

    Attributes:
        bounds: W_BOUND of every level, even and rising; no user has more flips than the last.
        levels: one linear mechanism a level, for the class of `bounds[j] / 2` runs in a hull of `horizon` ticks.
        noise: of the tests, in grid units, folded to one side.
        thresholds: one for every level but the last, in grid units.
        horizon: number of ticks.
        grid: grid cells a user, for the tests.

    Raises:
        ValueError: the lists do not fit together, or a number is out of range; the message names it.
    """

    bounds: tuple[int, ...]
    levels: tuple[LinearMechanism, ...]
    noise: LaplaceNoise
    thresholds: tuple[int, ...]
    horizon: int
    grid: int = GRID

    name: ClassVar[str] = "adaptive-flippancy"
    data_dependent: ClassVar[bool] = True
    spent: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}; it is a number of ticks, at least 1")
        validate_bounds(self.bounds, self.horizon)
        if len(self.levels) != len(self.bounds):
            raise ValueError(f"{len(self.levels)} levels were given for {len(self.bounds)} bounds; one each is needed")
        if len(self.thresholds) != len(self.bounds) - 1:
            raise ValueError(
                f"{len(self.thresholds)} thresholds were given for {len(self.bounds)} levels; "
                "every level but the last has one"
            )
        for threshold in self.thresholds:
            if not 0 <= threshold <= 2**58:
                raise ValueError(f"a threshold is {threshold} grid units; it must lie between 0 and 2^58")
        if not 1 <= self.grid <= GRID:
            raise ValueError(f"grid is {self.grid} cells a user; it must lie between 1 and 2^24")

    @property
    def test_epsilon(self) -> float:
        """ε of one test; there is one for every level but the last."""
        return self.grid / self.noise.scale

    @property
    def gaussian_draws(self) -> tuple[tuple[int, int], ...]:
        """Those of all levels: one after the other may release."""
        return tuple(draws for level in self.levels for draws in level.gaussian_draws)

    def total_mu(self, level_mu: Sequence[float]) -> float:
        """μ of the whole series, from the μ of every level's mechanism: √(Σ μⱼ² + tests · μ(ε)²)."""
        tests = (len(self.levels) - 1) * gdp_of_pure(self.test_epsilon) ** 2
        return math.sqrt(math.fsum(mu**2 for mu in level_mu) + tests)

    def run(self, state: State, counts: Integers, source: NoiseSource, level: float) -> tuple[State, Released]:
        """Consecutive ticks with noise from `source`; see `protocol.Mechanism`, and `trace` for the arguments.

        Rows say the bound of the tick's level (`w_bound`), which is public, and how many users may be missing because
        they are frozen there (`bias_bound`).
        """
        state, released, path = self.trace(state, counts, source, level)
        bias = self.bias_bound(level)
        levels = path.tolist()
        columns = {
            "w_bound": [self.bounds[here] for here in levels],
            "bias_bound": [float(bias[here]) for here in levels],
        }
        return state, released._replace(columns=columns)

    def trace(
        self, state: State, counts: Integers, source: NoiseSource, level: float
    ) -> tuple[State, Released, Integers]:
        """`run`, and the level of every tick, which is public; shape (ticks,).

        Args:
            state: after the tick before.
            counts: shape (ticks, 2·levels): for every level the users present, frozen ones left out, and the users
                frozen so far (who had more than `bounds[j]` flips).
            source: must give the draws of each noise in one sequence of its own, if pieces are to equal the whole.
            level: of the pointwise intervals. They are for the first of the two columns at the tick's own level, that
                is, they speak of noise; how much that column may lack of the truth is `bias_bound`.

        Raises:
            ValueError: a number is out of range, the frozen users become fewer, or the ticks pass the horizon.
        """
        edges, last_frozen, current, inner = self._unpacked(state)
        present, frozen = self._columns(state.tick, counts, last_frozen)
        if not len(counts):
            return state, Released.nothing(), np.empty(0, dtype=np.int64)
        tests = len(self.thresholds)
        started = state.tick > 0
        rows = len(counts) + (not started)
        draws = one_sided(source(self.noise, tests * rows)).reshape(rows, tests)
        if not started:
            edges, draws = draws[0], draws[1:]
        path = self._path(current, edges[np.newaxis], frozen, draws[:, np.newaxis])[:, 0]
        parts = []
        for here, ticks in groupby(range(len(counts)), key=lambda tick: int(path[tick])):
            piece = list(ticks)
            if here != current:
                current, inner = here, EMPTY_STATE
            inner, part = self.levels[here].run(inner, present[piece, here], source, level)
            parts.append(part)
        released = Released.of(map(np.concatenate, zip(*(part.arrays for part in parts), strict=True)))
        secret = np.concatenate([edges, frozen[-1], inner.secret])
        public = np.concatenate([[float(current), float(inner.tick)], inner.public])
        return State(state.tick + len(counts), secret, public), released, path

    def simulate(self, counts: Integers, trials: int, generator: np.random.Generator) -> Floats:
        """Estimates of seeded trials, shape (trials, ticks); never for publication."""
        return self.rehearse(counts, trials, generator)[0]

    def trials(self, counts: Integers, trials: int, generator: np.random.Generator, level: float) -> Trials:
        """Seeded trials; see `protocol.Mechanism`. Each interval is that of its level, for that level's count."""
        estimates, path = self.rehearse(counts, trials, generator)
        ticks = np.arange(len(counts))
        counted = counts[:, ::2].T[path, ticks]
        since = np.empty_like(path)
        for place in range(len(self.levels)):
            here = path == place
            start = np.argmax(here, axis=1)[:, np.newaxis]
            since[here] = (ticks - start)[here]

        def reach(asked: float) -> Floats:
            widths = np.stack([one.half_width(asked, len(counts)) for one in self.levels])
            return np.asarray(widths[path, since])

        return Trials(estimates - counted, counted, np.full(len(counts), np.nan), level, reach)

    def neighbours(self) -> None:
        """None: the worst pattern is searched for along the strategies of its levels."""

    def standard_deviation(self, horizon: int) -> Floats:
        """NaN: it depends on the data."""
        return np.full(horizon, np.nan)

    def errors_of_draws(self, ticks: int) -> None:
        """None: errors depend on the data."""

    def memory(self, ticks: int) -> int:
        """What a level remembers, and for each test its threshold and the users who were frozen last."""
        return max(level.memory(ticks) for level in self.levels) + 2 * len(self.thresholds)

    def rehearse(self, counts: Integers, trials: int, generator: np.random.Generator) -> tuple[Floats, Integers]:
        """Estimates and levels of seeded trials, both of shape (trials, ticks)."""
        present, frozen = self._columns(0, counts, np.zeros(len(self.thresholds), dtype=np.int64))
        path = self._simulated_path(frozen, trials, generator).T
        estimates = present[np.arange(len(counts)), path].astype(np.float64)
        for here in range(path.min(), path.max() + 1):
            # A linear mechanism's error does not depend on the counts, only on the ticks since it started.
            at = path == here
            start, stay = np.argmax(at, axis=1), np.count_nonzero(at, axis=1)
            if not stay.any():
                continue
            errors = self.levels[here].simulate(np.zeros(stay.max(), dtype=np.int64), trials, generator)
            # Most trials often have the same stay, and are quickly done.
            stays = start * (len(counts) + 1) + stay
            usual = stays == np.bincount(stays).argmax()
            first = int(np.argmax(usual))
            ticks = slice(start[first], start[first] + stay[first])
            estimates[usual, ticks] += errors[usual, : stay[first]]
            others = np.flatnonzero(~usual)
            row, tick = np.nonzero(at[others])
            trial = others[row]
            estimates[trial, tick] += errors[trial, tick - start[trial]]
        return estimates, path

    def _simulated_path(self, frozen: Integers, trials: int, generator: np.random.Generator) -> Integers:
        """As `_path` from the first tick on, with noise for no test but those that are made; shape (ticks, trials)."""
        tests = len(self.thresholds)

        def draws(*shape: int) -> Integers:
            return self.noise.seeded_one_sided(generator, shape).astype(np.int64)

        # The last level has no test; its limit is never reached.
        limits = np.full((trials, tests + 1), np.iinfo(np.int64).max)
        limits[:, :tests] = np.array(self.thresholds, dtype=np.int64) + draws(trials, tests)
        scaled = np.zeros((len(frozen), tests + 1), dtype=np.int64)
        scaled[:, :tests] = self.grid * frozen
        level = np.zeros(trials, dtype=np.int64)
        limit = limits[:, 0].copy()
        path = np.empty((len(frozen), trials), dtype=np.int64)
        for tick, noise in enumerate(draws(len(frozen), trials)):
            noise += scaled[tick, level]
            above = noise >= limit
            raised = np.flatnonzero(above) if above.any() else NOBODY
            while len(raised):
                level[raised] += 1
                limit[raised] = limits[raised, level[raised]]
                raised = raised[scaled[tick, level[raised]] + draws(len(raised)) >= limit[raised]]
            path[tick] = level
        return path

    def bias_bound(self, level: float) -> Floats:
        """How many users the counts of each level may lack, shape (levels,).

        At every tick, with probability at least `level`, true count − count at the tick's level lies between 0 and
        this bound of that level. So, with the interval of `run` at level λ, [low, high + bound] holds the true count
        with probability at least λ + level − 1.
        """
        miss = 1 - validate_level(level)
        ratio = math.exp(-1 / self.noise.scale)
        # At each level the test's two draws differ by n or more with probability p^n/(1 + p).
        reach = math.ceil(self.noise.scale * math.log(max(len(self.thresholds) / ((1 + ratio) * miss), 1.0)))
        return np.array([*(threshold + reach for threshold in self.thresholds), 0]) / self.grid

    def describe(self) -> dict[str, Any]:
        """What names the strategy and the noise."""
        strategy = {
            "bounds": list(self.bounds), "thresholds": list(self.thresholds), "horizon": self.horizon,
            "levels": [level.describe() for level in self.levels],
        }  # fmt: skip
        return {"strategy": strategy, "pure": False, "scale": self.noise.scale}

    def _path(self, current: int, edges: Integers, frozen: Integers, draws: Integers) -> Integers:
        """The level of every tick and trial, shape (ticks, trials).

        Args:
            edges: noise of the thresholds, shape (trials, tests).
            frozen: frozen users, shape (ticks, tests).
            draws: noise of the tests, shape (ticks, trials, tests).
        """
        limits = np.array(self.thresholds, dtype=np.int64) + edges
        stays = np.ones((*draws.shape[:2], len(self.levels)), dtype=bool)
        stays[..., :-1] = self.grid * frozen[:, np.newaxis] + draws < limits
        numbers = np.arange(len(self.levels))
        path = np.empty(draws.shape[:2], dtype=np.int64)
        level = np.full(draws.shape[1], current)
        for tick in range(len(path)):
            # The first level from the present one on whose test is negative; the last has none.
            level = np.argmax(stays[tick] & (numbers >= level[:, np.newaxis]), axis=1)
            path[tick] = level
        return path

    def _columns(self, start: int, counts: Integers, last_frozen: Integers) -> tuple[Integers, Integers]:
        """Present users, shape (ticks, levels), and frozen users but at the last level, shape (ticks, levels − 1)."""
        if counts.ndim != 2 or counts.shape[1] != 2 * len(self.levels):
            raise ValueError(
                f"counts have the shape {counts.shape}; (ticks, {2 * len(self.levels)}) is needed: "
                "present and frozen users for every level"
            )
        if start + len(counts) > self.horizon:
            raise ValueError(f"ticks up to {start + len(counts)} were asked for; the horizon is {self.horizon}")
        for row, column in np.argwhere((counts < 0) | (counts > MOST_USERS))[:1]:
            raise ValueError(
                f"count is {counts[row, column]} at tick {start + row}, column {column}; it must lie between 0 and 2^36"
            )
        present, frozen = counts[:, ::2], counts[:, 1:-1:2]
        steps = np.diff(frozen, axis=0, prepend=last_frozen[np.newaxis])
        for row, column in np.argwhere(steps < 0)[:1]:
            raise ValueError(
                f"at tick {start + row} level {column} has {frozen[row, column]} frozen users, fewer than before; "
                "a user who is frozen stays so, else a test does not keep its guarantee"
            )
        return present, frozen

    def _unpacked(self, state: State) -> tuple[Integers, Integers, int, State]:
        tests = len(self.thresholds)
        if state.tick == 0:
            nothing = np.zeros(tests, dtype=np.int64)
            return nothing, nothing, 0, EMPTY_STATE
        if len(state.secret) < 2 * tests or len(state.public) < 2:
            raise ValueError(
                f"the state has {len(state.secret)} secret and {len(state.public)} public numbers, too few for "
                f"{tests} tests; it belongs to another mechanism"
            )
        current, tick = int(state.public[0]), int(state.public[1])
        return (
            state.secret[:tests],
            state.secret[tests : 2 * tests],
            current,
            State(tick, state.secret[2 * tests :], state.public[2:]),
        )


def validate_bounds(bounds: tuple[int, ...], horizon: int) -> None:
    """Raise ValueError if these cannot be the bounds of the levels."""
    if not bounds or any(bound < 2 or bound % 2 for bound in bounds):
        raise ValueError(f"bounds are {list(bounds)}; each is an even number of flips, at least 2")
    if any(later <= earlier for earlier, later in pairwise(bounds)):
        raise ValueError(f"bounds are {list(bounds)}; they must rise")
    if bounds[-1] < horizon:
        raise ValueError(f"the last bound is {bounds[-1]}; a user may flip at every one of {horizon} ticks")
