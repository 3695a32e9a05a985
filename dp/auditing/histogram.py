"""A histogram test that knows nothing of a mechanism but what it releases.

A few features are taken from every release: what happens at the first changed tick, over all of them, and clipped.
Their values are sorted into bins, and the first trials say for each bin how much likelier it is with the change. That
table is then a score like any other: its threshold is chosen on further trials and counted on the rest
(`dp.auditing.verdict`). Everything that chooses sees other trials than what counts, so that no correction for many bins
or many features is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from dp.arrays import Floats, Integers
from dp.auditing.bounds import THRESHOLD_CONFIDENCE, best_thresholds, epsilon_evidence

BINS = 32
"""Bins of a feature."""

MIN_TAIL_RELEASES = 20
"""Releases, about, that the outermost bins hold: fewer say nothing of a ratio."""


@dataclass(frozen=True)
class Histogram:
    """A score read from a table.

    Attributes:
        feature: which of the features of a release is looked at.
        edges: of the bins, ascending; the first and the last bin have no end.
        scores: of each bin, one more than there are edges.
    """

    feature: int
    edges: Floats
    scores: Floats

    def score(self, features: Floats) -> Floats:
        """The bin's score for each row of shape (trials, features)."""
        return np.asarray(self.scores[np.searchsorted(self.edges, features[:, self.feature], side="right")])


def learn_histogram(unchanged: Floats, changed: Floats, delta: float) -> Histogram:
    """The table of the feature that tells most; arrays have the shape (trials, features)."""

    evidence = partial(epsilon_evidence, delta=delta)

    def value(table: Histogram) -> float:
        scores = table.score(unchanged), table.score(changed)
        return best_thresholds(*scores, [evidence], THRESHOLD_CONFIDENCE)[0].evidence

    return max((_table(unchanged, changed, feature) for feature in range(unchanged.shape[1])), key=value)


def release_features(errors: Floats, series: Integers) -> Floats:
    """Features of releases in which a known change may be seen, whatever the mechanism is.

    Args:
        errors: releases less the known counts without the change, shape (trials, T).
        series: Δ, shape (T,).

    Returns:
        Shape (trials, 4): at the first changed tick; there less the tick before; the mean over all changed ticks; and
        the mean over them of |e| − |e − 1|, in which large errors count no more than a user.
    """
    present = np.flatnonzero(series)
    first = int(present[0])
    changed = errors[:, present]
    before = errors[:, first - 1] if first else 0.0
    clipped = (np.abs(changed) - np.abs(changed - 1)).mean(axis=1)
    # Atoms at the ends of a range must not be split by the float error of a mean.
    return np.stack([changed[:, 0], changed[:, 0] - before, changed.mean(axis=1), np.round(clipped, 9)], axis=1)


def _table(unchanged: Floats, changed: Floats, feature: int) -> Histogram:
    pooled = np.concatenate([unchanged[:, feature], changed[:, feature]])
    # Narrow in both tails, where a few releases in thousands may tell much.
    tail = max(len(pooled) / MIN_TAIL_RELEASES, 2.0)
    levels = 1 / (1 + np.exp(np.linspace(-1, 1, BINS - 1) * np.log(tail)))
    edges = np.unique(np.quantile(pooled, levels, method="inverted_cdf"))

    def frequencies(sample: Floats) -> Floats:
        bins = np.searchsorted(edges, sample[:, feature], side="right")
        return np.asarray(np.bincount(bins, minlength=len(edges) + 1) + 0.5)

    return Histogram(feature, edges, np.log(frequencies(changed) / frequencies(unchanged)))
