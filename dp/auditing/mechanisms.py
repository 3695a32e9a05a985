"""Any registered mechanism by its name: what to attack it with, and what that proves."""

from __future__ import annotations

from functools import partial

import numpy as np

from dp.accounting.calibrate import calibrate
from dp.accounting.composition import Guarantee
from dp.auditing.adaptive_flippancy import adaptive_flippancy_case, count_well_above, worst_level_path
from dp.auditing.case import Case
from dp.auditing.histogram import release_features
from dp.auditing.likelihood import View, likelihood_ratio, linear_case, views
from dp.auditing.options import DEFAULT_OPTIONS, AuditOptions
from dp.auditing.result import Audit
from dp.auditing.sampling import ReleaseSampler, simulate_releases, subtract_known
from dp.auditing.verdict import audit_cases
from dp.mechanisms import LinearMechanism, Mechanism, design, family_of
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.mechanisms.protocol import Integers
from dp.mechanisms.sparse_vector import SparseVector
from dp.units import ProtectedClass

BASE_COUNT = 1000
"""Users in every audited count besides the changed one; an attacker knows them."""

UNLIMITED_HULLS = 4
"""Hulls over which a series without a horizon is audited."""

MAX_TICKS = 1500
"""Longest audited series: its matrix is measured user by user, and has that many squared entries."""


def audit_mechanism(
    name: str,
    protected: ProtectedClass,
    promised: Guarantee,
    trials: int,
    generator: np.random.Generator,
    options: AuditOptions = DEFAULT_OPTIONS,
) -> list[Audit]:
    """Calibrate a mechanism, attack it and say what was proved.

    Args:
        promised: ε and δ of the whole series; pure mechanisms ignore δ.
        trials: releases in all, half of them with the change; of each case.

    Returns:
        By the likelihood ratio and by a histogram of what is released: of linear mechanisms, also by the likelihood
        ratio of measurements that tell more than the releases; of adaptive-flippancy, on a path through all of its
        levels. Sparse-vector by the histogram alone.

    Raises:
        ValueError: the mechanism is unknown, cannot serve the class, or the guarantee or the trials are out of range.
    """
    claim = Guarantee(promised.epsilon, 0.0) if family_of(name).delta == "none" else promised
    mechanism = calibrate([design(name, protected)], claim, [1.0])[0]
    return audit_cases(cases(mechanism, protected, claim, generator), trials, generator, options)


def cases(
    mechanism: Mechanism,
    protected: ProtectedClass,
    claim: Guarantee,
    generator: np.random.Generator,
    release_sampler: ReleaseSampler | None = None,
) -> list[Case]:
    """What is worth telling apart of a mechanism that was calibrated for a class.

    Args:
        generator: of the searches for the worst patterns.
        release_sampler: what releases counts, in place of the mechanism's simulation; then nobody sees measurements.

    Raises:
        ValueError: the series is too long, or the mechanism is of a kind that is not known here.
    """
    ticks = protected.horizon or UNLIMITED_HULLS * protected.hull
    if ticks > MAX_TICKS:
        raise ValueError(f"the audit would take {ticks} ticks; it takes up to {MAX_TICKS}, choose a shorter horizon")
    if isinstance(mechanism, AdaptiveFlippancy):
        path = worst_level_path(mechanism, BASE_COUNT, generator)
        return [adaptive_flippancy_case(mechanism, claim, path, release_sampler)]
    if isinstance(mechanism, SparseVector):
        return [sparse_vector_case(mechanism, claim, release_sampler)]
    if not isinstance(mechanism, LinearMechanism):
        raise ValueError(f"mechanism is {mechanism.name!r}; nobody knows how to attack it")
    audited: tuple[View, ...] = ("releases",) if release_sampler else views(mechanism, ticks)
    counts = np.full(ticks, BASE_COUNT)
    return [
        linear_case(
            mechanism, claim, likelihood_ratio(mechanism, protected, ticks, generator, view), counts, release_sampler
        )
        for view in audited
    ]


def sparse_vector_case(
    mechanism: SparseVector, claim: Guarantee, release_sampler: ReleaseSampler | None = None
) -> Case:
    """Sparse-vector with the change of `neighbouring_counts`."""
    without, with_change, series = neighbouring_counts(mechanism)
    errors = subtract_known(release_sampler or partial(simulate_releases, mechanism), without)
    return Case(
        mechanism.name,
        "releases",
        claim,
        errors(without),
        errors(with_change),
        8 * len(series),
        score=None,
        features=partial(release_features, series=series),
    )


def neighbouring_counts(mechanism: SparseVector) -> tuple[Integers, Integers, Integers]:
    """Counts without and with a change that sparse-vector shows plainly, and its Δ; shapes (releases,).

    Everybody else jumps beyond the band at every tick, so that every segment of the hull ends in a release that holds
    the change. What the tests are allowed to tell stays unused, which a ratio below 1 shows.
    """
    series = np.ones(mechanism.releases, dtype=np.int64)
    jump = count_well_above(mechanism.threshold, mechanism)
    counts = BASE_COUNT + jump * (np.arange(len(series)) % 2)
    return counts, counts + series, series
