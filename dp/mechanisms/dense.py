"""The optimal strategy matrix for classes of one run, dense: every tick has its own row.

minimise trace(Σ) over covariances with ΔᵀΣ⁻¹Δ ≤ 1 for every Δ of the class. Its dual is max over distributions π on the
class of (trace √K)², K = Σ_Δ π(Δ) ΔΔᵀ, reached by Σ ∝ √K; every π gives a lower bound on what any mechanism of the form
counts + Gaussian noise can do (docs/guarantees.md). Published for classes of one flip by Denisov, McMahan, Rush, Smith,
Thakurta, "Improved differential privacy for SGD via optimal private linear operators on adaptive streams", 2022.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from dp.arrays import Floats, Integers
from dp.mechanisms.certificate import ROUNDING_FACTOR
from dp.mechanisms.dense_optimum import optimal_covariance
from dp.mechanisms.linear import (
    StrategyRow,
    estimate_row,
    measure_and_estimate,
    measure_in_turn,
    measure_row,
    one_draw_a_tick,
)
from dp.mechanisms.matrix_roots import one_thread
from dp.mechanisms.one_run import allowed_runs, run_energies
from dp.mechanisms.protocol import GRID
from dp.mechanisms.together import rows_together
from dp.units import ProtectedClass

LONGEST = 1024
"""Ticks up to which a dense matrix is worth its memory and the seconds that it takes."""

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
        return float(run_energies(encoder.T @ encoder, *np.nonzero(allowed_runs(protected))).max()) * ROUNDING_FACTOR

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
