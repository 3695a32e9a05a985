"""Operations: what users do and take back, and what an operation must look like to be stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from dp.log import is_utf8
from dp.presence.daily import EPOCH, day_number

ADD, RETRACT, ERASE = 1, -1, 0
OP_NAMES = {ADD: "+", RETRACT: "-", ERASE: "erase"}
OPS = {name: op for op, name in OP_NAMES.items()}
LONGEST_USER = 512
EARLIEST, LATEST = day_number(date(1900, 1, 1)), day_number(date(2200, 12, 31))


class Operation(NamedTuple):
    """One thing that a user did or takes back.

    Attributes:
        day: since 1970-01-01; None in an erasure.
        op: ADD, RETRACT or ERASE.
        at: earliest tick from which it counts, where the sender knows one; arrival decides otherwise.
        label: what it says of segments, by the `LabelCodes` of whoever takes it in.
    """

    user: str
    day: int | None
    op: int = ADD
    at: int | None = None
    label: int = 0


@dataclass(frozen=True)
class Ingested:
    """What became of operations: how many were stored, how many of them were about a closed day, the last number."""

    accepted: int
    late: int
    seq: int


def faults(operations: Iterable[Operation], latest: int) -> list[tuple[int, str]]:
    """(index, reason) of every operation that cannot be right; `latest` is the last day that may be reported."""
    return [
        (index, reason)
        for index, operation in enumerate(operations)
        if not _is_plain(operation, latest) and (reason := _fault(operation, latest))
    ]


def _is_plain(operation: Operation, latest: int) -> bool:
    """Whether nothing can be wrong, seen at a glance: nearly all operations are like this."""
    user, day, op, at, _ = operation
    return (
        (op in (ADD, RETRACT))
        and at is None
        and day is not None
        and EARLIEST <= day <= latest
        and user.isascii()
        and user.isalnum()
        and len(user) <= LONGEST_USER
    )


def _fault(operation: Operation, latest: int) -> str | None:
    user, day, op, at, label = operation
    if not user.strip() or len(user) > LONGEST_USER or "\0" in user or not is_utf8(user):
        # Not the user itself: the reason goes into answers, and from there into the logs of whoever asked.
        return f"user is not a usable id; it needs 1 to {LONGEST_USER} characters of text, not all blank and no NUL"
    if at is not None and not EARLIEST <= at <= LATEST:
        return "at is not between 1900 and 2200"
    if op == ERASE:
        if label:
            return "an erasure has no segments: it takes everything of the user back"
        return None if day is None else "an erasure has no day"
    if op not in (ADD, RETRACT):
        return f"op is {op!r}; it is ADD, RETRACT or ERASE"
    if day is None or not EARLIEST <= day <= LATEST:
        return "day is missing or not between 1900 and 2200"
    if day > latest:
        return (
            f"day {EPOCH + timedelta(days=day)} is after today, {EPOCH + timedelta(days=latest)}; "
            "for replays and demonstrations set future_days = true"
        )
    return None
