"""Any registered mechanism by its name: what to attack it with, and what that proves."""

from __future__ import annotations

from functools import partial

import numpy as np

from dp.accounting.calibrate import calibrate
from dp.accounting.composition import Guarantee
from dp.auditing.adaptive_flippancy import climb, levels_case, surely_beyond
from dp.auditing.blackbox import audit_case
from dp.auditing.likelihood import (
    CONFIDENCE,
    FLAG_LEVEL,
    Audit,
    Case,
    Released,
    Report,
    Seen,
    attack,
    in_turn,
    less_known,
    linear_case,
    simulated,
    views,
)
from dp.mechanisms import LinearMechanism, Mechanism, design, family_of
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.mechanisms.protocol import Integers
from dp.mechanisms.sparse_vector import SparseVector
from dp.units import ProtectedClass

BASE = 1000
"""Users in every audited count besides the changed one; an attacker knows them."""

ENDLESS_HULLS = 4
"""Hulls over which a series without an end is audited."""

MOST_TICKS = 1500
"""Longest audited series: its matrix is measured user by user, and has that many squared entries."""


def audit_mechanism(
    name: str,
    protected: ProtectedClass,
    promised: Guarantee,
    trials: int,
    generator: np.random.Generator,
    *,
    confidence: float = CONFIDENCE,
    flag_level: float = FLAG_LEVEL,
    workers: int = 1,
    report: Report = lambda done: None,
) -> list[Audit]:
    """Calibrate a mechanism, attack it and say what was proved.

    Args:
        promised: ε and δ of the whole series; pure mechanisms ignore δ.
        trials: releases in all, half of them with the change; of each audit.
        flag_level: most often that a mechanism which keeps its promise may be flagged, in all audits together.
        workers: threads; the result does not depend on how many there are.

    Returns:
        By the likelihood ratio and by a histogram of what is released: of linear mechanisms, also by the likelihood
        ratio of measurements that tell more than the releases; of adaptive-flippancy, on a way through all of its
        levels. Sparse-vector by the histogram alone.

    Raises:
        ValueError: the mechanism is unknown, cannot serve the class, or the guarantee or the trials are out of range.
    """
    claim = Guarantee(promised.epsilon, 0.0) if family_of(name).delta == "none" else promised
    mechanism = calibrate([design(name, protected)], claim, [1.0])[0]
    audits: list[Audit] = []
    for case, level, told in in_turn(cases(mechanism, protected, claim, generator), flag_level, report):
        audits += audit_case(
            case, trials, generator, confidence=confidence, flag_level=level, workers=workers, report=told
        )
    return audits


def cases(
    mechanism: Mechanism,
    protected: ProtectedClass,
    claim: Guarantee,
    generator: np.random.Generator,
    released: Released | None = None,
) -> list[Case]:
    """What is worth telling apart of a mechanism that was calibrated for a class.

    Args:
        generator: of the searches for the worst patterns.
        released: what releases counts, in place of the mechanism's simulation; then nobody sees measurements.

    Raises:
        ValueError: the series is too long, or the mechanism is of a kind that is not known here.
    """
    ticks = protected.horizon or ENDLESS_HULLS * protected.hull
    if ticks > MOST_TICKS:
        raise ValueError(f"the audit would take {ticks} ticks; it takes up to {MOST_TICKS}, choose a shorter horizon")
    if isinstance(mechanism, AdaptiveFlippancy):
        return [levels_case(mechanism, claim, climb(mechanism, BASE, generator), released)]
    if isinstance(mechanism, SparseVector):
        return [sparse_vector_case(mechanism, claim, released)]
    if not isinstance(mechanism, LinearMechanism):
        raise ValueError(f"mechanism is {mechanism.name!r}; nobody knows how to attack it")
    seen: tuple[Seen, ...] = ("releases",) if released else views(mechanism, ticks)
    counts = np.full(ticks, BASE)
    return [
        linear_case(mechanism, claim, attack(mechanism, protected, ticks, generator, view), counts, released)
        for view in seen
    ]


def sparse_vector_case(mechanism: SparseVector, claim: Guarantee, released: Released | None = None) -> Case:
    """Sparse-vector with the change of `neighbours`."""
    without, with_change, series = neighbours(mechanism)
    errors = less_known(released or partial(simulated, mechanism), without)
    width = 8 * len(series)
    return Case(mechanism.name, "releases", claim, errors(without), errors(with_change), series, None, width)


def neighbours(mechanism: SparseVector) -> tuple[Integers, Integers, Integers]:
    """Counts without and with a change that sparse-vector shows plainly, and its Δ; shapes (releases,).

    Everybody else jumps beyond the band at every tick, so that every segment of the hull ends in a release that holds
    the change. What the tests are allowed to tell stays unused, which a ratio below 1 shows.
    """
    series = np.ones(mechanism.releases, dtype=np.int64)
    jump = surely_beyond(mechanism.threshold, mechanism)
    counts = BASE + jump * (np.arange(len(series)) % 2)
    return counts, counts + series, series
