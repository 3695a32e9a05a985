"""The row of a point: what an attack measures on one of its targets."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dp.auditing.attacks import OURS, Outcome, Setting, run_attack
from experiments.engine.grid import point_seed
from experiments.engine.tasks import PointTask
from experiments.kinds.attacks.config import AttackConfig, AttackPoint

NOW = datetime(2026, 3, 1, tzinfo=UTC)
"""Where the attacks' clock starts; some of them move it."""


def evaluate_attack(task: PointTask[AttackConfig, AttackPoint]) -> dict[str, Any]:
    """One row: what was measured, and the most that the claim allows; None where nothing is claimed."""
    point, config = task.point, task.config
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(point_seed(config.seed, point))
        outcome = run_attack(point.attack, Setting(generator, Path(folder), NOW, config.quick), point.target)
    return row_of(outcome)


def row_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a row of the table from which figures are drawn."""
    return {
        "attack": outcome.name,
        "target": outcome.target,
        "ours": outcome.target == OURS,
        "held": outcome.held,
        "threat": outcome.threat,
        "criterion": outcome.criterion,
        "what": [reading.what for reading in outcome.readings],
        "measured": [float(reading.measured) for reading in outcome.readings],
        "limit": [reading.allowed for reading in outcome.readings],
    }
