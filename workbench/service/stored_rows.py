"""Batches and users as rows of their tables, with what labels mean beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Select, select

from dp.arrays import Integers
from workbench.service.labels import NO_LABELS, LabelCodes
from workbench.service.packing import PackedBatch, Records, loaded, stored
from workbench.service.roster import Roster
from workbench.service.tables import label_codes


def batch_row(connection: Connection, batch: PackedBatch, codes: LabelCodes) -> dict[str, Any]:
    """A batch as a row of its table.

    Args:
        codes: of its labels; noted where it has some.
    """
    content, labelled = stored(batch.records)
    number = _codes_number(connection, codes) if labelled else None
    return {"first": batch.first, "last": batch.last, "at": batch.at, "records": content, "labels": number}


def left_of_batch(records: Records) -> dict[str, Any]:
    """What changes in a batch's row when some of its operations are gone."""
    content, labelled = stored(records)
    return {"records": content} if labelled else {"records": content, "labels": None}


def read_batches(
    connection: Connection, query: Select[Any], options: Mapping[str, Any] | None = None
) -> Iterator[PackedBatch]:
    """Batches as they are asked for."""
    known = {row.id: LabelCodes.from_plain(json.loads(row.codes)) for row in connection.execute(select(label_codes))}
    for row in connection.execute(query, execution_options=options or {}):
        codes = NO_LABELS if row.labels is None else known[row.labels]
        yield PackedBatch(row.at, row.first, loaded(row.records, labelled=row.labels is not None), codes)


def part_row(tick: int, part: int, roster: Roster) -> dict[str, Any]:
    """Users as a row of their table."""
    users, labels, flips = roster.packed()
    return {
        "tick": tick, "part": part, "users": len(roster.users), "records": users,
        "labelled": labels or None, "flips": flips or None,
    }  # fmt: skip


def answer_row(day: int, question: str, counts: Integers) -> dict[str, Any]:
    """The counts of a question on a day as a row of their table."""
    return {"day": day, "question": question, "counts": counts.astype("<i8").tobytes()}


def _codes_number(connection: Connection, codes: LabelCodes) -> int:
    """The number of codes, which they get when they are first needed."""
    text = json.dumps(asdict(codes))
    numbers: dict[str, int] = {row.codes: row.id for row in connection.execute(select(label_codes))}
    if text not in numbers:
        numbers[text] = len(numbers) + 1
        connection.execute(label_codes.insert().values(id=numbers[text], codes=text))
    return numbers[text]
