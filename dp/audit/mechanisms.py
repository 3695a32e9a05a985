"""Any registered mechanism by its name: what to attack it with, and what that proves."""

from __future__ import annotations

import numpy as np

from dp.accounting.calibrate import calibrate
from dp.accounting.composition import Guarantee
from dp.audit.blackbox import black_box, numbers_of
from dp.audit.levels import audit_levels, climb
from dp.audit.likelihood import CONFIDENCE, FLAG_LEVEL, Audit, Report, Sampler, attack, audit_linear, views
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

SURE = 60
"""Noise scales that a count jumps beyond a band: it stays within with a probability of about e⁻⁶⁰."""


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
        A linear mechanism is attacked by the likelihood ratio, twice where it measures more than its releases tell;
        adaptive-flippancy likewise, on a way through all of its levels; sparse-vector by the histogram test.

    Raises:
        ValueError: the mechanism is unknown, cannot serve the class, or the guarantee or the trials are out of range.
    """
    claim = Guarantee(promised.epsilon, 0.0) if family_of(name).delta == "none" else promised
    mechanism = calibrate([design(name, protected)], claim, [1.0])[0]
    ticks = protected.horizon or ENDLESS_HULLS * protected.hull
    if ticks > MOST_TICKS:
        raise ValueError(f"the audit would take {ticks} ticks; it takes up to {MOST_TICKS}, choose a shorter horizon")
    if isinstance(mechanism, AdaptiveFlippancy):
        way = climb(mechanism, BASE, generator)
        return [
            audit_levels(
                mechanism, claim, way, trials, generator,
                confidence=confidence, flag_level=flag_level, workers=workers, report=report,
            )
        ]  # fmt: skip
    if isinstance(mechanism, SparseVector):
        without, with_change, series = neighbours(mechanism)
        return [
            black_box(
                _numbers(mechanism, without, without, series),
                _numbers(mechanism, with_change, without, series),
                claim,
                trials,
                generator,
                mechanism=name,
                width=8 * len(series),
                confidence=confidence,
                flag_level=flag_level,
                workers=workers,
                report=report,
            )
        ]
    assert isinstance(mechanism, LinearMechanism)
    seen = views(mechanism, ticks)
    counts = np.full(ticks, BASE)
    return [
        audit_linear(
            mechanism,
            claim,
            attack(mechanism, protected, ticks, generator, view),
            counts,
            trials,
            generator,
            confidence=confidence,
            flag_level=flag_level / len(seen),
            workers=workers,
            report=lambda done, before=number: report((before + done) / len(seen)),  # type: ignore[misc]
        )
        for number, view in enumerate(seen)
    ]


def neighbours(mechanism: SparseVector) -> tuple[Integers, Integers, Integers]:
    """Counts without and with a change that sparse-vector shows plainly, and its Δ; shapes (releases,).

    Everybody else jumps beyond the band at every tick, so that every segment of the hull ends in a release that holds
    the change. What the tests are allowed to tell stays unused, which a ratio below 1 shows.
    """
    series = np.ones(mechanism.releases, dtype=np.int64)
    jump = -(-(mechanism.threshold + SURE * mechanism.noise.scale) // mechanism.grid)
    counts = BASE + jump * (np.arange(len(series)) % 2)
    return counts, counts + series, series


def _numbers(mechanism: Mechanism, counts: Integers, known: Integers, series: Integers) -> Sampler:
    return lambda trials, generator: numbers_of(mechanism.simulate(counts, trials, generator) - known, series)
