"""The row of an audit at one point."""

from __future__ import annotations

from collections.abc import Sequence
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
from experiments.engine.tasks import PointTask
from experiments.kinds.audit.config import AuditConfig, AuditPoint


def evaluate_audit(task: PointTask[AuditConfig, AuditPoint]) -> dict[str, Any]:
    """One row: the ε that is claimed and the ε that is proved, by the attack that should be the strongest.

    The choice of the attack does not depend on measurements, because the largest of several 95 % bounds is not a 95 %
    bound: measurements reveal more than the releases made from them, a likelihood ratio more than a histogram; of a
    sketch it is the first way of publishing it, or the smallest size.

    `measured` and `mu` are lower bounds at 95 % confidence; `ratio` is of μ where μ is claimed, else of ε; `worst` is
    the norm of the pattern over the sensitivity. A twin also has the smallest number of trials that suffices
    (`caught_at`), the attempts that caught it there, those that raised false alarms on its correct original, and
    one-sided 95 % bounds on both shares. Columns that do not apply to a point are None.
    """
    point, config = task.point, task.config
    generator = np.random.default_rng(point_seed(config.seed, point))
    verdicts = _verdicts(point, config, generator)
    audits = [one for one in verdicts if isinstance(one, Audit)]
    best = next((one for one in audits if one.view == "measurements"), audits[0] if audits else None)
    return {
        "kind": point.kind,
        "subject": point.subject,
        "unit": point.unit,
        "group": _group(point),
        "flagged": any(one.flagged for one in verdicts),
        **(dict.fromkeys(NUMBERS) if best is None else _numbers(best)),
        **(_power(point, config, generator) if point.kind == "twin" else dict.fromkeys(POWER)),
    }


NUMBERS = ("seen", "trials", "epsilon", "delta", "measured", "claimed_mu", "mu", "ratio", "worst")
POWER = ("caught_at", "caught", "caught_at_least", "false_alarms", "false_alarms_at_most", "attempts")


def _verdicts(point: AuditPoint, config: AuditConfig, generator: np.random.Generator) -> Sequence[Flag]:
    if point.epsilon is None:
        return [TWINS[point.subject]().broken(config.trials, generator)]
    promised = Guarantee(point.epsilon, config.delta)
    if point.unit is None:
        return audit_sketch(point.subject, promised, config.trials, generator)
    protected = protected_class(point.unit, config.window, config.w_bound, config.horizon)
    return audit_mechanism(point.subject, protected, promised, config.trials, generator)


def _group(point: AuditPoint) -> str:
    """The group of a point in the figure: linear mechanisms by their noise, the others by name, sketches together."""
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
