"""Several series with one mechanism, each with noise of its own, run at once: the same numbers as one after the other.

A release of a question with a breakdown has a series for every segment, thousands perhaps. A tick in Python costs more
than its noise, so that strategies which can take one tick of all series at a time do so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats, Integers
from dp.mechanisms.linear import LinearMechanism, StrategyRows
from dp.mechanisms.protocol import Mechanism, NoiseSource, Released, State


class ColumnStrategy(Protocol):
    """The part of a strategy that takes the counts of several series as columns."""

    def measure(self, tick: int, secret: Integers, count: Integers) -> tuple[Integers, Integers]:
        """As `Strategy.measure` of each series; shapes (n, series), (series,) and (draws, series)."""

    def estimate(self, tick: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """As `Strategy.estimate`, whose trials are series here."""

    def draws(self, start: int, stop: int) -> int:
        """As `Strategy.draws`."""


def run_together(
    mechanism: Mechanism, states: Sequence[State], counts: Integers, source: NoiseSource, level: float
) -> Iterator[tuple[State, Released]]:
    """Consecutive ticks of several series: the next state of each, and what it publishes, as `Mechanism.run` gives it.

    Args:
        states: of the series, all of them before the same tick.
        counts: true counts, shape (series, ticks), or (series, ticks, 2·bounds).
        source: of a linear mechanism it is asked once, for the draws of all series one after the other.
        level: of the pointwise intervals.

    Raises:
        ValueError: a count is negative or larger than MOST_USERS, or the states are of several ticks.
    """
    if ticks := sorted({state.tick for state in states})[1:]:
        raise ValueError(f"a state is before tick {ticks[-1]}, and others are not; series that run together go in step")
    if isinstance(mechanism, LinearMechanism) and len(states) > 1:
        return mechanism.run_together(states, counts, source, level)
    return (mechanism.run(state, own, source, level) for state, own in zip(states, counts, strict=True))


def rows_together(
    strategy: StrategyRows, states: Sequence[State], counts: Integers, noise: Integers
) -> tuple[list[State], Floats]:
    """`SeriesStrategy.run_together` of a matrix given by its rows."""
    start = states[0].tick
    kept, ticks = len(states[0].secret), counts.shape[1]
    past = np.concatenate([[state.secret for state in states], counts], axis=1)
    decoded = np.concatenate([[state.public for state in states], np.empty(counts.shape)], axis=1)
    for tick in range(ticks):
        weights, lead = strategy.row(start + tick)
        here = kept + tick
        behind = slice(here - len(weights), here)
        # The same sums as those of one series, whose last digits depend on the order in which it is added up.
        measured = lead * past[:, here] - np.vecdot(past[:, behind], weights) + noise[:, tick]
        floats = weights.astype(np.float64)
        decoded[:, here] = (measured.astype(np.float64) + np.vecdot(decoded[:, behind], floats)) / lead
    stop = start + ticks
    secret, public = (_last_columns(values, strategy.memory(stop - 1)) for values in (past, decoded))
    return [State(stop, *own) for own in zip(secret, public, strict=True)], decoded[:, kept:]


class AdvancingStrategy(Protocol):
    """The part of a strategy that releases the counts of several series as columns."""

    def advance(self, state: State, count: Integers, noise: Integers) -> tuple[State, Floats]:
        """As `Strategy.advance` of each series; shapes (series,) and (draws, series)."""

    def draws(self, start: int, stop: int) -> int:
        """As `Strategy.draws`."""


def advance_together(
    strategy: AdvancingStrategy, states: Sequence[State], counts: Integers, noise: Integers
) -> tuple[list[State], Floats]:
    """`SeriesStrategy.run_together` of a strategy that takes columns, one for each series, from tick to tick."""
    tick = states[0].tick
    secret, public = (np.stack(parts, axis=1) for parts in zip(*(state[1:] for state in states), strict=True))
    together, estimates, used = State(tick, secret, public), np.empty(counts.shape), 0
    for place in range(counts.shape[1]):
        draws = strategy.draws(tick + place, tick + place + 1)
        now = noise[:, used : used + draws].T
        together, estimates[:, place] = strategy.advance(together, counts[:, place], now)
        used += draws
    own = zip(together.secret.T.copy(), together.public.T.copy(), strict=True)
    return [State(together.tick, *one) for one in own], estimates


def columns_together(
    strategy: ColumnStrategy, states: Sequence[State], counts: Integers, noise: Integers
) -> tuple[list[State], Floats]:
    """`SeriesStrategy.run_together` of a strategy that measures and decodes columns, one for each series."""
    tick = states[0].tick
    secret, public = (np.stack(parts, axis=1) for parts in zip(*(state[1:] for state in states), strict=True))
    estimates = np.empty(counts.shape)
    used = 0
    for place in range(counts.shape[1]):
        draws = strategy.draws(tick, tick + 1)
        exact, secret = strategy.measure(tick, secret, counts[:, place])
        measured = np.asarray(exact + noise[:, used : used + draws].T, dtype=np.float64)
        estimates[:, place], public = strategy.estimate(tick, public, measured)
        tick, used = tick + 1, used + draws
    return [State(tick, *own) for own in zip(secret.T.copy(), public.T.copy(), strict=True)], estimates


def along_columns(weights: Floats, values: Floats) -> Floats:
    """The weighted sum of each column, shape (columns,), or that of one series; with the same last digit."""
    return np.asarray(np.vecdot(weights, np.ascontiguousarray(values.T)))


def _last_columns(values: NDArray[Any], keep: int) -> NDArray[Any]:
    return values[:, max(values.shape[1] - keep, 0) :].copy()
