"""What every mechanism is to a release: a frozen value that turns counts into estimates, one tick after the other.

It holds neither data nor randomness. What a stream remembers is a `State`; where noise comes from is a `Source`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dp.noise import Noise

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GRID = 2**24
"""Grid cells per user: fine enough that quantising costs less than a millionth of any standard deviation."""

MOST_USERS = 2**36
"""Largest count a mechanism may encode: grid × count then stays far inside 64 bits."""

Source = Callable[[Noise, int], Integers]
"""Fresh whole-number draws of a noise: `noise.secure(size)` in a release, seeded ones in a rehearsal."""


class State(NamedTuple):
    """What a stream remembers between ticks.

    Attributes:
        tick: the next one.
        secret: whole numbers, shape (n,), that may tell true counts or noise; never shown.
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
    """

    estimates: Floats
    low: Floats
    high: Floats
    deviations: Floats


class Mechanism(Protocol):
    """A calibrated mechanism."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    def run(self, state: State, counts: Integers, source: Source, level: float) -> tuple[State, Released]:
        """Consecutive ticks from `state` on: the next state and what is published.

        In pieces it gives what it gives at once, from the same draws.

        Args:
            counts: true counts, shape (ticks,), or (ticks, columns) where a mechanism needs more than one number.
            level: of the pointwise intervals.

        Raises:
            ValueError: a count is negative or larger than MOST_USERS.
        """

    def simulate(self, counts: Integers, trials: int, generator: np.random.Generator) -> Floats:
        """Estimates of seeded trials from the first tick on, shape (trials, ticks); never for publication."""

    def describe(self) -> dict[str, Any]:
        """What names its strategy and its noise, as plain JSON values."""
