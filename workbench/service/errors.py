"""What the service and its store refuse, and why."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dp.ledger.values import LedgerUnavailable

if TYPE_CHECKING:
    from dp.ledger import BudgetExhausted

SHOWN = 3
FAILINGS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_IOERR: "the disk refuses to read or to write: make room, or repair it",
    sqlite3.SQLITE_READONLY: "it may only be read: let this process write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: look for the file and its folder",
    sqlite3.SQLITE_BUSY: "another process keeps it: wait for that one, or end it",
    sqlite3.SQLITE_LOCKED: "another connection keeps it: wait for that one",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore the newest copies of store and ledger",
    sqlite3.SQLITE_NOTADB: "the file is no database: restore the newest copies of store and ledger",
}
"""What SQLite reports of a file that cannot be used, and what to do."""
MOST_FAULTS = 100


class StoreError(Exception):
    """The store refuses; nothing was changed."""


class NotNext(StoreError):  # noqa: N818 - the name says what happened
    """A day cannot be closed because another one is next."""


class Refused(Exception):  # noqa: N818 - the name says what happened
    """A request that cannot be met as things stand; the message says what to do.

    Attributes:
        kind: "unknown-metric", "unknown-day", "open-day", "not-next", "future-day", "horizon-over", "bad-event",
            "bad-request", "scope-missing", "busy", "clock", "key-reused", "other-store", "other-settings",
            "doubtful-first-day", "not-over", "unconfirmed-renewal" or "unavailable".
        faults: (index, reason) of operations that cannot be right.
    """

    def __init__(self, kind: str, message: str, faults: Sequence[tuple[int, str]] = ()) -> None:
        self.kind = kind
        self.faults = tuple(faults)
        super().__init__(message)

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str, tuple[tuple[int, str], ...]]]:
        return Refused, (self.kind, str(self), self.faults)


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
        "Published days stay readable; more fresh releases, and a renewal, need another budget (dpdau budget create "
        "NAME, and the setting fresh_budget, or budget for the renewal), and add to what was spent."
    )


def unavailable(error: BaseException) -> Refused | None:
    """The refusal that an error means, if it says that a file cannot be used; None for any other error."""
    if isinstance(error, Refused):
        return error if error.kind == "unavailable" else None
    if isinstance(error, LedgerUnavailable):
        return Refused("unavailable", str(error))
    cause = error if isinstance(error, sqlite3.Error) else error.__cause__
    # Subclasses other than these two report defects of the program.
    if type(cause) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
        return None
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    why = FAILINGS.get(code, "SQLite refuses, and the log of the process says why")
    return Refused("unavailable", f"store or ledger cannot be used now; {why}. What was acknowledged before is safe")
