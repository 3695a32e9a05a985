"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from dp.log.columns import FIELDS, choose_columns, day_columns
from dp.log.files import is_utf8
from dp.log.log import LogError
from dp.log.staging import Format, Locate, Record, Source, faulty, record, stage_text, text_locator


def stage(source: Source) -> Locate:
    """Stage every line that is not blank.

    Raises:
        LogError: there is none, or the keys of all objects together are not the columns of a log.
    """
    keys: set[str] = set()
    parse = partial(_records, source.columns, keys)
    stage_text(source, parse)
    if source.connection.execute("SELECT COUNT(*) FROM staged").fetchall() == [(0,)]:
        raise LogError(f"{source.path} is empty")
    if keys:
        choose_columns(source.path, sorted(keys), source.columns)
    return text_locator(source.path, parse)


def _records(columns: Mapping[str, str], keys: set[str], lines: Iterator[str]) -> Iterator[Record]:
    """One row per line that is not blank; the keys of its object are added to `keys`."""
    days = [columns.get(ours, ours) for ours in day_columns(columns)]
    user, op, at = (columns.get(ours, ours) for ours in ("user", "op", "at"))
    decode = msgspec.json.Decoder().decode
    for line, raw in enumerate(lines, start=1):
        text = raw.rstrip("\r\n")
        if not text.strip():
            continue
        try:
            row = decode(text)
        except ValueError as error:
            yield faulty(line, text, f"not JSON: {error}" if is_utf8(text) else "not UTF-8")
            continue
        if not isinstance(row, dict):
            yield faulty(line, text, "not a JSON object")
            continue
        keys.update(row)
        day = next((row[name] for name in days if row.get(name) not in (None, "")), None)
        yield _record(line, text, (row.get(user), day, row.get(op), row.get(at)))


def _record(line: int, text: str, values: tuple[Any, ...]) -> Record:
    if type(values[0]) is int:
        values = (str(values[0]), *values[1:])
    for name, value in zip(FIELDS, values, strict=True):
        if value is not None and type(value) is not str:
            wanted = "text or a whole number" if name == "user" else "text"
            return faulty(line, text, f"{name} is {json.dumps(value)[:40]}, expected {wanted}")
    return record(line, text, values)


JSONL = Format("jsonl", (".jsonl", ".ndjson"), "line", stage)
