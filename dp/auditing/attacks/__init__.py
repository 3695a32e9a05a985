"""Attacks on what the project promises, each with what must hold and with broken twins that must fall.

They call the code that releases call: the presence query, the mechanisms, `publish` with its noise, the ledger's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from dp.auditing.attacks import (
    adaptive,
    differencing,
    late,
    ledger,
    noise,
    poisoning,
    rejoin,
    repeated_query,
    rewritten_log,
    support,
)
from dp.auditing.attacks.outcome import OURS, Attack, Observation, Outcome, Setting


def attack_of(module: ModuleType) -> Attack:
    """The attack that a module describes: its docstring is the threat, and it has a CRITERION and TARGETS."""
    return Attack(" ".join((module.__doc__ or "").split()), module.CRITERION, module.TARGETS)


ATTACKS: dict[str, Attack] = {
    "repeated-query": attack_of(repeated_query),
    "rewritten-log": attack_of(rewritten_log),
    "differencing": attack_of(differencing),
    "rejoin": attack_of(rejoin),
    "adaptive": attack_of(adaptive),
    "late": attack_of(late),
    "poisoning": attack_of(poisoning),
    "support": attack_of(support),
    "ledger": attack_of(ledger),
    "noise": attack_of(noise),
}


def run_attack(name: str, setting: Setting, target: str = OURS, attacks: Mapping[str, Attack] = ATTACKS) -> Outcome:
    """Make an attack against one of its targets.

    Args:
        name: in `attacks`.
        target: `OURS`, or the name of a broken twin.
        attacks: by name.

    Raises:
        ValueError: there is no such attack or target.
    """
    if name not in attacks:
        raise ValueError(f"attack is {name!r}; choose one of {', '.join(attacks)}")
    attack = attacks[name]
    if target not in attack.targets:
        raise ValueError(f"target is {target!r}; {name} is made against {', '.join(attack.targets)}")
    return Outcome(name, attack.threat, attack.criterion, target, attack.targets[target](setting))


__all__ = ["ATTACKS", "OURS", "Attack", "Observation", "Outcome", "Setting", "attack_of", "run_attack"]
