"""Any registered mechanism by its name: what to attack it with, and what that proves."""

from __future__ import annotations

from functools import partial, singledispatch

import numpy as np

from dp.accounting.calibrate import calibrate_designs
from dp.accounting.composition import Guarantee
from dp.auditing.adaptive_flippancy import adaptive_flippancy_case, worst_level_path
from dp.auditing.case import Case
from dp.auditing.histogram import release_features
from dp.auditing.likelihood import View, likelihood_ratio, linear_case, views
from dp.auditing.options import DEFAULT_OPTIONS, AuditOptions
from dp.auditing.result import Audit
from dp.auditing.sampling import ReleaseSampler, simulate_releases, subtract_known
from dp.auditing.verdict import audit_cases
from dp.mechanisms import LinearMechanism, Mechanism, design, family_of
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
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
    claim = claim_of(name, promised)
    mechanism = calibrate_designs([design(name, protected)], claim, [1.0])[0]
    return audit_cases(cases(mechanism, protected, claim, generator), trials, generator, options)


def claim_of(name: str, promised: Guarantee) -> Guarantee:
    """What a mechanism claims of a promise; pure ones ignore δ."""
    return Guarantee(promised.epsilon, 0.0) if family_of(name).delta == "none" else promised


def audited_ticks(protected: ProtectedClass) -> int:
    """How many ticks of a series are audited.

    Raises:
        ValueError: the series is too long.
    """
    ticks = protected.horizon or UNLIMITED_HULLS * protected.hull
    if ticks > MAX_TICKS:
        raise ValueError(f"the audit would take {ticks} ticks; it takes up to {MAX_TICKS}, choose a shorter horizon")
    return ticks


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
    audited_ticks(protected)
    return _cases(mechanism, protected, claim, generator, release_sampler)


@singledispatch
def _cases(
    mechanism: Mechanism,
    protected: ProtectedClass,
    claim: Guarantee,
    generator: np.random.Generator,
    release_sampler: ReleaseSampler | None,
) -> list[Case]:
    """A mechanism of which nothing is known from inside: its own neighbours, told apart by a histogram.

    Who knows a mechanism from inside registers here how to attack it.
    """
    neighbours = mechanism.neighbours()
    if neighbours is None:
        raise ValueError(f"mechanism is {mechanism.name!r}; nobody knows how to attack it")
    without, with_change = neighbours
    series = with_change - without
    errors = subtract_known(release_sampler or partial(simulate_releases, mechanism), without)
    return [
        Case(
            mechanism.name,
            "releases",
            claim,
            errors(without),
            errors(with_change),
            8 * len(series),
            score=None,
            features=partial(release_features, series=series),
        )
    ]


@_cases.register
def _linear_cases(
    mechanism: LinearMechanism,
    protected: ProtectedClass,
    claim: Guarantee,
    generator: np.random.Generator,
    release_sampler: ReleaseSampler | None,
) -> list[Case]:
    ticks = audited_ticks(protected)
    audited: tuple[View, ...] = ("releases",) if release_sampler else views(mechanism, ticks)
    counts = np.full(ticks, BASE_COUNT)
    return [
        linear_case(
            mechanism, claim, likelihood_ratio(mechanism, protected, ticks, generator, view), counts, release_sampler
        )
        for view in audited
    ]


@_cases.register
def _adaptive_flippancy_cases(
    mechanism: AdaptiveFlippancy,
    protected: ProtectedClass,
    claim: Guarantee,
    generator: np.random.Generator,
    release_sampler: ReleaseSampler | None,
) -> list[Case]:
    path = worst_level_path(mechanism, BASE_COUNT, generator)
    return [adaptive_flippancy_case(mechanism, claim, path, release_sampler)]
