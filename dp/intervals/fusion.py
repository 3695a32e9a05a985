"""One series measured several times: the best linear estimate at every tick from all that was published until then.

The series is unknown, so only the differences between its measurements tell anything of their errors. Whitened one tick
after the other by a Cholesky factor, they are innovations; the error of the first measurement, regressed on those that
have come by a tick, is what that measurement is corrected by. One factorisation so gives the weights of all ticks. What
is published is never revised: this is a filter. Proofs: docs/guarantees.md, "numbers that agree".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from dp.arrays import Floats
from dp.intervals.error_covariance import BLOCK, ErrorCovariance


@dataclass(frozen=True, eq=False)
class FilterRows:
    """Weights of consecutive ticks.

    Attributes:
        start: the earliest tick that they look back to.
        first: the tick of the first row.
        weights: of the differences of the other series from the first, shape (series − 1, rows, ticks since `start`).
    """

    start: int
    first: int
    weights: Floats

    @property
    def stop(self) -> int:
        """The tick after the last row."""
        return self.first + int(self.weights.shape[1])

    @property
    def of_all(self) -> Floats:
        """Weights of the series themselves, shape (series, rows, ticks since `start`)."""
        own = np.eye(self.weights.shape[1], self.weights.shape[2], self.first - self.start) - self.weights.sum(axis=0)
        return np.concatenate([own[np.newaxis], self.weights])


@dataclass(frozen=True, eq=False)
class Fusion:
    """How several measurements of one series become one, and how well.

    Attributes:
        rows: the weights, tick after tick; none where there is one measurement.
        variances: of the estimate, shape (T,), in squared users.
        change_variances: of the estimate less the one of the tick before, shape (T,); the first stands for itself.
    """

    rows: tuple[FilterRows, ...]
    variances: Floats
    change_variances: Floats

    def estimates(self, measured: Floats) -> Floats:
        """The best linear estimates; later ticks never change earlier ones.

        Args:
            measured: the measurements in the order of their covariances, shape (series, …, ticks), for the first ticks.

        Returns:
            shape (…, ticks).
        """
        found: Floats = measured[0].copy()
        differences = measured[1:] - measured[0]
        for block in self.rows:
            for tick in range(block.first, min(block.stop, found.shape[-1])):
                past = slice(block.start, tick + 1)
                for weights, difference in zip(block.weights, differences, strict=True):
                    row = weights[tick - block.first, : tick + 1 - block.start]
                    found[..., tick] += difference[..., past] @ row
        return found


def fuse(covariances: Sequence[ErrorCovariance]) -> Fusion:
    """The fusion of measurements of one unknown series whose errors are independent of each other's.

    Exact for up to 2·BLOCK ticks. In a longer series a tick looks back at least BLOCK ticks, and the variances are
    those of that estimate.

    Args:
        covariances: of each measurement's errors, one or more, for the same ticks.

    Raises:
        ValueError: there is none, or their numbers of ticks differ.
    """
    ticks = {covariance.ticks for covariance in covariances}
    if len(ticks) != 1:
        raise ValueError(f"covariances are for {sorted(ticks) or 'no'} ticks; measurements of one series have the same")
    rows = _rows(covariances, ticks.pop()) if len(covariances) > 1 else ()
    variances, neighbours = _moments(covariances, rows)
    before = np.concatenate([[0.0], variances[:-1]])
    return Fusion(rows, variances, variances + before - 2 * neighbours)


def _rows(covariances: Sequence[ErrorCovariance], ticks: int) -> tuple[FilterRows, ...]:
    rows = []
    for start in range(0, max(ticks - BLOCK, 1), BLOCK):
        stop = min(start + 2 * BLOCK, ticks)
        first = start + BLOCK if start else 0
        weights = _weights([covariance.block(start, stop) for covariance in covariances])
        rows.append(FilterRows(start, first, weights[:, first - start :]))
    return tuple(rows)


def _weights(covariances: Sequence[Floats]) -> Floats:
    """Weights of the differences from the first series, shape (series − 1, ticks, ticks), lower triangular each."""
    first, *others = covariances
    number, ticks = len(others), len(first)
    # Differences tick after tick, and within a tick series after series.
    joint = np.kron(first, np.ones((number, number)))
    for place, covariance in enumerate(others):
        joint[place::number, place::number] += covariance
    lower = np.linalg.cholesky(joint)
    on_innovations = scipy.linalg.solve_triangular(lower, np.repeat(first, number, axis=0), lower=True).T
    come = np.arange(ticks * number) // number <= np.arange(ticks)[:, np.newaxis]
    weights = scipy.linalg.solve_triangular(lower, np.where(come, on_innovations, 0.0).T, lower=True, trans="T")
    return np.ascontiguousarray(weights.T.reshape(ticks, ticks, number).transpose(2, 0, 1))


def _moments(covariances: Sequence[ErrorCovariance], rows: Sequence[FilterRows]) -> tuple[Floats, Floats]:
    """Variances of the estimates, and their covariances with those of the tick before (0 at the first); (T,) each."""
    ticks = covariances[0].ticks
    if not rows:
        lagged = covariances[0].lagged
        return lagged[0].copy(), np.concatenate([[0.0], lagged[1, : ticks - 1] if ticks > 1 else []])
    variances, neighbours = np.zeros(ticks), np.zeros(ticks)
    last: tuple[int, Floats] | None = None
    for block in rows:
        every = block.of_all
        for place, (weights, covariance) in enumerate(zip(every, covariances, strict=True)):
            reached = weights @ covariance.block(block.start, block.stop)
            variances[block.first : block.stop] += np.sum(reached * weights, axis=1)
            neighbours[block.first + 1 : block.stop] += np.sum(reached[1:] * weights[:-1], axis=1)
            if last is not None:
                began, before = last
                joint = covariance.block(began, block.first + 1)[block.start - began :, :-1]
                neighbours[block.first] += weights[0, : block.first + 1 - block.start] @ joint @ before[place]
        last = block.start, every[:, -1]
    return variances, neighbours
