"""The optimal strategy matrix for classes of one run, dense: every tick has its own row.

minimise trace(Σ) over covariances with ΔᵀΣ⁻¹Δ ≤ 1 for every Δ of the class. Its dual is max over distributions π on the
class of (trace √K)², K = Σ_Δ π(Δ) ΔΔᵀ, reached by Σ ∝ √K; every π gives a lower bound on what any mechanism of the form
counts + Gaussian noise can do (docs/guarantees.md). π is improved by multiplying it with how far each Δ exceeds
the average. Published for classes of one flip by Denisov, McMahan, Rush, Smith, Thakurta, "Improved differential
privacy for SGD via optimal private linear operators on adaptive streams", 2022.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dp.arrays import Floats, Integers
from dp.mechanisms.certificate import ROUNDING_FACTOR
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

LONGEST = 512
"""Ticks up to which a dense matrix is worth its memory and the seconds that it takes."""

ROUNDS = 120
STEP = 1.7
"""Power of the multiplicative update; 1 is safe, and a third as fast."""

CLOSE_ENOUGH = 2e-6

LARGEST_ROW = 7 * GRID
"""Times MOST_USERS this leaves an eighth of 64 bits for the noise."""


@dataclass(frozen=True, eq=False, repr=False)
class DenseStrategy:
    """A lower triangular B⁻¹ in grid units, shape (T, T), with a positive diagonal."""

    matrix: Integers

    def __post_init__(self) -> None:
        largest = int(np.abs(self.matrix).sum(axis=1).max())
        if largest > LARGEST_ROW:
            raise ValueError(
                f"a row of the dense strategy sums to {largest}; up to {LARGEST_ROW} is measured within 64 bits"
            )

    def __repr__(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.matrix).tobytes()).hexdigest()[:16]
        return f"DenseStrategy({len(self.matrix)} ticks, {digest})"

    def row(self, tick: int) -> StrategyRow:
        """Row `tick`, its diagonal leading.

        Raises:
            ValueError: the tick is beyond the matrix.
        """
        if tick >= len(self.matrix):
            raise ValueError(f"tick {tick} is beyond the horizon of {len(self.matrix)} ticks")
        return StrategyRow(-self.matrix[tick, :tick], int(self.matrix[tick, tick]))

    measure = measure_row
    estimate = estimate_row
    advance = measure_and_estimate
    measurements = measure_in_turn
    run_together = rows_together
    draws = one_draw_a_tick

    def memory(self, tick: int) -> int:
        """All ticks so far."""
        return tick + 1

    @cached_property
    def _decoder(self) -> Floats:
        ticks = len(self.matrix)
        return np.asarray(
            scipy.linalg.solve_triangular(self.matrix / GRID, np.eye(ticks), lower=True, check_finite=False)
        )

    def decode(self, noise: Floats) -> Floats:
        """B z as a matrix product; shape of `noise`, (trials, T)."""
        ticks = noise.shape[1]
        return noise @ self._decoder[:ticks, :ticks].T

    def decoder_energy(self, horizon: int) -> Floats:
        """Σ_n B[t, n]², shape (horizon,)."""
        return np.asarray((self._decoder**2).sum(axis=1)[:horizon])

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """The largest energy of all runs of the class, exactly.

        Raises:
            ValueError: the class has several runs, or another horizon.
        """
        if protected.runs != 1 or protected.horizon is None or protected.horizon > len(self.matrix):
            raise ValueError(
                f"a dense strategy of {len(self.matrix)} ticks serves classes of one run within its horizon; "
                f"this one has {protected.runs} runs and horizon {protected.horizon}"
            )
        ticks = protected.horizon
        encoder = self.matrix[:ticks, :ticks] / GRID
        return float(_run_energies(encoder.T @ encoder, *np.nonzero(_allowed(protected))).max()) * ROUNDING_FACTOR

    def touched(self, protected: ProtectedClass) -> int:
        """Every tick."""
        return len(self.matrix)


def strategy(protected: ProtectedClass) -> DenseStrategy:
    """The optimum for a class of one run with a horizon, quantised.

    Raises:
        ValueError: the class has several runs, or no horizon.
    """
    covariance, _ = optimal_covariance(protected)
    with one_thread():
        encoder = np.linalg.inv(np.linalg.cholesky(covariance))
    return DenseStrategy(np.rint(np.tril(encoder) / encoder[0, 0] * GRID).astype(np.int64))


@lru_cache(maxsize=8)
def optimal_covariance(
    protected: ProtectedClass, rounds: int = ROUNDS, *, mirrored: bool = False
) -> tuple[Floats, float]:
    """The optimal covariance, shape (T, T), and the lower bound on the mean of variance times μ².

    Fewer `rounds` leave the covariance further from the optimum; the bound holds after any number.

    Args:
        mirrored: keep π the same when time runs backwards, as the class then must be: half the time, other last
            digits.

    Raises:
        ValueError: the class has several runs, or no horizon.
    """
    if protected.runs != 1 or protected.horizon is None or (mirrored and protected.open_ended):
        raise ValueError(f"the dense optimum needs one run and a horizon; the class is {protected}")
    ticks = protected.horizon
    starts, ends = np.nonzero(_allowed(protected))
    places = starts * (ticks + 1) + ends
    # The run [start, end) backwards is [T − end, T − start).
    backwards = np.searchsorted(places, (ticks - ends) * (ticks + 1) + ticks - starts)
    share = np.zeros((ticks, ticks + 1))
    share[starts, ends] = chosen = np.full(len(starts), 1 / len(starts))
    best = 0.0
    roots, vectors = np.ones(ticks), np.eye(ticks)
    with one_thread():
        for _ in range(rounds):
            moment = _second_moment(share, protected.hull)
            roots, vectors = (mirrored_square_roots if mirrored else square_roots)(moment)
            total = float(roots.sum())
            best = max(best, total**2 / ticks)
            energies = _run_energies((vectors / roots) @ vectors.T, starts, ends)
            if energies.max() <= total * (1 + CLOSE_ENOUGH):
                break
            chosen *= (energies / total) ** STEP
            np.put(share, places, chosen)
            # Over the whole matrix: the last digits of a sum depend on where the zeros are.
            chosen /= share.sum()
            if mirrored:
                chosen = (chosen + chosen[backwards]) / 2
            np.put(share, places, chosen)
        return (vectors * roots) @ vectors.T, best


def one_thread() -> AbstractContextManager[object]:
    """Linear algebra in one thread: on matrices of this size several wait for each other longer than they work."""
    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def _allowed(protected: ProtectedClass) -> NDArray[np.bool_]:
    """Which runs [start, end) the class has, at [start, end]; shape (T, T + 1)."""
    ticks = protected.horizon or 0
    starts, ends = np.arange(ticks)[:, np.newaxis], np.arange(ticks + 1)
    allowed = (ends > starts) & (ends - starts <= protected.hull)
    return allowed & (ends == ticks) if protected.open_ended else allowed


def _second_moment(share: Floats, longest: int) -> Floats:
    """Σ share·ΔΔᵀ over runs [start, end): entry (i, j ≥ i) is the share of runs that start by i and end after j.

    Args:
        share: at [start, end], shape (T, T + 1).
        longest: ticks of the longest run, beyond which the matrix is 0.
    """
    ticks = len(share)
    moment = np.zeros((ticks, ticks))
    flat, started, covering = moment.reshape(-1), np.empty(0), np.empty(0)
    for lag in range(longest)[::-1]:
        # Of the runs that end just after i + lag, those that start by i; before, those that end a tick later.
        later, started = started, share.diagonal(lag + 1).copy()
        started[1:][: len(later)] += later
        longer, covering = covering, started.copy()
        covering[: len(longer)] += longer
        flat[lag : (ticks - lag) * ticks : ticks + 1] = covering
        flat[lag * ticks :: ticks + 1] = covering
    return moment


def _run_energies(form: Floats, starts: Integers, ends: Integers) -> Floats:
    """ΔᵀQΔ of the runs [start, end); shape of `starts`."""
    width = len(form) + 1
    sums = np.zeros((width, width))
    form.cumsum(axis=0, out=sums[1:, 1:]).cumsum(axis=1, out=sums[1:, 1:])
    diagonal = sums.diagonal()
    return diagonal[ends] + diagonal[starts] - sums.take(starts * width + ends) - sums.take(ends * width + starts)


def square_roots(matrix: Floats) -> tuple[Floats, Floats]:
    """Square roots of the eigenvalues, kept away from 0, and the eigenvectors."""
    # SciPy's `eigh` gives the same bits and holds the interpreter's lock meanwhile.
    values, vectors = np.linalg.eigh(matrix)
    return np.sqrt(np.maximum(values, 1e-14 * values[-1])), vectors


def mirrored_square_roots(matrix: Floats) -> tuple[Floats, Floats]:
    """`square_roots` of a matrix that is the same from behind: those of two halves, which take a quarter of the time.

    Its eigenvectors are the same from behind or change their sign.
    """
    half, odd = divmod(len(matrix), 2)
    near, far = matrix[:half, :half], matrix[:half, : half + odd - 1 : -1]
    even = np.empty((half + odd, half + odd))
    even[:half, :half] = near + far
    if odd:
        even[half, half] = matrix[half, half]
        even[:half, half] = even[half, :half] = math.sqrt(2) * matrix[:half, half]
    even_roots, even_vectors = square_roots(even)
    odd_roots, odd_vectors = square_roots(near - far)
    vectors = np.zeros_like(matrix)
    vectors[:half, : half + odd] = even_vectors[:half] / math.sqrt(2)
    vectors[:half, half + odd :] = odd_vectors / math.sqrt(2)
    vectors[half : half + odd, : half + odd] = even_vectors[half:]
    vectors[half + odd :, : half + odd] = vectors[:half, : half + odd][::-1]
    vectors[half + odd :, half + odd :] = -vectors[:half, half + odd :][::-1]
    return np.concatenate([even_roots, odd_roots]), vectors
