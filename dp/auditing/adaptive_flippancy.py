"""The attack on adaptive-flippancy: everybody else leads it through all of its levels, and one user flips at each.

Other users freeze in crowds, so that every level is left at a tick that the attacker knows. Until then the level's
linear mechanism, which starts afresh, sees the user flip as often as the bounds allow by then. Along that path the
releases are Gaussian, and the log likelihood ratio is the sum of those of the levels. What the tests between the levels
cost is not attacked: their answers are sure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.auditing.likelihood import Attack, Case, Released, attack, less_known, simulated
from dp.mechanisms import GRID, LinearMechanism
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.mechanisms.protocol import Floats, Integers
from dp.mechanisms.sparse_vector import SparseVector
from dp.units import ProtectedClass

SURE = 60
"""Noise scales by which a number exceeds a threshold: a test has the other answer with a probability of about e⁻⁶⁰."""


@dataclass(frozen=True)
class Climb:
    """A way through all levels.

    Attributes:
        starts: the tick at which each level takes over, and the horizon.
        attacks: the worst pattern for each, in its own ticks.
        counts: without the user, shape (horizon, 2·levels); see `AdaptiveFlippancy.trace`.
        changed: with the user.
        weights: of the releases' errors in the log likelihood ratio, up to an addend; shape (horizon,).
        mu: of the best test along this way.
    """

    starts: tuple[int, ...]
    attacks: tuple[Attack, ...]
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
        """When the user is there, shape (horizon,)."""
        return _presence(self.attacks, self.starts)


def climb(mechanism: AdaptiveFlippancy, others: int, generator: np.random.Generator) -> Climb:
    """A way through all levels, each with time in proportion to the fourth root of its bound, and its worst pattern.

    Args:
        others: users who are there at every tick.
        generator: of the searches' beginnings.

    Raises:
        ValueError: the horizon has fewer ticks than there are levels.
    """
    levels, bounds = len(mechanism.bounds), mechanism.bounds
    if mechanism.horizon < levels:
        raise ValueError(f"the horizon has {mechanism.horizon} ticks; one for each of {levels} levels is needed")
    shares = np.cumsum(np.sqrt(np.sqrt(bounds)))
    ends = np.maximum(np.rint(mechanism.horizon * shares / shares[-1]).astype(np.int64), np.arange(1, levels + 1))
    starts = (0, *ends.tolist())
    attacks = []
    for number, level in enumerate(mechanism.levels):
        assert isinstance(level, LinearMechanism)
        ticks = starts[number + 1] - starts[number]
        # Bounds hold for the flips since the first tick, and the levels before have had theirs.
        runs = (bounds[number] - (bounds[number - 1] if number else 0)) // 2
        protected = ProtectedClass(min(runs, (ticks + 1) // 2), ticks, ticks)
        attacks.append(attack(level, protected, ticks, generator, "releases"))
    counts = _others(mechanism, starts, others)
    found = tuple(attacks)
    scales = [GRID / level.noise.scale for level in mechanism.levels if isinstance(level, LinearMechanism)]
    weights = [one.weights * scale**2 for one, scale in zip(found, scales, strict=True) if one.weights is not None]
    mu = math.sqrt(sum((one.norm * scale) ** 2 for one, scale in zip(found, scales, strict=True)))
    changed = counts + _user(mechanism, _presence(found, starts))
    return Climb(starts, found, counts, changed, np.concatenate(weights), mu)


def levels_case(mechanism: AdaptiveFlippancy, claim: Guarantee, way: Climb, released: Released | None = None) -> Case:
    """Adaptive-flippancy along a way through its levels; `released` as of `linear_case`, for counts of all levels."""
    path = np.repeat(np.arange(len(way.attacks)), np.diff(way.starts))
    known = way.counts[np.arange(mechanism.horizon), 2 * path]
    errors = less_known(released or partial(simulated, mechanism), known)
    claimed = gaussian.mu_for(*claim)
    return Case(
        mechanism.name,
        "releases",
        claim,
        errors(way.counts),
        errors(way.changed),
        way.presence(),
        lambda seen: np.asarray(seen @ way.weights),
        mechanism.horizon,
        claimed_mu=claimed,
        worst=way.mu / claimed,
        flips=way.flips,
    )


def surely_beyond(threshold: int, mechanism: AdaptiveFlippancy | SparseVector) -> int:
    """Users of whom a noisy test says surely that they are more than a threshold, which is in grid units."""
    return -(-(threshold + SURE * mechanism.noise.scale) // mechanism.grid)


def _presence(attacks: tuple[Attack, ...], starts: tuple[int, ...]) -> Integers:
    lengths = np.diff(starts).tolist()
    return np.concatenate([one.pattern.series(ticks) for one, ticks in zip(attacks, lengths, strict=True)])


def _others(mechanism: AdaptiveFlippancy, starts: tuple[int, ...], present: int) -> Integers:
    """Everybody else: always there, but for the crowd that freezes when a level is to be left.

    Who is frozen at a level is frozen at the levels below. No log need have these counts: what is promised holds for
    all in which the frozen become no fewer.
    """
    counts = np.zeros((mechanism.horizon, 2 * len(mechanism.bounds)), dtype=np.int64)
    counts[:, ::2] = present
    for level, threshold in enumerate(mechanism.thresholds):
        crowd = surely_beyond(threshold, mechanism)
        frozen = counts[starts[level + 1] :, 1 : 2 * level + 2 : 2]
        np.maximum(frozen, crowd, out=frozen)
    return counts


def _user(mechanism: AdaptiveFlippancy, presence: Integers) -> Integers:
    """What one user adds: there until frozen at a level, and frozen from the flip beyond its bound on."""
    flips = np.abs(np.diff(presence, prepend=0)).cumsum()
    frozen = flips[:, np.newaxis] > np.array(mechanism.bounds)
    added = np.empty((len(presence), 2 * len(mechanism.bounds)), dtype=np.int64)
    added[:, ::2] = presence[:, np.newaxis] * ~frozen
    added[:, 1::2] = frozen
    return added
