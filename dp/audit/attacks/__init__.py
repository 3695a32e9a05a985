"""Attacks on what the project promises, each with what must hold and with broken twins that must fall.

They call the code that releases call: the presence query, the mechanisms, `publish` with its noise, the ledger's file.
"""

from __future__ import annotations

from types import ModuleType

from dp.audit.attacks import (
    adaptive,
    differencing,
    late,
    ledger,
    poisoning,
    rejoin,
    repeated_query,
    support,
)
from dp.audit.attacks.outcome import OURS, Attack, Outcome, Reading, Setting


def _attack(module: ModuleType) -> Attack:
    return Attack(" ".join((module.__doc__ or "").split()), module.CRITERION, module.TARGETS)


ATTACKS: dict[str, Attack] = {
    "repeated-query": _attack(repeated_query),
    "differencing": _attack(differencing),
    "rejoin": _attack(rejoin),
    "adaptive": _attack(adaptive),
    "late": _attack(late),
    "poisoning": _attack(poisoning),
    "support": _attack(support),
    "ledger": _attack(ledger),
}


def run_attack(name: str, setting: Setting, target: str = OURS) -> Outcome:
    """Make an attack against one of its targets.

    Args:
        name: in ATTACKS.
        target: `OURS`, or the name of a broken twin.

    Raises:
        ValueError: there is no such attack or target.
    """
    if name not in ATTACKS:
        raise ValueError(f"attack is {name!r}; choose one of {', '.join(ATTACKS)}")
    attack = ATTACKS[name]
    if target not in attack.targets:
        raise ValueError(f"target is {target!r}; {name} is made against {', '.join(attack.targets)}")
    return Outcome(name, attack.threat, attack.criterion, target, attack.targets[target](setting))


__all__ = ["ATTACKS", "OURS", "Attack", "Outcome", "Reading", "Setting", "run_attack"]
