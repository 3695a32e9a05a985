"""What an audit, or an attack, measures at one point: one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.mechanisms import audit_mechanism
from dp.auditing.power import Flag, power
from dp.auditing.result import Audit
from dp.auditing.sketches import audit_sketch
from dp.auditing.twins import TWINS
from dp.mechanisms import MECHANISMS
from dp.units import protected_class
from experiments.engine.grid import point_seed
from experiments.kinds.audit.config import AuditConfig, AuditPoint


@dataclass(frozen=True)
class AuditTask:
    """A point with all that its row depends on."""

    point: AuditPoint
    config: AuditConfig


def audit_tasks(config: AuditConfig, wanted: Sequence[AuditPoint], folder: Path) -> list[AuditTask]:
    """A task for each point; the folder is left empty."""
    return [AuditTask(point, config) for point in wanted]


def evaluate_audit(task: AuditTask) -> dict[str, Any]:
    """One row: the ε that is claimed and the ε that is proved, of the attack that should tell most.

    Which one that is was decided before anything was measured, for the largest of several bounds at 95 % is none:
    measurements tell more than the releases made of them, a likelihood ratio more than a histogram, and of a sketch the
    first way of publishing it or the smallest size.

    `measured` and `mu` are lower bounds at 95 % confidence; `ratio` is of μ where μ is claimed, else of ε; `worst` is
    the norm of the pattern over the sensitivity. Of a twin also the smallest number of trials that suffices
    (`caught_at`), the attempts that caught it there, those that raised false alarms on the right way, and one-sided
    95 % bounds on both shares. What a point has no number for is None.
    """
    point, config = task.point, task.config
    generator = np.random.default_rng(point_seed(config.seed, point))
    found = _found(point, config, generator)
    audits = [one for one in found if isinstance(one, Audit)]
    best = next((one for one in audits if one.view == "measurements"), audits[0] if audits else None)
    return {
        "kind": point.kind,
        "subject": point.subject,
        "unit": point.unit,
        "group": _group(point),
        "flagged": any(one.flagged for one in found),
        **(dict.fromkeys(NUMBERS) if best is None else _numbers(best)),
        **(_power(point, config, generator) if point.kind == "twin" else dict.fromkeys(POWER)),
    }


NUMBERS = ("seen", "trials", "epsilon", "delta", "measured", "claimed_mu", "mu", "ratio", "worst")
POWER = ("caught_at", "caught", "caught_at_least", "false_alarms", "false_alarms_at_most", "attempts")


def _found(point: AuditPoint, config: AuditConfig, generator: np.random.Generator) -> Sequence[Flag]:
    if point.epsilon is None:
        return [TWINS[point.subject]().broken(config.trials, generator)]
    promised = Guarantee(point.epsilon, config.delta)
    if point.unit is None:
        return audit_sketch(point.subject, promised, config.trials, generator)
    protected = protected_class(point.unit, config.window, config.w_bound, config.horizon)
    return audit_mechanism(point.subject, protected, promised, config.trials, generator)


def _group(point: AuditPoint) -> str:
    """What a figure shows alike: linear mechanisms by their noise, the others by name, and all sketches."""
    if point.kind == "mechanism":
        family = MECHANISMS[point.subject]
        return f"{family.noise.capitalize()} noise" if family.strategy else point.subject
    return {"sketch": "sketches", "twin": "broken twins"}[point.kind]


def _numbers(audit: Audit) -> dict[str, Any]:
    values = (
        audit.view, audit.trials, audit.claim.epsilon, audit.claim.delta, audit.measured, audit.claimed_mu, audit.mu,
        audit.ratio, audit.worst,
    )  # fmt: skip
    return dict(zip(NUMBERS, values, strict=True))


def _power(point: AuditPoint, config: AuditConfig, generator: np.random.Generator) -> dict[str, Any]:
    return dict(zip(POWER, power(TWINS[point.subject](), config.attempts, generator), strict=True))
