"""Logs that an attacker writes: operations by day number, read back by the same edge as any other log."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dp.log import Log, read_log

FIRST = date(2026, 1, 1)


class LogRow(NamedTuple):
    """One row of a log; days are counted from FIRST, and the day of an erase is its arrival."""

    user: str
    day: int
    op: str
    at: int


def day(number: int) -> date:
    """The calendar day of that number."""
    return FIRST + timedelta(days=number)


def csv_text(operations: Iterable[LogRow]) -> str:
    """These operations as a file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("user", "day", "op", "at"))
    for user, number, op, at in operations:
        writer.writerow((user, "" if op == "erase" else day(number), op, day(at)))
    return text.getvalue()


def log_of_rows(operations: Iterable[LogRow], folder: Path) -> Log:
    """The log of these operations in the order of their arrival, by way of a file."""
    path = folder / "log.csv"
    path.write_text(csv_text(sorted(operations, key=lambda operation: operation.at)))
    return read_log(path)


def crowd(users: int, days: int, generator: np.random.Generator) -> list[LogRow]:
    """Everybody else: each user is active on a random third of the days."""
    active = generator.random((users, days)) < 1 / 3
    return [LogRow(f"user {user}", number, "+", number) for user, number in np.argwhere(active).tolist()]
