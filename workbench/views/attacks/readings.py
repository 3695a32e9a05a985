"""What an attack on what stands around the noise reads, from more and more trials where it counts any."""

from __future__ import annotations

import re
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dp.auditing.attacks import ATTACKS, OURS, Observation, Outcome, Setting, run_attack
from dp.auditing.attacks.fixed_threshold import ATTACK_CONFIDENCE
from experiments.kinds.attacks.trials import NOW
from workbench.rows import TableRow
from workbench.views.jobs.job import Job, Tables
from workbench.views.jobs.meanwhile import meanwhile

if TYPE_CHECKING:
    from workbench.views.attacks.research import AttackQuestion

SEED = 20260115
CLIMBING = ("differencing", "adaptive")
"""Attacks that prove an ε, the more of it the more trials there are."""
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of the trials of a quick attack."""
_SHOWN = re.compile(r": ε shown (at δ = \S+ )?by ")


def take(question: AttackQuestion, job: Job, committed: Tables) -> Tables:
    """The tables of an answer: "bounds" of an attack that proves an ε, else "readings", beside what is committed.

    Raises:
        ValueError: there is no such target.
        Superseded: see `Job`.
    """
    shares = SHARES if question.attack in CLIMBING else (1.0,)
    target = question.mistake if question.broken else OURS
    if target not in ATTACKS[question.attack].targets:
        raise ValueError(f"mistake is {target!r}; choose one of {', '.join(ATTACKS[question.attack].twins)}")
    job.tell("attacking", 0.0, committed)
    bounds: list[TableRow] = []
    tables: Tables = {}
    for number, share in enumerate(shares):
        outcome = meanwhile(
            partial(_attack, question.attack, str(target), share),
            partial(job.tell, "attacking", number / len(shares), None),
        )
        bounds += [_bound(outcome, reading) for reading in outcome.readings if reading.trials is not None]
        if bounds:
            tables = {"bounds": list(bounds), **committed}
        else:
            tables = {"readings": [_reading(outcome, reading) for reading in outcome.readings], **committed}
        job.tell("attacking", (number + 1) / len(shares), tables)
    return tables


def _attack(name: str, target: str, share: float) -> Outcome:
    seed = [SEED, round(1 / share), *f"{name} {target}".encode()]
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(np.random.default_rng(seed), Path(folder), NOW, quick=True, share=share)
        return run_attack(name, setting, target)


def _bound(outcome: Outcome, reading: Observation) -> TableRow:
    return {
        "subject": outcome.target,
        "test": _SHOWN.sub(": ", reading.what),
        "trials": reading.trials,
        "measured": float(reading.measured),
        "claimed": float(reading.limit),
        "confidence": ATTACK_CONFIDENCE,
        "broken": not reading.held,
    }


def _reading(outcome: Outcome, reading: Observation) -> TableRow:
    return {
        "subject": outcome.target,
        "what": reading.what,
        "measured": float(reading.measured),
        "allowed": reading.allowed,
        "broken": not reading.held,
    }
