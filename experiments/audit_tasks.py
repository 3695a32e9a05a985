"""What an audit, or an attack, measures at one point: one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dp.accounting.composition import Guarantee
from dp.audit.likelihood import Audit
from dp.audit.mechanisms import audit_mechanism
from dp.audit.twins import TWINS
from dp.units import protected_class
from experiments.audit_config import AuditConfig, AuditPoint
from experiments.points import point_seed


@dataclass(frozen=True)
class AuditTask:
    """A point with all that its row depends on."""

    point: AuditPoint
    config: AuditConfig


def audit_tasks(config: AuditConfig, wanted: Sequence[AuditPoint], folder: Path) -> list[AuditTask]:
    """A task for each point; the folder is left empty."""
    return [AuditTask(point, config) for point in wanted]


def evaluate_audit(task: AuditTask) -> dict[str, Any]:
    """One row: the ε that is claimed and the ε that is proved, of the sharpest attack on the point.

    `measured` and `mu` are lower bounds at 95 % confidence; `ratio` is of μ for linear mechanisms, else of ε; `worst`
    is the norm of the pattern over the sensitivity. What a twin has no number for is None.
    """
    point, config = task.point, task.config
    generator = np.random.default_rng(point_seed(config.seed, point))
    if point.unit is None or point.epsilon is None:
        found = [TWINS[point.subject]().broken(config.trials, generator)]
    else:
        protected = protected_class(point.unit, config.window, config.w_bound, config.horizon)
        promised = Guarantee(point.epsilon, config.delta)
        found = list(audit_mechanism(point.subject, protected, promised, config.trials, generator))
    audits = [one for one in found if isinstance(one, Audit)]
    best = max(audits, key=lambda one: one.ratio, default=None)
    return {
        "subject": point.subject,
        "unit": point.unit,
        "honest": point.unit is not None,
        "flagged": any(one.flagged for one in found),
        "trials": config.trials,
        **({name: None for name in NUMBERS} if best is None else _numbers(best)),
    }


NUMBERS = ("seen", "epsilon", "delta", "measured", "claimed_mu", "mu", "ratio", "worst")


def _numbers(audit: Audit) -> dict[str, Any]:
    values = (
        audit.seen, audit.claim.epsilon, audit.claim.delta, audit.measured, audit.claimed_mu, audit.mu, audit.ratio,
        audit.worst,
    )  # fmt: skip
    return dict(zip(NUMBERS, values, strict=True))
