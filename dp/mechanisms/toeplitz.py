"""Toeplitz strategies: every tick subtracts the same weights, so one short list of integers is the whole strategy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.signal import fftconvolve, lfilter

from dp.mechanisms import certificate
from dp.mechanisms.linear import Row, estimate_row, measure_row
from dp.mechanisms.protocol import GRID, Floats, Integers
from dp.units import ProtectedClass


@dataclass(frozen=True)
class ToeplitzStrategy:
    """B⁻¹ = 1 − Σ pₙzⁿ with pₙ = weights[n − 1] / GRID."""

    weights: tuple[int, ...]

    @cached_property
    def _integers(self) -> Integers:
        return np.array(self.weights, dtype=np.int64)

    @property
    def _subtracted(self) -> Floats:
        return self._integers / GRID

    def row(self, tick: int) -> Row:
        """The weights that reach back no further than the first tick."""
        reach = min(tick, len(self.weights))
        return Row(np.arange(1, reach + 1), self._integers[:reach])

    def memory(self, tick: int) -> int:
        """The number of weights, at every tick."""
        return len(self.weights)

    def measure(self, tick: int, secret: Integers, count: int) -> tuple[Integers, Integers]:
        """The count less the weighted counts before it."""
        return measure_row(self, tick, secret, count)

    def estimate(self, tick: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """The measurement and the weighted estimates before it."""
        return estimate_row(self, tick, public, measured)

    def draws(self, start: int, stop: int) -> int:
        """One a tick."""
        return stop - start

    def decoder(self, horizon: int) -> Floats:
        """The coefficients of B = 1/(1 − Σ pₙzⁿ), shape (horizon,)."""
        impulse = np.zeros(horizon)
        impulse[0] = 1.0
        return np.asarray(lfilter([1.0], np.concatenate([[1.0], -self._subtracted]), impulse))

    def decode(self, noise: Floats) -> Floats:
        """B z by FFT; shape of `noise`, which is (trials, T)."""
        if not self.weights:
            return noise
        horizon = noise.shape[1]
        return np.asarray(fftconvolve(noise, self.decoder(horizon)[np.newaxis], axes=1))[:, :horizon]

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
        return certificate.sensitivity_squared(self._subtracted, protected)

    def touched(self, protected: ProtectedClass) -> int:
        """The hull and all that the weights carry beyond it."""
        reach = protected.hull + len(self.weights)
        return reach if protected.horizon is None else min(reach, protected.horizon)


def damped_root_weights(damping: float, length: int) -> Floats:
    """p₁ … p_length of (1 − rz)^(1/2) = 1 − Σ pₙzⁿ, with r = `damping`; shape (length,)."""
    index = np.arange(1, length + 1)
    ratios = np.concatenate([[0.5], (index[1:] - 1.5) / index[1:]])
    return np.asarray(np.cumprod(ratios * damping))


def nearest(weights: Floats) -> ToeplitzStrategy:
    """The strategy whose weights are `weights` rounded to the nearest grid value, as far as any is left."""
    integers = np.rint(weights * GRID).astype(np.int64)
    used = np.flatnonzero(integers)
    return ToeplitzStrategy(tuple(int(weight) for weight in integers[: used[-1] + 1 if len(used) else 0]))


def quantise(weights: Floats) -> ToeplitzStrategy:
    """The strategy whose weights are `weights` rounded *down* to the grid, which keeps the certificate's conditions."""
    integers = np.floor(weights * GRID).astype(np.int64)
    return ToeplitzStrategy(tuple(int(weight) for weight in integers[: np.count_nonzero(integers)]))
