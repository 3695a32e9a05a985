"""The attack on adaptive-flippancy: everybody else leads it through all of its levels, and one user flips at each.

Other users freeze in crowds, so that every level is left at a tick that the attacker knows. Until then the level's
linear mechanism, which starts afresh, sees the user flip as often as the bounds allow by then. Along that path the
releases are Gaussian, and the log likelihood ratio is the sum of those of the levels. What the tests between the levels
cost is not attacked: their answers are all but certain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.arrays import Floats, Integers
from dp.auditing.case import Case
from dp.auditing.histogram import release_features
from dp.auditing.likelihood import LikelihoodRatio, likelihood_ratio
from dp.auditing.sampling import ReleaseSampler, simulate_releases, subtract_known
from dp.mechanisms import GRID
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.mechanisms.sparse_vector import surely_beyond
from dp.units import ProtectedClass


@dataclass(frozen=True)
class LevelPath:
    """Counts that lead adaptive-flippancy through all of its levels, and the worst change along the way.

    Attributes:
        starts: the tick at which each level takes over, and the horizon.
        tests: for each level the worst pattern in its own ticks, and the statistic along it.
        counts: without the user, shape (horizon, 2·levels); see `AdaptiveFlippancy.trace`.
        changed: with the user.
        weights: of the releases' errors in the log likelihood ratio, up to an addend; shape (horizon,).
        mu: of the best test along the path.
    """

    starts: tuple[int, ...]
    tests: tuple[LikelihoodRatio, ...]
    counts: Integers
    changed: Integers
    weights: Floats
    mu: float

    @property
    def flips(self) -> tuple[int, ...]:
        """The ticks at which the user comes and goes."""
        steps = np.diff(self.presence(), prepend=0, append=0)
        return tuple(np.flatnonzero(steps).tolist())

    def presence(self) -> Integers:
        """When the user is present, shape (horizon,)."""
        return _presence(self.tests)


def worst_level_path(mechanism: AdaptiveFlippancy, others: int, generator: np.random.Generator) -> LevelPath:
    """A path through all levels, each with time in proportion to the fourth root of its bound, and its worst pattern.

    Args:
        others: users who are present at every tick.
        generator: of the starting points of the searches.

    Raises:
        ValueError: the horizon has fewer ticks than there are levels.
    """
    bounds, starts = mechanism.bounds, _starts(mechanism)
    tests = []
    for number, level in enumerate(mechanism.levels):
        ticks = starts[number + 1] - starts[number]
        # Bounds hold for the flips since the first tick, and the levels before have had theirs.
        runs = (bounds[number] - (bounds[number - 1] if number else 0)) // 2
        protected = ProtectedClass(min(runs, (ticks + 1) // 2), ticks, ticks)
        tests.append(likelihood_ratio(level, protected, ticks, generator, "releases"))
    scales = [GRID / level.noise.scale for level in mechanism.levels]
    weights = [test.weights * scale**2 for test, scale in zip(tests, scales, strict=True) if test.weights is not None]
    mu = math.sqrt(sum((test.norm * scale) ** 2 for test, scale in zip(tests, scales, strict=True)))
    counts = _others(mechanism, starts, others)
    changed = counts + _user(mechanism, _presence(tests))
    return LevelPath(starts, tuple(tests), counts, changed, np.concatenate(weights), mu)


def adaptive_flippancy_case(
    mechanism: AdaptiveFlippancy, claim: Guarantee, path: LevelPath, release_sampler: ReleaseSampler | None = None
) -> Case:
    """Adaptive-flippancy along a path through its levels.

    Args:
        release_sampler: what releases the counts of all levels, in place of a simulation.
    """
    levels = np.repeat(np.arange(len(path.tests)), np.diff(path.starts))
    known = path.counts[np.arange(mechanism.horizon), 2 * levels]
    errors = subtract_known(release_sampler or partial(simulate_releases, mechanism), known)
    claimed_mu = gaussian.mu_for(*claim)
    return Case(
        mechanism.name,
        "releases",
        claim,
        errors(path.counts),
        errors(path.changed),
        mechanism.horizon,
        score=lambda releases: np.asarray(releases @ path.weights),
        features=partial(release_features, series=path.presence()),
        claimed_mu=claimed_mu,
        worst=path.mu / claimed_mu,
        flips=path.flips,
    )


def _starts(mechanism: AdaptiveFlippancy) -> tuple[int, ...]:
    """The tick at which each level takes over, and the horizon."""
    levels = len(mechanism.bounds)
    if mechanism.horizon < levels:
        raise ValueError(f"the horizon has {mechanism.horizon} ticks; one for each of {levels} levels is needed")
    shares = np.cumsum(np.sqrt(np.sqrt(mechanism.bounds)))
    ends = np.maximum(np.rint(mechanism.horizon * shares / shares[-1]).astype(np.int64), np.arange(1, levels + 1))
    return (0, *ends.tolist())


def _presence(tests: Sequence[LikelihoodRatio]) -> Integers:
    return np.concatenate([test.series for test in tests])


def _others(mechanism: AdaptiveFlippancy, starts: tuple[int, ...], present: int) -> Integers:
    """Everybody else: always present, but for the crowd that freezes when a level is to be left.

    A user who is frozen at a level is frozen at the levels below. No log need have these counts: what is promised holds
    for all in which the number of frozen users never falls.
    """
    counts = np.zeros((mechanism.horizon, 2 * len(mechanism.bounds)), dtype=np.int64)
    counts[:, ::2] = present
    for level, threshold in enumerate(mechanism.thresholds):
        crowd = surely_beyond(threshold, mechanism.noise, mechanism.grid)
        frozen = counts[starts[level + 1] :, 1 : 2 * level + 2 : 2]
        np.maximum(frozen, crowd, out=frozen)
    return counts


def _user(mechanism: AdaptiveFlippancy, presence: Integers) -> Integers:
    """What one user adds: present until frozen at a level, and frozen from the flip beyond its bound on."""
    flips = np.abs(np.diff(presence, prepend=0)).cumsum()
    frozen = flips[:, np.newaxis] > np.array(mechanism.bounds)
    added = np.empty((len(presence), 2 * len(mechanism.bounds)), dtype=np.int64)
    added[:, ::2] = presence[:, np.newaxis] * ~frozen
    added[:, 1::2] = frozen
    return added
