"""One definition for every linear mechanism: release = counts + B z, run one tick at a time.

At tick t a mechanism measures a difference of the present count and a few past ones, adds one integer noise draw, and
decodes with the same weights:

    measured_t = grid·x_t − Σ_n weights_n·x_(t−n) + z_t           (integers only)
    estimate_t = (measured_t + Σ_n weights_n·estimate_(t−n)) / grid    (post-processing)

The weights are whole numbers on a grid, so that what is private is integer arithmetic plus integer noise and the
sensitivity is that of the quantised strategy. In matrix form measured = grid·(B⁻¹x) + z.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dp.noise import Noise
from dp.units import ProtectedClass

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GRID = 2**24
"""Grid cells per user: fine enough that quantising costs less than a millionth of any standard deviation."""

MOST_USERS = 2**36
"""Largest count a strategy may encode: grid × count then stays far inside 64 bits."""


class Row(NamedTuple):
    """What tick t's measurement subtracts: whole-number `weights` (grid units) of the counts `lags` ticks back."""

    lags: Integers
    weights: Integers


class Strategy(Protocol):
    """A lower-triangular strategy matrix B⁻¹ with unit diagonal, quantised to whole multiples of 1/GRID."""

    def row(self, tick: int) -> Row:
        """The subtracted part of row `tick` of B⁻¹; every lag is between 1 and `tick`."""

    def memory(self, tick: int) -> int:
        """How many past ticks a stream must keep after `tick` (as far as any later row can reach back)."""

    def decode(self, noise: Floats) -> Floats:
        """B z for noise of shape (trials, T), in the unit of `noise`: the fast twin of running every row in turn."""

    def decoder_energy(self, horizon: int) -> Floats:
        """Σ_n B[t, n]² for t < `horizon`, shape (horizon,): the variance of each release per unit of noise variance."""

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """An upper bound on ‖B⁻¹Δ‖₂² over the class, in squared users; proof in docs/guarantees.md."""

    def touched(self, protected: ProtectedClass) -> int:
        """Most measurements that one protected change can alter."""


class History(NamedTuple):
    """A stream's state: the last counts (secret) and the last estimates (public), oldest first.

    `counts` has shape (n,), `estimates` (n,) in a release and (n, trials) in a simulation; `tick` is the next one.
    """

    tick: int
    counts: Integers
    estimates: Floats


EMPTY_HISTORY = History(0, np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True)
class Mechanism:
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

    def step(
        self, history: History, count: int, noise: NDArray[np.int64] | NDArray[np.float64] | int
    ) -> tuple[History, Floats]:
        """One tick: the next history and the estimate, in users.

        Args:
            history: the state after the tick before; `EMPTY_HISTORY` at the first.
            count: the true count at this tick.
            noise: one whole-number draw in grid units, or an array of one per trial.

        Raises:
            ValueError: the count is negative or larger than MOST_USERS.
        """
        if not 0 <= count <= MOST_USERS:
            raise ValueError(f"count is {count} at tick {history.tick}; it must lie between 0 and 2^36")
        tick, counts, estimates = history
        lags, weights = self.strategy.row(tick)
        at = len(counts) - lags
        measured = GRID * count - int(weights @ counts[at]) + noise
        estimate = np.asarray((measured + weights @ estimates[at]) / GRID, dtype=np.float64)
        keep = min(self.strategy.memory(tick), tick + 1)
        past = estimates if tick else estimates.reshape(0, *estimate.shape)
        return (
            History(
                tick + 1,
                np.append(counts, np.int64(count))[tick_slice(len(counts) + 1, keep)],
                np.concatenate([past, estimate[np.newaxis]])[tick_slice(len(counts) + 1, keep)],
            ),
            estimate,
        )

    def run(self, history: History, counts: Iterable[int], noise: Iterable[int]) -> tuple[History, Floats]:
        """`step` over consecutive ticks: the final history and the estimates, shape (ticks,)."""
        estimates = []
        for count, draw in zip(counts, noise, strict=True):
            history, estimate = self.step(history, count, draw)
            estimates.append(float(estimate))
        return history, np.array(estimates)

    def errors(self, noise: Floats) -> Floats:
        """Error of every release, B z / grid, for noise of shape (trials, T); in users."""
        return self.strategy.decode(noise) / GRID

    def standard_deviation(self, horizon: int) -> Floats:
        """Exact standard deviation of every release, shape (horizon,), in users."""
        return np.sqrt(self.noise.variance * self.strategy.decoder_energy(horizon)) / GRID

    def half_width(self, level: float, horizon: int) -> Floats:
        """Half width of the pointwise interval of that level for every release, shape (horizon,), in users."""
        return self.noise.half_width(level, self.strategy.decoder_energy(horizon)) / GRID


def tick_slice(length: int, keep: int) -> slice:
    """The last `keep` of `length` entries."""
    return slice(length - keep, length)
