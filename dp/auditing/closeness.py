"""Whether two samples come from laws that are close, or that keep an (ε, δ) claim, with the error of each verdict.

Samples are sorted into cells. The ℓ₂ distance of two laws over the same cells is estimated without bias from how often
draws fall into the same cell (Chan, Diakonikolas, Valiant and Valiant, "Optimal algorithms for testing closeness of
discrete distributions", SODA 2014), and the divergence of an (ε, δ) claim from the excess of one sample's cells over
e^ε times the other's. A verdict is right with a stated probability whatever the laws are, unless their distance lies
in a stated gap; a majority of votes makes the error as small as one likes (docs/guarantees.md, section 17.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from dp.accounting.composition import Guarantee
from dp.arrays import Floats, Integers

THRESHOLD = 0.75
"""Share of the tolerance: half way between the distances that must be accepted and those that must be rejected."""


@dataclass(frozen=True)
class Frequencies:
    """How the draws of one distribution fall into cells.

    Attributes:
        shares: of each cell, shape (cells,); they sum to 1.
        size: independent draws; ∞ where the shares are the distribution itself.
    """

    shares: Floats
    size: float

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"size is {self.size}; at least 2 draws are needed")
        if abs(self.shares.sum() - 1) > 1e-9:
            raise ValueError(f"shares sum to {self.shares.sum()}; they must sum to 1")


class Closeness(NamedTuple):
    """What is known of the distance of two distributions.

    Attributes:
        squared: ‖p − q‖₂², without bias; below 0 by chance where the laws are alike.
        standard_error: a bound on its standard deviation, taken at the samples' shares in place of the laws'.
    """

    squared: float
    standard_error: float


class Ballot(NamedTuple):
    """Verdicts on the same question.

    Attributes:
        against: how many reject.
        votes: how many there are.
    """

    against: int
    votes: int

    @property
    def accepted(self) -> bool:
        """Whether most do not reject."""
        return 2 * self.against < self.votes


def discretise(samples: NDArray[Any], granularity: float, reach: int) -> Integers:
    """The nearest multiple of the granularity: cells 0 to 2·reach, of the shape of the samples.

    Cell `reach` lies around 0. What lies beyond the first or last cell belongs to it, so that there are finitely many.

    Raises:
        ValueError: granularity is not positive, or reach is negative.
    """
    if not granularity > 0 or reach < 0:
        raise ValueError(f"granularity is {granularity} and reach {reach}; above 0, and at least 0, are needed")
    nearest = np.floor(np.asarray(samples) / granularity + 0.5)
    return np.clip(nearest, -reach, reach).astype(np.int64) + reach


def frequencies(cells: Integers, number: int) -> Frequencies:
    """Frequencies of drawn cells, each from 0 to `number` − 1.

    Raises:
        ValueError: a cell is out of range, or there are fewer than 2.
    """
    counts = np.bincount(cells.ravel(), minlength=number)
    if len(counts) > number:
        raise ValueError(f"cell {len(counts) - 1} was drawn; there are {number}, counted from 0")
    return Frequencies(counts / max(cells.size, 1), cells.size)


def exact_frequencies(shares: Floats) -> Frequencies:
    """A known distribution, which is compared like an infinite sample."""
    return Frequencies(shares, math.inf)


def closeness(first: Frequencies, second: Frequencies) -> Closeness:
    """The squared ℓ₂ distance of the laws that two independent samples come from.

    With counts X of n draws and Y of m draws the estimate is Σ X(X−1)/n(n−1) + Σ Y(Y−1)/m(m−1) − 2 Σ XY/nm. It is right
    on average for every n and m; numbers of draws need not be random (Poisson) nor equal.
    """
    p, q = first.shares, second.shares
    difference = p - q
    squared = difference @ difference - _bias(first) - _bias(second)
    linear = 4 * float((p / first.size + q / second.size) @ difference**2)
    pairs = sum(2 * (one.shares @ one.shares) / (one.size * (one.size - 1)) for one in (first, second))
    across = 4 * float(p @ q) / (first.size * second.size)
    return Closeness(float(squared), math.sqrt(linear + float(pairs) + across))


def _bias(sample: Frequencies) -> float:
    """How far the square of the sample's own shares lies, on average, above that of its law."""
    return float(1 - sample.shares @ sample.shares) / (sample.size - 1)


def are_close(first: Frequencies, second: Frequencies, tolerance: float) -> bool:
    """Whether two laws are close: says so up to a distance of tolerance/2, denies it from `tolerance` on.

    Between the two it may say either. `resolution` tells with which error.
    """
    return closeness(first, second).squared <= (THRESHOLD * tolerance) ** 2


def resolution(error: float, first_size: float, second_size: float) -> float:
    """The smallest tolerance at which `are_close` errs with probability ≤ `error`, whatever the distributions are.

    By McDiarmid's inequality for ‖p̂ − q̂‖₂, which one draw of n moves by at most √2/n; it needs some 90 draws over the
    tolerance squared for an error of 0.006.

    Args:
        first_size: independent draws of one law.
        second_size: of the other; ∞ if that is known.

    Raises:
        ValueError: the error is not between 0 and 1, or there are fewer than 2 draws.
    """
    _validate(error, first_size, second_size)
    noise = 1 / first_size + 1 / second_size
    # Of the estimate's correction, which is largest where all draws lie in cells of their own.
    corrected = 1 / (first_size - 1) + 1 / (second_size - 1)
    reach = math.sqrt(noise * math.log(1 / error))
    # THRESHOLD·t − √(t²/4 + noise) = reach, and t − √(THRESHOLD²·t² + corrected) = reach.
    accepting = _larger_root(THRESHOLD**2 - 0.25, -2 * THRESHOLD * reach, reach**2 - noise)
    rejecting = _larger_root(1 - THRESHOLD**2, -2 * reach, reach**2 - corrected)
    return max(accepting, rejecting)


def approximate_dp(unchanged: Frequencies, changed: Frequencies, claim: Guarantee, tolerance: float) -> bool:
    """Whether two samples look (ε, δ)-private: says so where their laws are, denies it from δ + `tolerance` on.

    That is, where the laws keep (ε, δ′) for no δ′ below δ + tolerance. Between the two it may say either;
    `dp_resolution` tells with which error. Cells are post-processing: what is claimed of the draws holds of them.
    """
    return max(_excess(unchanged, changed, claim), _excess(changed, unchanged, claim)) <= claim.delta + tolerance / 2


def _excess(first: Frequencies, second: Frequencies, claim: Guarantee) -> float:
    return float(np.maximum(first.shares - math.exp(claim.epsilon) * second.shares, 0).sum())


def dp_resolution(error: float, cells: int, epsilon: float, unchanged_size: float, changed_size: float) -> float:
    """The smallest tolerance at which `approximate_dp` is wrong with a probability of at most `error`.

    By McDiarmid's inequality for the sum of all excesses, which a draw of n moves by at most 1/n, or e^ε/n; on average
    it lies above the divergence of the laws by at most half the standard deviations of all cells' differences.

    Args:
        cells: of the samples.

    Raises:
        ValueError: the error is not between 0 and 1, or there are fewer than 2 draws.
    """
    _validate(error, unchanged_size, changed_size)
    weight = math.exp(2 * epsilon)
    noise = max(1 / unchanged_size + weight / changed_size, weight / unchanged_size + 1 / changed_size)
    # Two divergences, each of which may exceed the claim by chance.
    return 2 * math.sqrt(noise * math.log(2 / error) / 2) + math.sqrt(cells * noise)


def majority(verdicts: Iterable[bool]) -> Ballot:
    """Count independent verdicts on the same question; an odd number of them leaves no tie."""
    accepting = list(verdicts)
    return Ballot(len(accepting) - sum(accepting), len(accepting))


def majority_error(error: float, votes: int) -> float:
    """How likely more than half of `votes` independent verdicts are wrong, each with a probability of at most `error`.

    Raises:
        ValueError: votes is even, or not positive.
    """
    if votes < 1 or votes % 2 == 0:
        raise ValueError(f"votes is {votes}; an odd number is needed, for instance 5")
    return float(bdtrc(votes // 2, votes, error))


def _validate(error: float, *sizes: float) -> None:
    if not 0 < error < 1:
        raise ValueError(f"error is {error}; it must lie between 0 and 1, for instance 0.01")
    if min(sizes) < 2:
        raise ValueError(f"{min(sizes)} draws were made; at least 2 are needed")


def _larger_root(a: float, b: float, c: float) -> float:
    return (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)
