"""What every mechanism is to a release: a frozen value that turns counts into estimates, one tick after the other.

It holds neither data nor randomness. What a stream remembers is a `State`; where noise comes from is a `NoiseSource`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from dp.arrays import Floats, Integers
from dp.noise import Noise

GRID = 2**24
"""Grid cells per user: fine enough that quantising costs less than a millionth of any standard deviation."""

MOST_USERS = 2**36
"""Largest count a mechanism may encode: grid × count then stays far inside 64 bits."""

NoiseSource = Callable[[Noise, int], Integers]
"""Fresh whole-number draws of a noise: `noise.secure(size)` in a release, seeded ones in a rehearsal."""


class State(NamedTuple):
    """What a stream remembers between ticks.

    Attributes:
        tick: the next one.
        secret: whole numbers, shape (n,), that may tell true counts or noise; never shown. (n, trials) in a simulation
            of a mechanism that remembers noise.
        public: shape (k,), or (k, trials) in a simulation: functions of what was published.
    """

    tick: int
    secret: Integers
    public: Floats


EMPTY_STATE = State(0, np.empty(0, dtype=np.int64), np.empty(0))


class Released(NamedTuple):
    """What consecutive ticks publish, in users; shape (ticks,) each.

    Attributes:
        low: lower end of the pointwise interval for the count that the noise was added to; −inf where there is none.
        high: upper end; inf where there is none.
        deviations: standard deviations, NaN where they depend on the data.
        columns: what only some mechanisms say of a tick, by the name of the column in its row. `bias_bound` is how many
            users the counts may lack, with the level of the intervals.
    """

    estimates: Floats
    low: Floats
    high: Floats
    deviations: Floats
    columns: Mapping[str, Sequence[Any]] = MappingProxyType({})

    @property
    def arrays(self) -> tuple[Floats, Floats, Floats, Floats]:
        """All but the columns of some mechanisms."""
        return self[:4]

    @classmethod
    def of(cls, arrays: Iterable[Floats]) -> Released:
        """From the four arrays in their order."""
        estimates, low, high, deviations = arrays
        return cls(estimates, low, high, deviations)

    @classmethod
    def nothing(cls) -> Released:
        """What no tick publishes."""
        return cls.of(np.empty((4, 0)))


@dataclass(frozen=True)
class Trials:
    """What simulated releases of one series gave, in users; never for publication.

    Attributes:
        errors: estimates less the counts that the noise was added to, shape (trials, ticks).
        counted: those counts, shape (ticks,), or (trials, ticks) where a mechanism chooses among several.
        deviations: standard deviations of the errors, shape (ticks,), NaN where they depend on the data.
        level: of the pointwise intervals.
        reach: from a level to half widths of the intervals, of a shape that broadcasts to (trials, ticks); inf where
            there is no interval.
    """

    errors: Floats
    counted: Integers
    deviations: Floats
    level: float
    reach: Callable[[float], Floats]

    @property
    def half_widths(self) -> Floats:
        """Those of the trials' own level."""
        return self.reach(self.level)

    @property
    def estimates(self) -> Floats:
        """What the trials published, shape (trials, ticks)."""
        return self.errors + self.counted

    @property
    def covered(self) -> float:
        """Share of the intervals that hold the count they are for, among those that have ends."""
        half_widths = self.half_widths
        held = np.abs(self.errors) <= half_widths
        return float(held[np.broadcast_to(np.isfinite(half_widths), held.shape)].mean())


class Mechanism(Protocol):
    """A calibrated mechanism."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def data_dependent(self) -> bool:
        """Whether its error depends on the counts; where not, the noise is independent of them."""

    @property
    def bounds(self) -> tuple[int, ...] | None:
        """The flip bounds under which it needs the counts, side by side; None where it needs one number a tick.

        For each bound in turn there are two columns: the users present, each frozen after that many flips, and the
        users frozen so far.
        """

    @property
    def gaussian_draws(self) -> tuple[tuple[int, int], ...]:
        """What the discrete Gaussian costs: (scale in grid units, most measurements that one change alters) each.

        Empty where no noise is Gaussian.
        """

    @property
    def spent(self) -> float | None:
        """The μ (ε for Laplace noise) that its noise has for its sensitivity; None: all that it was given."""

    def run(self, state: State, counts: Integers, source: NoiseSource, level: float) -> tuple[State, Released]:
        """Consecutive ticks from `state` on: the next state and what is published.

        In pieces it gives what it gives at once, from the same draws.

        Args:
            counts: true counts, shape (ticks,), or (ticks, 2·bounds) where it has `bounds`.
            level: of the pointwise intervals.

        Raises:
            ValueError: a count is negative or larger than MOST_USERS.
        """

    def simulate(self, counts: Integers, trials: int, generator: np.random.Generator) -> Floats:
        """Estimates of seeded trials from the first tick on, shape (trials, ticks); never for publication."""

    def trials(self, counts: Integers, trials: int, generator: np.random.Generator, level: float) -> Trials:
        """Seeded trials from the first tick on, with their errors and intervals.

        Args:
            counts: as of `run`.
        """

    def neighbours(self) -> tuple[Integers, Integers] | None:
        """Counts without and with a protected change that is as visible as any that is known.

        None where a search along its strategy finds one (`dp.auditing`).
        """

    def standard_deviation(self, horizon: int) -> Floats:
        """Standard deviations of the releases, shape (horizon,), in users; NaN where they depend on the data."""

    def errors_of_draws(self, ticks: int) -> Floats | None:
        """The matrix that makes errors of independent draws with standard deviation 1, in users, shape (ticks, draws).

        None where errors depend on the data.
        """

    def memory(self, ticks: int) -> int:
        """Most numbers that a stream of so many ticks keeps of the counts between two of them."""

    def describe(self) -> dict[str, Any]:
        """What names its strategy and its noise, as plain JSON values."""


NoiseName = Literal["gaussian", "laplace"]


class SeriesBudget(NamedTuple):
    """What one series may spend: μ where its noise is Gaussian, (ε, δ) where it is Laplace noise."""

    epsilon: float
    delta: float
    mu: float


class Cost(NamedTuple):
    """What noise a mechanism draws, and what it remembers.

    Attributes:
        sigma: standard deviation of one draw, in users.
        memory: most numbers that a stream keeps of the counts between two ticks.
        draws_per_tick: noise draws, on average.
    """

    sigma: float
    memory: int
    draws_per_tick: float


class Design(Protocol):
    """A mechanism for a class of protected changes: everything but the guarantee."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def noise(self) -> NoiseName:
        """What is drawn, and so how the budgets of several series add up: μ² for Gaussian noise, else ε and δ."""

    @property
    def data_dependent(self) -> bool:
        """As of the mechanism."""

    def calibrated(self, budget: SeriesBudget) -> Mechanism:
        """The mechanism that spends no more than the budget.

        Raises:
            ValueError: the budget is out of range, or the noise it takes cannot be drawn.
        """

    def cost(self, budget: SeriesBudget, ticks: int) -> Cost | None:
        """What the mechanism for that budget draws and remembers in so many ticks; None where the data decides."""
