"""A histogram test that knows nothing of a mechanism but what it releases.

A few numbers are taken from every release: what happens at the first changed tick, over all of them, and clipped. Their
values are sorted into bins, and the first trials say for each bin how much likelier it is with the change. That table
is then a score like any other: its threshold is chosen on further trials and counted on the rest
(`dp.auditing.likelihood.judged`). Everything that chooses sees other trials than what counts, so that no correction for
many bins or many numbers is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.bounds import Alarms, best_threshold, count_alarms, epsilon_evidence
from dp.auditing.likelihood import (
    CHOOSING,
    CONFIDENCE,
    FLAG_LEVEL,
    WARY,
    Audit,
    Case,
    Drawn,
    Report,
    Sampler,
    drawn,
    in_chunks,
    judged,
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
) -> Audit:
    """What any two samplers prove of a claim.

    Args:
        unchanged: numbers of releases without the change, shape (trials, numbers); see `numbers_of`.
        changed: with it.
        trials: releases in all, half of them with the change; a fifth fills the bins.

    Raises:
        ValueError: there are fewer than 50 trials.
    """
    _validate(trials)
    samples = drawn(in_chunks(unchanged, 1), in_chunks(changed, 1), trials, generator, lambda done: None)
    return from_numbers(*samples, claim, mechanism=mechanism, confidence=CONFIDENCE, flag_level=FLAG_LEVEL)


def audit_case(
    case: Case,
    trials: int,
    generator: np.random.Generator,
    *,
    confidence: float = CONFIDENCE,
    flag_level: float = FLAG_LEVEL,
    workers: int = 1,
    report: Report = lambda done: None,
) -> list[Audit]:
    """The likelihood ratio, where there is one, and on releases the histogram test, both on the same trials.

    Args:
        trials: in all, half of them with the change.
        flag_level: of both together.
        workers: threads; the result does not depend on how many there are.

    Raises:
        ValueError: there are fewer than 20 trials, or 50 for a histogram.
    """
    score, released = case.score, case.seen != "measurements"
    if released:
        _validate(trials)

    def drawing(errors: Sampler) -> Drawn:
        def looked(number: int, source: np.random.Generator) -> Floats:
            seen = errors(number, source)
            scores = [] if score is None else [score(seen)[:, np.newaxis]]
            numbers = [numbers_of(seen, case.series)] if released else []
            return np.concatenate(scores + numbers, axis=1)

        return in_chunks(looked, case.width, workers)

    without, with_change = drawn(drawing(case.unchanged), drawing(case.changed), trials, generator, report)
    each = flag_level / ((score is not None) + released)
    audits = []
    if score is not None:
        ratio = judged(
            without[:, 0], with_change[:, 0], case.claim,
            mechanism=case.mechanism, seen=case.seen, claimed_mu=case.claimed_mu, worst=case.worst, flips=case.flips,
            confidence=confidence, flag_level=each,
        )  # fmt: skip
        audits.append(ratio)
        without, with_change = without[:, 1:], with_change[:, 1:]
    if released:
        numbers = from_numbers(
            without, with_change, case.claim, mechanism=case.mechanism, confidence=confidence, flag_level=each
        )
        audits.append(numbers)
    return audits


def from_numbers(
    without: Floats, with_change: Floats, claim: Guarantee, *, mechanism: str, confidence: float, flag_level: float
) -> Audit:
    """The histogram test on numbers of independent releases, shape (trials / 2, numbers)."""
    first = int(CHOOSING * len(without))
    table = learnt(without[:first], with_change[:first], claim.delta)
    audit = judged(
        table.score(without[first:]), table.score(with_change[first:]), claim,
        mechanism=mechanism, seen="histogram", confidence=confidence, flag_level=flag_level,
    )  # fmt: skip
    return replace(audit, trials=2 * len(without))


def _validate(trials: int) -> None:
    if trials < 50:
        raise ValueError(f"trials is {trials}; at least 50 are needed")


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
