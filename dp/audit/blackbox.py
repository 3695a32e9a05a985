"""A histogram test that knows nothing of a mechanism but what it releases.

A few numbers are taken from every release: what happens at the first changed tick, over all of them, and clipped. Their
values are sorted into bins, and the first trials say for each bin how much likelier it is with the change. That table
is then a score like any other: its threshold is chosen on further trials and counted on the rest
(`dp.audit.likelihood.compare`). Everything that chooses sees other trials than what counts, so that no correction for
many bins or many numbers is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dp.accounting.composition import Guarantee
from dp.audit.bounds import Alarms, best_threshold, count_alarms, epsilon_evidence
from dp.audit.likelihood import (
    CHOOSING,
    CONFIDENCE,
    FLAG_LEVEL,
    FLOATS_AT_ONCE,
    WARY,
    Audit,
    Report,
    Sampler,
    compare,
    in_chunks,
)
from dp.mechanisms.protocol import Floats, Integers

BINS = 32
"""Bins of a number."""

FEWEST = 20
"""Releases, about, that the outermost bins hold: fewer say nothing of a ratio."""


@dataclass(frozen=True)
class Histogram:
    """A score read from a table.

    Attributes:
        number: which of the numbers of a release is looked at.
        edges: of the bins, ascending; the first and the last bin have no end.
        scores: of each bin, one more than there are edges.
    """

    number: int
    edges: Floats
    scores: Floats

    def score(self, numbers: Floats) -> Floats:
        """The bin's score for each row of shape (trials, numbers)."""
        return np.asarray(self.scores[np.searchsorted(self.edges, numbers[:, self.number], side="right")])


def black_box(
    unchanged: Sampler,
    changed: Sampler,
    claim: Guarantee,
    trials: int,
    generator: np.random.Generator,
    *,
    mechanism: str,
    width: int = 1,
    confidence: float = CONFIDENCE,
    flag_level: float = FLAG_LEVEL,
    workers: int = 1,
    report: Report = lambda done: None,
) -> Audit:
    """What any two samplers prove of a claim.

    Args:
        unchanged: numbers of releases without the change, shape (trials, numbers); see `numbers_of`.
        changed: with it.
        trials: releases in all, half of them with the change; a fifth fills the bins.
        width: floats that one trial takes while it is made.
        workers: threads that may call the samplers at once; the result does not depend on how many there are.

    Raises:
        ValueError: there are fewer than 50 trials.
    """
    if trials < 50:
        raise ValueError(f"trials is {trials}; at least 50 are needed")
    first = int(CHOOSING * trials / 2)
    table = learnt(
        _gathered(unchanged, first, width, generator), _gathered(changed, first, width, generator), claim.delta
    )

    def scores_of(sampler: Sampler) -> Callable[[int, np.random.Generator, Report], Floats]:
        return in_chunks(lambda number, source: table.score(sampler(number, source)), width, workers)

    return compare(
        scores_of(unchanged),
        scores_of(changed),
        claim,
        trials - 2 * first,
        generator,
        mechanism=mechanism,
        seen="histogram",
        confidence=confidence,
        flag_level=flag_level,
        report=report,
    )


def learnt(unchanged: Floats, changed: Floats, delta: float) -> Histogram:
    """The table of the number that tells most; arrays have the shape (trials, numbers)."""

    def bound(alarms: Alarms) -> Floats:
        return epsilon_evidence(alarms, delta, WARY)

    def value(table: Histogram) -> float:
        without, with_change = table.score(unchanged), table.score(changed)
        return float(bound(count_alarms(without, with_change, best_threshold(without, with_change, bound))))

    return max((_table(unchanged, changed, number) for number in range(unchanged.shape[1])), key=value)


def numbers_of(errors: Floats, series: Integers) -> Floats:
    """Numbers of releases in which a known change may be seen, whatever the mechanism is.

    Args:
        errors: releases less the known counts without the change, shape (trials, T).
        series: Δ, shape (T,).

    Returns:
        Shape (trials, 4): at the first changed tick; there less the tick before; the mean over all changed ticks; and
        the mean over them of |e| − |e − 1|, in which large errors count no more than a user.
    """
    present = np.flatnonzero(series)
    first = int(present[0])
    seen = errors[:, present]
    before = errors[:, first - 1] if first else 0.0
    clipped = (np.abs(seen) - np.abs(seen - 1)).mean(axis=1)
    # Atoms at the ends of a range must not be split by the float error of a mean.
    return np.stack([seen[:, 0], seen[:, 0] - before, seen.mean(axis=1), np.round(clipped, 9)], axis=1)


def _gathered(sampler: Sampler, trials: int, width: int, generator: np.random.Generator) -> Floats:
    """So many trials, drawn some at a time."""
    rows = max(FLOATS_AT_ONCE // width, 1)
    return np.concatenate([sampler(min(rows, trials - start), generator) for start in range(0, trials, rows)])


def _table(unchanged: Floats, changed: Floats, number: int) -> Histogram:
    pooled = np.concatenate([unchanged[:, number], changed[:, number]])
    # Narrow in both tails, where a few releases in thousands may tell much.
    tail = max(len(pooled) / FEWEST, 2.0)
    levels = 1 / (1 + np.exp(np.linspace(-1, 1, BINS - 1) * np.log(tail)))
    edges = np.unique(np.quantile(pooled, levels, method="inverted_cdf"))

    def filled(sample: Floats) -> Floats:
        inside = np.searchsorted(edges, sample[:, number], side="right")
        return np.asarray(np.bincount(inside, minlength=len(edges) + 1) + 0.5)

    return Histogram(number, edges, np.log(filled(changed) / filled(unchanged)))
