"""Strategies that remember a few exponentially weighted sums: constant memory, whatever the horizon.

B⁻¹ = 1 − Σ_k ω_k z/(1 − λ_k z): tick t measures the count less Σ_k ω_k s_k, where buffer k obeys s_k ← λ_k s_k + count.
Decoding runs the same buffers on the estimates. Dvijotham, McMahan, Pillutla, Steinke, Thakurta, "Efficient and
near-optimal noise generation for streaming differential privacy", 2024 (buffered linear Toeplitz matrices).

Buffers are kept in whole numbers and rounded down, so that what is measured is a whole number within one grid cell of
the exact linear one; the sensitivity pays for that cell at every tick (docs/guarantees.md).

The energy that a pattern of runs can cause is bounded by dynamic programming over the buffers themselves: the most that
can still come is a convex function of their content, so that interpolating it between grid points never falls below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import scipy

from dp.arrays import Floats, Integers
from dp.mechanisms import certificate
from dp.mechanisms.filters import impulse_response
from dp.mechanisms.linear import measure_and_estimate, measure_in_turn, one_draw_a_tick
from dp.mechanisms.protocol import GRID
from dp.mechanisms.together import along_columns, columns_together
from dp.units import ProtectedClass

PRECISION = 2**40
"""Decays and weights are whole multiples of 1/PRECISION, which a float holds exactly."""

FRACTION_BITS = 20
"""Bits of a buffer below one grid unit, so that its rounding adds up to less than 2^-20 units."""

LIMB = 2**48
"""A buffer outgrows 64 bits; it is stored as two numbers, the lower one below LIMB."""

LONGEST = 2**20
"""Ticks that a stream without an end may run (2,870 years of days): rounding adds up, and the guarantee pays for it."""

POINTS = {1: 2000, 2: 72, 3: 24}
"""Grid points per buffer of the dynamic programme: within 0.3 % of many more, and a second or two over a year."""


@dataclass(frozen=True)
class BufferStrategy:
    """λ_k = decays[k] / PRECISION and ω_k = weights[k] / PRECISION.

    Raises:
        ValueError: a weight is not positive, a decay not between 0 and 1, or B⁻¹1 would become negative.
    """

    decays: tuple[int, ...]
    weights: tuple[int, ...]

    def __post_init__(self) -> None:
        decays, weights = self._decays, self._weights
        if not (np.all(weights > 0) and np.all((decays >= 0) & (decays < 1)) and np.sum(weights / (1 - decays)) <= 1):
            raise ValueError(
                f"decays {decays.tolist()} and weights {weights.tolist()} of buffers: decays must lie in [0, 1), "
                "weights be positive and Σ weight/(1 − decay) at most 1"
            )

    @property
    def _decays(self) -> Floats:
        return np.array(self.decays) / PRECISION

    @property
    def _weights(self) -> Floats:
        return np.array(self.weights) / PRECISION

    def measure(self, tick: int, secret: Integers, count: int | Integers) -> tuple[Integers, Integers]:
        """The count less the weighted buffers, rounded down, and the buffers with the count taken in.

        Raises:
            ValueError: the stream is longer than LONGEST.
        """
        if tick >= LONGEST:
            raise ValueError(f"tick {tick} is beyond the {LONGEST} ticks that buffers can run; open another stream")
        buffers = _join(secret) if tick else [0] * len(self.decays)
        weighted = sum(weight * buffer for weight, buffer in zip(self.weights, buffers, strict=True))
        # Beyond 64 bits: whole numbers of Python, of which there may be an array.
        now = GRID * (count if isinstance(count, int) else count.astype(object))
        exact = now - weighted // (PRECISION << FRACTION_BITS)
        return np.array([exact], dtype=np.int64), _split(
            [
                decay * buffer // PRECISION + (now << FRACTION_BITS)
                for decay, buffer in zip(self.decays, buffers, strict=True)
            ]
        )

    def estimate(self, tick: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """The measurement plus the weighted buffers of estimates, and these buffers with the estimate taken in."""
        buffers = public if tick else np.zeros((len(self.decays), *measured.shape[1:]))
        estimate = np.asarray(measured[0] / GRID + along_columns(self._weights, buffers))
        return estimate, (buffers.T * self._decays).T + estimate

    advance = measure_and_estimate
    measurements = measure_in_turn
    draws = one_draw_a_tick
    run_together = columns_together

    def memory(self, tick: int) -> int:
        """Two numbers a buffer."""
        return 2 * len(self.decays)

    def _decoder_filter(self) -> tuple[Floats, Floats]:
        """Numerator and denominator of B as polynomials in z."""
        numerator = product(self._decays)
        denominator = numerator.copy()
        for k, weight in enumerate(self._weights):
            denominator[1:] -= weight * product(np.delete(self._decays, k))
        return numerator, denominator

    def decode(self, noise: Floats) -> Floats:
        """B z by the recursive filter; shape of `noise`, (trials, T)."""
        return np.asarray(scipy.signal.lfilter(*self._decoder_filter(), noise, axis=1))

    def decoder_energy(self, horizon: int) -> Floats:
        """Σ_n B[t, n]², shape (horizon,)."""
        return np.cumsum(impulse_response(*self._decoder_filter(), horizon) ** 2)

    def subtracted(self, length: int) -> Floats:
        """p_1 … p_length, pₙ = Σ ω_k λ_kⁿ⁻¹; shape (length,)."""
        return np.asarray(self._weights @ self._decays[:, np.newaxis] ** np.arange(length))

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """The bound on the exact linear strategy plus what rounding can add at every tick."""
        ticks = protected.horizon or LONGEST
        if protected.runs == 1:
            # Without a horizon the weights are cut where what they still change is below the rounding of a float.
            settled = protected.hull + 64 + math.ceil(40 / -math.log(max(self._decays.max(), 0.5)))
            length = certificate.told_apart(protected, settled - protected.hull)
            linear = certificate.single_run(self.subtracted(length), protected)
        else:
            linear = _most_energy(self.decays, self.weights, protected) * certificate.ROUNDING_FACTOR
        rounding = (1 + 2.0**-FRACTION_BITS) * math.sqrt(ticks) / GRID
        return (math.sqrt(linear) + rounding) ** 2

    def touched(self, protected: ProtectedClass) -> int:
        """Rounding may differ at every tick."""
        return protected.horizon or LONGEST


def from_roots(decoder_decays: Floats, decays: Floats) -> BufferStrategy:
    """B⁻¹ = Π(1 − β_k z)/Π(1 − λ_k z) with β = `decoder_decays`, 1 > β_1 > λ_1 > β_2 > λ_2 …, quantised."""
    whole = [max(math.floor(weight * PRECISION), 1) for weight in buffer_weights(decoder_decays, decays)]
    return BufferStrategy(tuple(math.floor(decay * PRECISION) for decay in decays), tuple(whole))


def buffer_weights(zeros: Floats, poles: Floats) -> Floats:
    """ω in |1 − Π(1 − zero·z)/Π(1 − pole·z)| = Σ ω_k z/(1 − pole_k·z), for zeros and poles that alternate."""
    gaps = np.subtract.outer(poles, poles) + np.eye(len(poles))
    return np.asarray(np.abs(np.prod(np.subtract.outer(poles, zeros), axis=1) / np.prod(gaps, axis=1)))


@lru_cache(maxsize=64)
def _most_energy(decays: tuple[int, ...], weights: tuple[int, ...], protected: ProtectedClass) -> float:
    """An upper bound on ‖B⁻¹Δ‖² over the class, by dynamic programming backwards from the end of the hull.

    Every coordinate of the grid is a buffer times (1 − λ), which lies in [0, 1]. The value at a grid point is at least
    what can still come from it; between grid points the multilinear interpolation of a convex function is at least the
    function. Patterns start at the first tick, because a shift to the left only adds energy.
    """
    λ, ω = np.array(decays) / PRECISION, np.array(weights) / PRECISION
    runs = min(protected.runs, (protected.hull + 1) // 2)
    lasting = protected.open_ended and runs == protected.runs
    axes = [_axis(POINTS[len(λ)])] * len(λ)
    held = reduce(np.add.outer, [axis * weight / (1 - decay) for axis, weight, decay in zip(axes, ω, λ, strict=True)])
    absent, present = held**2, (1 - held) ** 2
    fade = [_interpolation(axis, decay * axis) for axis, decay in zip(axes, λ, strict=True)]
    feed = [_interpolation(axis, decay * axis + (1 - decay)) for axis, decay in zip(axes, λ, strict=True)]
    rest = _tail(axes, λ, ω, protected)
    # Indexed by how many runs may still begin.
    off = np.broadcast_to(rest, (runs + 1, *rest.shape)).copy()
    on = off.copy()
    for _ in range(protected.hull):
        fallen, risen = _moved(off, fade), _moved(on, feed)
        staying_on = present + risen
        on = np.maximum(staying_on, absent + fallen)
        if lasting:
            on[0] = staying_on[0]
        off = absent + fallen
        off[1:] = np.maximum(off[1:], staying_on[:-1])
    return float(off[(runs, *(0,) * len(λ))])


def _tail(axes: list[Floats], λ: Floats, ω: Floats, protected: ProtectedClass) -> Floats:
    """Energy after the hull, when nobody is present any more: a quadratic form in the buffers, on the grid."""
    ticks = math.inf if protected.horizon is None else protected.horizon - protected.hull
    sums = (1 - np.multiply.outer(λ, λ) ** ticks) / (1 - np.multiply.outer(λ, λ))
    form = sums * np.multiply.outer(ω / (1 - λ), ω / (1 - λ))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    return np.asarray(np.einsum("k...,l...,kl->...", grid, grid, form))


def _axis(points: int) -> Floats:
    """Grid points from 0 to 1, closer together near 0.

    The end is 1 although no pattern fills a buffer: a fed grid point then never leaves the grid. Cut off there, its
    value would fall below what can still come, and so would everything interpolated from it.
    """
    return np.linspace(0.0, 1.0, points) ** 1.5


def _interpolation(axis: Floats, at: Floats) -> tuple[Integers, Floats]:
    """For each of the points `at`: the grid point to its right, and how near it is."""
    at = np.minimum(at, axis[-1])  # A float may end up a last digit beyond 1.
    right = np.clip(np.searchsorted(axis, at, side="left"), 1, len(axis) - 1)
    return right, (at - axis[right - 1]) / (axis[right] - axis[right - 1])


def _moved(values: Floats, interpolations: list[tuple[Integers, Floats]]) -> Floats:
    """The values at the next content of the buffers, interpolated along every coordinate."""
    for position, (right, share) in enumerate(interpolations, start=1):
        lower, upper = values.take(right - 1, axis=position), values.take(right, axis=position)
        upper -= lower
        upper *= share.reshape(-1, *(1,) * (values.ndim - position - 1))
        upper += lower
        values = upper
    return values


def product(roots: Floats) -> Floats:
    """Π(1 − root·z), lowest power first."""
    return reduce(np.convolve, [np.array([1.0, -root]) for root in roots], np.ones(1))


def _join(limbs: Integers) -> list[Any]:
    high, low = np.split(limbs.astype(object), 2)
    return list(high * LIMB + low)


def _split(numbers: list[Any]) -> Integers:
    return np.array([number // LIMB for number in numbers] + [number % LIMB for number in numbers], dtype=np.int64)
