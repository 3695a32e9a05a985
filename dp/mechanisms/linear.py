"""One definition for every linear mechanism: release = counts + B z, run one tick at a time.

At tick t most strategies measure whole-number combinations of the present count and what they remember of past ones;
integer noise is added to each; the estimate is decoded from the noisy measurements and from what was decoded before.
Measuring is integer arithmetic, so that what is private is integers plus integer noise and the sensitivity is that of
the quantised strategy; decoding is post-processing. In matrix form measured = grid·(B⁻¹x) + z, B the decoder; trees
that measure more than once a tick have more rows than ticks and B is a left inverse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats, Integers
from dp.mechanisms.protocol import (
    EMPTY_STATE,
    GRID,
    MOST_USERS,
    Cost,
    NoiseName,
    NoiseSource,
    Released,
    SeriesBudget,
    State,
    Trials,
)
from dp.noise import GaussianNoise, LaplaceNoise, Noise
from dp.units import ProtectedClass


class Strategy(Protocol):
    """What is drawn at each tick and how estimates are made with it; both linear, and quantised to the grid."""

    def advance(self, state: State, count: int, noise: Integers | Floats) -> tuple[State, Floats]:
        """One tick; arguments and results as of `LinearMechanism.step`."""

    def measurements(self, counts: Integers) -> Integers:
        """What a whole series adds to each draw, B⁻¹ x, in grid units, shape (draws,); B times it is the series.

        For as many ticks as there are counts.
        """

    def draws(self, start: int, stop: int) -> int:
        """How many measurements the ticks `start` to `stop` − 1 make."""

    def memory(self, tick: int) -> int:
        """How many numbers a stream remembers of the counts, or of the noise, after `tick`."""

    def decode(self, noise: Floats) -> Floats:
        """B z for noise of shape (trials, draws), in the unit of `noise`: the fast twin of running every tick in turn.

        Returns:
            shape (trials, T).
        """

    def decoder_energy(self, horizon: int) -> Floats:
        """Σ_n B[t, n]² for t < `horizon`, shape (horizon,): the variance of each release per unit of noise variance."""

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """An upper bound on ‖B⁻¹Δ‖₂² over the class, in squared users; proof in docs/guarantees.md."""

    def touched(self, protected: ProtectedClass) -> int:
        """Most measurements that one protected change can alter."""


@runtime_checkable
class SeriesStrategy(Protocol):
    """A strategy that takes many series at once, quicker than one after the other."""

    def run_together(self, states: Sequence[State], counts: Integers, noise: Integers) -> tuple[list[State], Floats]:
        """What `LinearMechanism.steps` gives each of several series, to the last digit.

        Args:
            states: of the series, all before the same tick.
            counts: shape (series, ticks), at least one of each.
            noise: whole-number draws in grid units, shape (series, draws).

        Returns:
            the final states, and the estimates in users, shape (series, ticks).
        """


@dataclass(frozen=True)
class LinearMechanism:
    """A calibrated linear mechanism: no data and no randomness, only what is drawn and how it is decoded.

    Attributes:
        name: its name on the command line.
        strategy: the quantised strategy.
        noise: distribution and scale of one draw, in grid units.
        sensitivity: the bound on one protected change that the scale was computed for, in users: ℓ₂ for Gaussian
            noise, ℓ₁ for Laplace noise.
        touched: most measurements that one protected change can alter.
    """

    name: str
    strategy: Strategy
    noise: Noise
    sensitivity: float
    touched: int

    @property
    def data_dependent(self) -> bool:
        """False: the noise knows nothing of the counts."""
        return False

    @property
    def bounds(self) -> None:
        """None: one count a tick."""

    @property
    def gaussian_draws(self) -> tuple[tuple[int, int], ...]:
        """Scale and number of the measurements that one protected change alters, where the noise is Gaussian."""
        return () if self.noise.pure else ((self.noise.scale, self.touched),)

    @property
    def spent(self) -> float:
        """Sensitivity over scale: μ for Gaussian, ε for Laplace noise."""
        return GRID * self.sensitivity / self.noise.scale

    def step(self, state: State, count: int, noise: Integers | Floats) -> tuple[State, Floats]:
        """One tick: the next state and the estimate, in users.

        Args:
            state: after the tick before; `EMPTY_STATE` at the first.
            count: the true count at this tick.
            noise: whole-number draws in grid units, shape (draws,), or (draws, trials).

        Raises:
            ValueError: the count is negative or larger than MOST_USERS.
        """
        if not 0 <= count <= MOST_USERS:
            raise _not_a_count(count, state.tick)
        return self.strategy.advance(state, int(count), noise)

    def steps(self, state: State, counts: Integers, noise: Integers | Floats) -> tuple[State, Floats]:
        """`step` over consecutive ticks: the final state and the estimates, shape (ticks,) or (ticks, trials).

        Args:
            noise: the draws of all these ticks in turn, shape (draws,) or (draws, trials).
        """
        estimates = []
        used = 0
        for count in counts.tolist():
            next_used = used + self.strategy.draws(state.tick, state.tick + 1)
            state, estimate = self.step(state, count, noise[used:next_used])
            estimates.append(estimate)
            used = next_used
        if used != len(noise):
            raise ValueError(f"noise has {len(noise)} draws where {used} are used")
        return state, np.array(estimates)

    def run(self, state: State, counts: Integers, source: NoiseSource, level: float) -> tuple[State, Released]:
        """Consecutive ticks with noise from `source`; see `protocol.Mechanism`."""
        ((state, released),) = self.run_together([state], counts[np.newaxis], source, level)
        return state, released

    def run_together(
        self, states: Sequence[State], counts: Integers, source: NoiseSource, level: float
    ) -> Iterator[tuple[State, Released]]:
        """`run` of several series; see `dp.mechanisms.together.run_together`."""
        if not counts.size:
            yield from ((state, Released.nothing()) for state in states)
            return
        start, stop = states[0].tick, states[0].tick + counts.shape[1]
        energy = self._energy(start, stop)
        half_widths = self.noise.half_width(level, energy) / GRID
        deviations = self._deviations(energy)
        draws = self.strategy.draws(start, stop)
        noise = source(self.noise, len(states) * draws).reshape(len(states), draws)
        for state, estimates in self._steps_together(states, counts, noise):
            yield state, Released(estimates, estimates - half_widths, estimates + half_widths, deviations)

    def _steps_together(
        self, states: Sequence[State], counts: Integers, noise: Integers
    ) -> Iterator[tuple[State, Floats]]:
        if len(states) == 1 or not isinstance(self.strategy, SeriesStrategy):
            return map(self.steps, states, counts, noise)
        out_of_range = (counts < 0) | (counts > MOST_USERS)
        if out_of_range.any():
            series, tick = np.argwhere(out_of_range)[0]
            raise _not_a_count(counts[series, tick], states[0].tick + tick)
        return zip(*self.strategy.run_together(states, counts, noise), strict=True)

    def simulate(self, counts: Integers, trials: int, generator: np.random.Generator) -> Floats:
        """Estimates of seeded trials, shape (trials, ticks); never for publication."""
        draws = self.strategy.draws(0, len(counts))
        estimates = self.errors(self.noise.seeded(generator, (trials, draws)))
        estimates += counts
        return estimates

    def trials(self, counts: Integers, trials: int, generator: np.random.Generator, level: float) -> Trials:
        """Seeded trials; see `protocol.Mechanism`."""
        errors = self.simulate(np.zeros_like(counts), trials, generator)
        ticks = len(counts)
        return Trials(
            errors, counts, self.standard_deviation(ticks), level, lambda asked: self.half_width(asked, ticks)
        )

    def neighbours(self) -> None:
        """None: the worst pattern is searched for along the strategy."""

    def memory(self, ticks: int) -> int:
        """Most numbers that a stream of so many ticks remembers."""
        return max(self.strategy.memory(tick) for tick in range(ticks))

    def cost(self, ticks: int) -> Cost:
        """Deviation of a draw, memory and draws over so many ticks."""
        sigma = math.sqrt(self.noise.variance) / GRID
        return Cost(sigma, self.memory(ticks), self.strategy.draws(0, ticks) / ticks)

    def describe(self) -> dict[str, Any]:
        """What names the strategy and the noise."""
        return {"strategy": repr(self.strategy), "pure": self.noise.pure, "scale": self.noise.scale}

    def errors(self, noise: Floats) -> Floats:
        """Error of every release, B z / grid, for noise of shape (trials, draws); (trials, T), in users."""
        return self.strategy.decode(noise) / GRID

    def standard_deviation(self, horizon: int) -> Floats:
        """Exact standard deviation of every release, shape (horizon,), in users."""
        return self._deviations(self._energy(0, horizon))

    def errors_of_draws(self, ticks: int) -> Floats:
        """B times the standard deviation of a draw, shape (ticks, draws), in users."""
        decoder = self.strategy.decode(np.eye(self.strategy.draws(0, ticks))).T
        return np.asarray(decoder * (math.sqrt(self.noise.variance) / GRID))

    def half_width(self, level: float, horizon: int) -> Floats:
        """Half width of the pointwise interval of that level for every release, shape (horizon,), in users."""
        return self.noise.half_width(level, self._energy(0, horizon)) / GRID

    def _deviations(self, energy: Floats) -> Floats:
        return np.sqrt(self.noise.variance * energy) / GRID

    @cached_property
    def _energies(self) -> dict[int, Floats]:
        return {}

    def _energy(self, start: int, stop: int) -> Floats:
        """The decoder's energy at these ticks; computed for up to twice as many, so that a stream seldom has to."""
        size = 1 << (stop - 1).bit_length()
        if size not in self._energies:
            self._energies[size] = self.strategy.decoder_energy(size)
        return self._energies[size][start:stop]


@dataclass(frozen=True)
class LinearDesign:
    """A strategy for a class with its sensitivity: everything but the noise scale.

    Attributes:
        sensitivity: users; ℓ₂ for Gaussian noise, ℓ₁ for Laplace noise.
        touched: most measurements that one protected change can alter.
        doubled: one change may move a measurement by two users, where Laplace noise else sees steps of one.
    """

    name: str
    noise: NoiseName
    strategy: Strategy
    sensitivity: float
    touched: int
    doubled: bool = False

    @property
    def in_turn(self) -> bool:
        """Whether every measurement is of the present and past counts alone when its noise is first used, so that
        measurements compose one after the other."""
        return getattr(type(self.strategy), "advance", None) is measure_and_estimate

    @property
    def data_dependent(self) -> bool:
        """False: the noise knows nothing of the counts."""
        return False

    def with_scale(self, scale: float) -> LinearMechanism:
        """The mechanism whose noise has at least that scale in grid units (rounded up to a whole number)."""
        kind = GaussianNoise if self.noise == "gaussian" else LaplaceNoise
        return LinearMechanism(self.name, self.strategy, kind(math.ceil(scale)), self.sensitivity, self.touched)

    def calibrated(self, budget: SeriesBudget) -> LinearMechanism:
        """The mechanism with the least noise that spends no more than the budget."""
        return self.with_scale(GRID * self.sensitivity / (budget.mu if self.noise == "gaussian" else budget.epsilon))

    def cost(self, budget: SeriesBudget, ticks: int) -> Cost:
        """What the calibrated mechanism costs."""
        return self.calibrated(budget).cost(ticks)


class MeasuringStrategy(Protocol):
    """A strategy whose draws measure the present count and past ones alone."""

    def measure(self, tick: int, secret: Integers, count: int) -> tuple[Integers, Integers]:
        """The measurements without noise, in grid units, shape (draws,), and what must be remembered of the counts."""

    def estimate(self, tick: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """The estimate in users and what must be remembered of the published.

        Args:
            public: shape (k,) or (k, trials).
            measured: noisy measurements in grid units, shape (draws,) or (draws, trials).
        """

    def draws(self, start: int, stop: int) -> int:
        """As of `Strategy`."""


def measure_and_estimate(
    strategy: MeasuringStrategy, state: State, count: int, noise: Integers | Floats
) -> tuple[State, Floats]:
    """`Strategy.advance`: measure, add the noise, estimate."""
    tick, secret, public = state
    exact, secret = strategy.measure(tick, secret, count)
    measured = np.asarray(exact.reshape(-1, *(1,) * (noise.ndim - 1)) + noise, dtype=np.float64)
    if not tick:
        public = public.reshape(0, *noise.shape[1:])
    estimate, public = strategy.estimate(tick, public, measured)
    return State(tick + 1, secret, public), estimate


def measure_in_turn(strategy: MeasuringStrategy, counts: Integers) -> Integers:
    """`Strategy.measurements`: one tick after the other."""
    secret, measured = EMPTY_STATE.secret, []
    for tick, count in enumerate(counts.tolist()):
        exact, secret = strategy.measure(tick, secret, count)
        measured.append(exact)
    return np.concatenate(measured)


class StrategyRow(NamedTuple):
    """One measurement a tick: `lead` times the count, less whole-number `weights` of the last counts, oldest first."""

    weights: Integers
    lead: int = GRID


class StrategyRows(Protocol):
    """A square strategy matrix given by its rows."""

    def row(self, tick: int) -> StrategyRow:
        """Row `tick` of B⁻¹ in grid units; at most `tick` weights."""

    def memory(self, tick: int) -> int:
        """How many past ticks a stream must keep after `tick` (as far as any later row can reach back)."""


def measure_row(rows: StrategyRows, tick: int, secret: Integers, count: int) -> tuple[Integers, Integers]:
    """`MeasuringStrategy.measure` of a matrix given by rows: it remembers the last counts, oldest first."""
    weights, lead = rows.row(tick)
    exact = lead * count - int(weights @ secret[len(secret) - len(weights) :])
    return np.array([exact]), _last(np.append(secret, np.int64(count)), rows.memory(tick))


def estimate_row(rows: StrategyRows, tick: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
    """`MeasuringStrategy.estimate` of a matrix given by rows: it remembers the last estimates, oldest first."""
    weights, lead = rows.row(tick)
    estimate = np.asarray((measured[0] + weights.astype(np.float64) @ public[len(public) - len(weights) :]) / lead)
    return estimate, _last(np.concatenate([public, estimate[np.newaxis]]), rows.memory(tick))


def _not_a_count(count: int, tick: int) -> ValueError:
    return ValueError(f"count is {count} at tick {tick}; it must lie between 0 and 2^36")


def one_draw_a_tick(strategy: object, start: int, stop: int) -> int:
    """`Strategy.draws` of whatever measures once a tick."""
    return stop - start


def _last(values: NDArray[Any], keep: int) -> NDArray[Any]:
    return values[max(len(values) - keep, 0) :]
