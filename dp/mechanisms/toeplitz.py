"""Toeplitz strategies: every tick subtracts the same weights, so one short list of integers is the whole strategy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy

from dp.arrays import Floats, Integers
from dp.mechanisms import certificate
from dp.mechanisms.filters import convolve, impulse_response
from dp.mechanisms.linear import (
    StrategyRow,
    estimate_row,
    measure_and_estimate,
    measure_in_turn,
    measure_row,
    one_draw_a_tick,
)
from dp.mechanisms.protocol import GRID
from dp.mechanisms.together import rows_together
from dp.units import ProtectedClass

DECODED_AT_ONCE = 2**15
"""Draws that are decoded together, so that they and their transforms stay in the processor's cache."""

LONGEST_ROOT = 2**15
"""Weights of any (1 − rz)^(1/2) from here on are less than one grid unit: pₙ < 0.29 n^(−3/2)."""

LONG = 2048
"""Ticks from which the decoder is computed by FFT; for fewer the plain recursion is as fast."""


@dataclass(frozen=True)
class ToeplitzStrategy:
    """B⁻¹ = 1 − Σ pₙzⁿ with pₙ = weights[n − 1] / GRID.

    Attributes:
        weights: whole numbers of grid units.
        certified: the weights meet the three conditions of the certificate (docs/guarantees.md, section 2.3). Without
            them only classes of one run, or of few enough patterns to try each, have a sensitivity.

    Raises:
        ValueError: `certified`, and a weight breaks a condition.
    """

    weights: tuple[int, ...]
    certified: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        if self.certified:
            _validate_conditions(self._integers)

    @cached_property
    def _integers(self) -> Integers:
        return np.array(self.weights, dtype=np.int64)

    @cached_property
    def _oldest_first(self) -> Integers:
        return self._integers[::-1].copy()

    @property
    def subtracted(self) -> Floats:
        """p₁, p₂, … as they are run."""
        return self._integers / GRID

    def row(self, tick: int) -> StrategyRow:
        """The weights that reach back no further than the first tick."""
        return StrategyRow(self._oldest_first[max(len(self.weights) - tick, 0) :])

    def memory(self, tick: int) -> int:
        """The number of weights, or of ticks so far if that is smaller."""
        return min(len(self.weights), tick + 1)

    measure = measure_row
    estimate = estimate_row
    advance = measure_and_estimate
    measurements = measure_in_turn
    run_together = rows_together
    draws = one_draw_a_tick

    def decoder(self, horizon: int) -> Floats:
        """The coefficients of B = 1/(1 − Σ pₙzⁿ), shape (horizon,); the same bits for any longer horizon.

        Newton's iteration for the inverse of a power series: it doubles the terms that are known.
        """
        inverse = np.concatenate([[1.0], -self.subtracted])
        decoder = impulse_response(np.ones(1), inverse[:LONG], min(horizon, LONG))
        while len(decoder) < horizon and self.weights:
            known = len(decoder)
            remainder = convolve(inverse[: 2 * known], decoder)[known : 2 * known]
            decoder = np.concatenate([decoder, -convolve(remainder, decoder)[:known]])
        return np.pad(decoder[:horizon], (0, max(horizon - len(decoder), 0)))

    def decode(self, noise: Floats) -> Floats:
        """B z by FFT, some trials at a time; shape of `noise`, which is (trials, T)."""
        if not self.weights:
            return noise
        trials, horizon = noise.shape
        size = scipy.fft.next_fast_len(2 * horizon - 1, real=True)
        response = scipy.fft.rfft(self.decoder(horizon), size)
        errors = np.empty_like(noise)
        together = max(DECODED_AT_ONCE // horizon, 1)
        for start in range(0, trials, together):
            spectra = scipy.fft.rfft(noise[start : start + together], size, axis=1)
            spectra *= response
            errors[start : start + together] = scipy.fft.irfft(spectra, size, axis=1, overwrite_x=True)[:, :horizon]
        return errors

    def decoder_energy(self, horizon: int) -> Floats:
        """Σ_n B[t, n]², shape (horizon,)."""
        return np.cumsum(self.decoder(horizon) ** 2)

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """The certificate's bound; without weights every touched tick counts one, which is exact.

        Raises:
            ValueError: the class has many patterns and no certificate holds for the weights.
        """
        if not self.weights:
            return float(protected.hull)
        return certificate.sensitivity_squared(self.subtracted, protected)

    def touched(self, protected: ProtectedClass) -> int:
        """The hull and all that the weights carry beyond it."""
        reach = protected.hull + len(self.weights)
        return reach if protected.horizon is None else min(reach, protected.horizon)


def _validate_conditions(weights: Integers) -> None:
    broken = (weights < 0) | (np.diff(weights, prepend=GRID) > 0) | (np.cumsum(weights) > GRID)
    if broken.any():
        first = int(np.argmax(broken))
        raise ValueError(
            f"weights[{first}] is {weights[first]} after a sum of {weights[:first].sum()}; the certificate needs "
            f"weights that are non-negative, non-increasing and sum to at most 1, which is {GRID}"
        )


def damped_root_weights(damping: float, length: int) -> Floats:
    """p₁ … p_length of (1 − rz)^(1/2) = 1 − Σ pₙzⁿ, with r = `damping`; shape (length,)."""
    index = np.arange(1, length + 1)
    ratios = np.concatenate([[0.5], (index[1:] - 1.5) / index[1:]])
    return np.asarray(np.cumprod(ratios * damping))


def nearest(weights: Floats) -> ToeplitzStrategy:
    """The strategy whose weights have sums p₁ + … + pₙ rounded to the nearest grid value, as far as any weight is left.

    Rounding the sums keeps the answer to a long run exact, where rounding errors of single weights would add up. It
    can break the certificate's conditions, so the strategy is not certified.
    """
    integers = np.diff(np.rint(np.cumsum(weights) * GRID), prepend=0.0).astype(np.int64)
    used = np.flatnonzero(integers)
    kept = integers[: used[-1] + 1 if len(used) else 0]
    return ToeplitzStrategy(tuple(int(weight) for weight in kept), certified=False)


def quantised_root(damping: float, length: int) -> ToeplitzStrategy:
    """The damped square root of so many weights at most, rounded down to the grid."""
    return quantise(damped_root_weights(damping, min(length, LONGEST_ROOT)))


def quantise(weights: Floats) -> ToeplitzStrategy:
    """The strategy whose weights are `weights` rounded *down* to the grid, which keeps the certificate's conditions."""
    integers = np.floor(weights * GRID).astype(np.int64)
    return ToeplitzStrategy(tuple(int(weight) for weight in integers[: np.count_nonzero(integers)]))
