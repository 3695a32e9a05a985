"""A store of version 1 becomes one of version 2, in the transaction of whoever opens it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from workbench.service.counting import PARTS_AT_ONCE_BITS, split
from workbench.service.folding import RecordLayout, Users, by_name
from workbench.service.labels import NO_LABELS
from workbench.service.packing import NAME, NEVER, RECORD, PackedBatch, Records, by_tick, put_names
from workbench.service.roster import Roster
from workbench.service.stored_rows import batch_row, part_row
from workbench.service.tables import batches, parts, standing, tables

REMEMBERED_DAYS = 30
"""For how many past days fresh releases were drawn most; the log of version 1 has them all."""
ROWS_AT_ONCE = 100_000
OLD = ("operations", "pending", "cells", "touched", "latest", "flips", "facts")


def pack_rows(connection: Connection) -> None:
    """Turn rows into batches and parts, and remove the rows.

    An operation that has counted goes into its user's record, one that has not into a batch. Flips stay as they are
    counted. The presence of a user who was erased since the last close has ended in the log, and ends in the flips with
    the next close, as it would have before.
    """
    run = connection.execute
    facts = {name: value for name, value in run(text("SELECT name, value FROM facts"))}
    first, last = run(text("SELECT MIN(day), MAX(day) FROM closed")).one()
    flips = run(text('SELECT "window", pseudonym, spent FROM flips ORDER BY "window"')).all()
    windows = tuple(
        sorted({row.window for row in flips} | {row[0] for row in run(text('SELECT "window" FROM closed'))})
    )
    layout = RecordLayout(max(windows, default=1) + REMEMBERED_DAYS, windows)
    waiting: list[PackedBatch] = []
    counted: list[PackedBatch] = []
    for batch in _arrived(connection):
        (waiting if last is None or batch.at > last else counted).append(batch)
    tables.create_all(connection)
    if waiting:
        run(batches.insert(), [batch_row(connection, batch, NO_LABELS) for batch in waiting])
    if last is not None:
        counted.sort(key=lambda batch: (batch.at, batch.first))
        due = np.concatenate([batch.records for batch in counted]) if counted else np.zeros(0, RECORD)
        known = replace(Roster.empty(layout), users=_spent(flips, layout))
        rosters = split(known.folded(due, layout, last, 0), PARTS_AT_ONCE_BITS)
        rows = [part_row(last, part, roster) for part, roster in rosters.items()]
        if rows:
            run(parts.insert(), rows)
    run(
        standing.insert().values(
            id=1, first=first, last=last, part_bits=PARTS_AT_ONCE_BITS if last is not None else 0,
            layout=None if last is None else json.dumps(asdict(layout)),
            known_since=None if last is None else last - layout.days + 1,
            **{name: facts[name] for name in ("name", "key_check", "ledger", "arrived", "published", "charged")},
        )
    )  # fmt: skip
    for name in OLD:
        run(text(f"DROP TABLE {name}"))


def _arrived(connection: Connection) -> Iterator[PackedBatch]:
    """The log of version 1, in the order of arrival, by tick."""
    found = connection.execute(text("SELECT seq, pseudonym, day, at, op FROM operations ORDER BY seq"))
    while rows := found.fetchmany(ROWS_AT_ONCE):
        records, first = _records(rows), rows[0].seq
        yield from by_tick(records, np.array([row.at for row in rows], np.int64), first)


def _records(rows: Any) -> Records:
    records = np.zeros(len(rows), RECORD)
    put_names(records, np.frombuffer(b"".join(row.pseudonym or bytes(16) for row in rows), NAME))
    records["offset"] = [row.seq - rows[0].seq for row in rows]
    records["day"] = [NEVER if row.day is None else row.day for row in rows]
    records["op"] = [row.op for row in rows]
    return records


def _spent(flips: Any, layout: RecordLayout) -> Users:
    """Users of whom nothing is known but the flips that they have spent."""
    places = {name: place for place, name in enumerate(dict.fromkeys(row.pseudonym for row in flips))}
    users = np.zeros(len(places), layout.dtype)
    put_names(users, np.frombuffer(b"".join(places), NAME))
    for row in flips:
        users["spent"][places[row.pseudonym], layout.windows.index(row.window)] = row.spent
    return users[by_name(users)]
