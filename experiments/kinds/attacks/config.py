"""Configs of attacks. What checks them is imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from experiments.engine.config import ExperimentConfig
from experiments.engine.grid import refuse_unknown
from experiments.engine.kind import Kind


@dataclass(frozen=True)
class AttackPoint:
    """An attack and one of its targets."""

    attack: str
    target: str

    @property
    def identity(self) -> str:
        """The point in words; seeds and shards derive from it."""
        return f"attack={self.attack} target={self.target.replace(' ', '-')}"


class AttackConfig(ExperimentConfig, frozen=True, kw_only=True):
    """All attacks against all of their targets (`kind = "attacks"`).

    See `ExperimentConfig` for what all configs have.

    Attributes:
        quick: fewer trials, with less power.
        seed: with a point's identity it gives the point's own seed.
        attacks: names in `dp.auditing.attacks.ATTACKS`.
    """

    kind: ClassVar[Kind] = Kind("attacks", "experiments.kinds.attacks", "trials.evaluate_attack")

    quick: bool
    seed: int
    attacks: list[str]

    def points(self) -> Iterator[AttackPoint]:
        """Every attack with each of its targets, the real one first."""
        from dp.auditing.attacks import ATTACKS

        for name in self.attacks:
            yield from (AttackPoint(name, target) for target in ATTACKS[name].targets)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.auditing.attacks import ATTACKS

        refuse_unknown("attacks", self.attacks, ATTACKS)
