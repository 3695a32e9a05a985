"""What the service and its store refuse, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dp.ledger import BudgetExhausted

SHOWN = 3
MOST_FAULTS = 100


class StoreError(Exception):
    """The store refuses; nothing was changed."""


class NotNext(StoreError):  # noqa: N818 - the name says what happened
    """A day cannot be closed because another one is next."""


class Refused(Exception):  # noqa: N818 - the name says what happened
    """A request that cannot be met as things stand; the message says what to do.

    Attributes:
        kind: "unknown-metric", "unknown-day", "open-day", "not-next", "future-day", "horizon-over", "bad-event",
            "bad-request", "scope-missing", "busy", "clock", "key-reused", "other-store" or "other-settings".
        faults: (index, reason) of operations that cannot be right.
    """

    def __init__(self, kind: str, message: str, faults: Sequence[tuple[int, str]] = ()) -> None:
        self.kind = kind
        self.faults = tuple(faults)
        super().__init__(message)


def bad_events(
    faults: Sequence[tuple[int, str]], unit: str = "event", start: int = 0, lines: Sequence[int] | None = None
) -> Refused:
    """A refusal that names operations by their index (from `start` on), or by their `lines`; nothing was stored."""
    shown = "; ".join(
        f"line {lines[index]}: {reason}" if lines else f"{unit} {start + index}: {reason}"
        for index, reason in faults[:SHOWN]
    )
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return Refused("bad-event", f"nothing was stored: {shown}{more}", faults[:MOST_FAULTS])


def budget_advice(error: BudgetExhausted) -> str:
    """What to do about a charge that does not fit."""
    if error.reason == "too small":
        return (
            "That budget would not suffice even if nothing were spent: raise budget_epsilon before the first close, or "
            "name a larger budget in the settings budget and fresh_budget (dpdau budget create NAME)."
        )
    return (
        "Published days stay readable; more fresh releases need another budget (dpdau budget create NAME, and the "
        "setting fresh_budget), and add to what was spent."
    )
