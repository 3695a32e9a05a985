"""Classes of one run [start, end), as the dual of the dense optimum sees them.

A distribution π on the runs gives K = Σ π(Δ) ΔΔᵀ, the lower bound trace √K, and the energies ΔᵀK^(−1/2)Δ that say
which runs deserve a larger share (docs/guarantees.md, section 2.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from dp.arrays import Floats, Integers
from dp.mechanisms.matrix_roots import mirrored_square_roots
from dp.units import ProtectedClass


class DualValue(NamedTuple):
    """What a distribution on the runs proves, and how far each run exceeds it.

    Attributes:
        total: trace √K.
        energies: ΔᵀK^(−1/2)Δ of each run, shape (runs,); none exceeds `total` at the optimum.
    """

    total: float
    energies: Floats


class SingleRuns(Protocol):
    """The runs of a class, in an order of its own."""

    @property
    def ticks(self) -> int:
        """T."""

    def __len__(self) -> int:
        """How many runs there are."""

    def value(self, shares: Floats) -> DualValue:
        """Of positive shares with sum 1, shape (runs,)."""

    def covariance(self, shares: Floats) -> Floats:
        """√K, shape (T, T)."""

    def coarser(self) -> SingleRuns:
        """The class at half the ticks, rounded up."""

    def from_coarser(self, values: Floats) -> Floats:
        """Values of the runs of `coarser()`, interpolated at these; shape (runs,)."""


@dataclass(frozen=True)
class LastingRuns:
    """The runs that last to the end, by their start: K[i, j] is the share of those that start by min(i, j).

    With L the matrix of all running sums and D that of the shares, K = L D Lᵀ and √(D^½ Lᵀ L D^½) has the energies
    times the shares on its diagonal. The inverse of D^½ Lᵀ L D^½ is tridiagonal.
    """

    ticks: int

    def __len__(self) -> int:
        return self.ticks

    def value(self, shares: Floats) -> DualValue:
        """See `SingleRuns`."""
        roots, vectors = self._roots(shares)
        return DualValue(float(roots.sum()), vectors**2 @ roots / shares)

    def covariance(self, shares: Floats) -> Floats:
        """See `SingleRuns`."""
        roots, vectors = self._roots(shares)
        left = np.cumsum(np.sqrt(shares)[:, np.newaxis] * vectors, axis=0)
        return np.asarray((left / roots) @ left.T)

    def coarser(self) -> LastingRuns:
        """See `SingleRuns`."""
        return LastingRuns(-(-self.ticks // 2))

    def from_coarser(self, values: Floats) -> Floats:
        """See `SingleRuns`."""
        return np.interp(np.linspace(0, len(values) - 1, self.ticks), np.arange(len(values)), values)

    def _roots(self, shares: Floats) -> tuple[Floats, Floats]:
        """Square roots of the eigenvalues of D^½ Lᵀ L D^½, and its eigenvectors."""
        if self.ticks == 1:
            return np.sqrt(shares), np.ones((1, 1))
        diagonal = np.full(self.ticks, 2.0)
        diagonal[0] = 1.0
        beside = -1 / np.sqrt(shares[1:] * shares[:-1])
        values, vectors = scipy.linalg.eigh_tridiagonal(
            diagonal / shares, beside, lapack_driver="stemr", check_finite=False
        )
        return 1 / np.sqrt(values), np.asarray(vectors, dtype=np.float64)


@dataclass(frozen=True)
class BoundedRuns:
    """All runs of at most `longest` ticks. A run and the same run backwards count the same."""

    ticks: int
    longest: int

    def __len__(self) -> int:
        return len(self._bounds[0])

    def value(self, shares: Floats) -> DualValue:
        """See `SingleRuns`."""
        roots, vectors = self._roots(shares)
        return DualValue(float(roots.sum()), run_energies((vectors / roots) @ vectors.T, *self._bounds))

    def covariance(self, shares: Floats) -> Floats:
        """See `SingleRuns`."""
        roots, vectors = self._roots(shares)
        return np.asarray((vectors * roots) @ vectors.T)

    def coarser(self) -> BoundedRuns:
        """See `SingleRuns`."""
        return BoundedRuns(-(-self.ticks // 2), -(-self.longest // 2))

    def from_coarser(self, values: Floats) -> Floats:
        """See `SingleRuns`; between neighbouring lengths, and at each between the first place and the last."""
        coarse = self.coarser()
        starts, ends = coarse._bounds
        table = np.zeros((coarse.ticks, coarse.longest + 1))
        table[starts, ends - starts] = values
        starts, ends = self._bounds
        lengths, places = ends - starts, self.ticks - (ends - starts)
        at = np.divide(starts, places, out=np.zeros(len(starts)), where=places > 0)
        length = 1 + (lengths - 1) * ((coarse.longest - 1) / max(self.longest - 1, 1))
        shorter = np.floor(length).astype(np.int64)
        longer = np.minimum(shorter + 1, coarse.longest)
        below, above = (_along(table, at, whole) for whole in (shorter, longer))
        return np.asarray(below + (length - shorter) * (above - below))

    @cached_property
    def _bounds(self) -> tuple[Integers, Integers]:
        starts, ends = np.nonzero(allowed_runs(ProtectedClass(1, self.longest, self.ticks)))
        return starts, ends

    @cached_property
    def _backwards(self) -> Integers:
        """Where [T − end, T − start) stands, which is the run [start, end) backwards."""
        (starts, ends), width = self._bounds, self.ticks + 1
        return np.searchsorted(starts * width + ends, (self.ticks - ends) * width + self.ticks - starts)

    def _roots(self, shares: Floats) -> tuple[Floats, Floats]:
        table = np.zeros((self.ticks, self.ticks + 1))
        table[self._bounds] = (shares + shares[self._backwards]) / 2
        return mirrored_square_roots(second_moment(table, self.longest))


def runs_of(protected: ProtectedClass) -> SingleRuns:
    """The runs of a class.

    Raises:
        ValueError: the class has several runs, no horizon, or runs that must last to the end but may not start with it.
    """
    horizon, hull = protected.horizon, protected.hull
    if protected.runs != 1 or horizon is None or (protected.open_ended and hull < horizon):
        raise ValueError(f"the dense optimum needs one run and a horizon; the class is {protected}")
    return LastingRuns(horizon) if protected.open_ended else BoundedRuns(horizon, hull)


def allowed_runs(protected: ProtectedClass) -> NDArray[np.bool_]:
    """Which runs [start, end) the class has, at [start, end]; shape (T, T + 1)."""
    ticks = protected.horizon or 0
    starts, ends = np.arange(ticks)[:, np.newaxis], np.arange(ticks + 1)
    allowed = (ends > starts) & (ends - starts <= protected.hull)
    return allowed & (ends == ticks) if protected.open_ended else allowed


def second_moment(share: Floats, longest: int) -> Floats:
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


def run_energies(form: Floats, starts: Integers, ends: Integers) -> Floats:
    """ΔᵀQΔ of the runs [start, end); shape of `starts`."""
    width = len(form) + 1
    sums = np.zeros((width, width))
    form.cumsum(axis=0, out=sums[1:, 1:]).cumsum(axis=1, out=sums[1:, 1:])
    diagonal = sums.diagonal()
    return diagonal[ends] + diagonal[starts] - sums.take(starts * width + ends) - sums.take(ends * width + starts)


def _along(table: Floats, at: Floats, lengths: Integers) -> Floats:
    """Values of runs of these lengths, `at` being their place between the first (0) and the last (1).

    Args:
        table: values at [start, length].
    """
    last = len(table) - lengths
    start = at * last
    before = np.floor(start).astype(np.int64)
    value = table[before, lengths]
    return np.asarray(value + (start - before) * (table[np.minimum(before + 1, last), lengths] - value))
