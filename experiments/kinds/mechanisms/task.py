"""What a row depends on. Imports nothing heavy: whoever makes tasks need not be able to compute them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from experiments.kinds.mechanisms.points import MechanismPoint


@dataclass(frozen=True)
class Steps:
    """Flips of presence; see `dp.presence.UserFlips`. Tuples, so that tasks can be compared."""

    ticks: tuple[int, ...]
    users: tuple[int, ...]
    steps: tuple[int, ...]

    def before(self, tick: int) -> Steps:
        """Those before a tick."""
        number = bisect_left(self.ticks, tick)
        return Steps(self.ticks[:number], self.users[:number], self.steps[:number])


@dataclass(frozen=True)
class Task:
    """A point with all that its row depends on.

    Attributes:
        truth: true counts, shape (T,).
        bounded: counts with every user frozen after W_BOUND flips, for the unit user; else the true counts. Mechanisms
            that need no W_BOUND do not use them.
        metrics: columns besides the usual ones; see `measures.error_measure`.
        share: part of the budget that the series has.
        accountant: the one that vouches for the guarantee; None for the noise's own exact accounting.
        rate: share of the users who are counted.
        steps: the flips behind `bounded`, where only a sample of the users is counted.
        levels: counts under the bounds of a mechanism that chooses its own, shape (2·bounds, T).
    """

    point: MechanismPoint
    delta: float
    trials: int
    seed: int
    truth: tuple[int, ...]
    bounded: tuple[int, ...]
    metrics: tuple[str, ...] = ()
    share: float = 1.0
    accountant: str | None = None
    rate: float = 1.0
    steps: Steps | None = None
    levels: tuple[tuple[int, ...], ...] = ()
