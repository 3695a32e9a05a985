"""JSON Lines, one object a line, or one JSON array of objects. What one object says never depends on another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from dp.arrays import Integers
from dp.log.columns import BOTH_DAYS, CHOOSE_ONE, FIELDS, day_columns
from dp.log.files import LogFile, open_bytes
from dp.log.lines import TOO_LONG, Lines, lines_of, spelt_out
from dp.log.staging import Batch, Reading, Values, bad, stage_batches, table_of

CHUNK = 100_000
"""Elements of an array that are handed on at once."""


def stage(reading: Reading, file: LogFile) -> int:
    """Stage every line that is not blank, or every element if the whole file is one array."""
    with open_bytes(file) as (stream, fraction):
        return stage_batches(reading, file, _batches(reading, file, lines_of(stream, reading.block), fraction))


def _batches(
    reading: Reading, file: LogFile, blocks: Iterator[Lines], fraction: Callable[[], float | None]
) -> Iterator[Batch]:
    parse, kept, fields = _parser(reading, file), list[Lines](), reading.fields

    def too_long(text: bytes) -> Values:
        return bad(TOO_LONG, len(fields))

    for lines in blocks:
        kept.append(lines)
        if not lines.content.isspace():
            break
    if kept and kept[-1].content.lstrip().startswith(b"["):
        kept += blocks
        elements = _elements(b"".join(lines.content for lines in kept))
        if elements is not None:
            for start in range(0, len(elements), CHUNK):
                part = elements[start : start + CHUNK]
                yield _batch(map(bytes, part), parse, start + 1, fields)
            return
    for lines in chain(kept, blocks):
        judge = too_long if lines.cut else parse
        yield _batch(lines.some(np.arange(len(lines))), judge, lines.first, fields)
        reading.progress("reading", fraction())


def _elements(content: bytes) -> list[msgspec.Raw] | None:
    """The elements of an array, each as it stands there; None if the text is not one array."""
    try:
        return msgspec.json.decode(content, type=list[msgspec.Raw])
    except (ValueError, RecursionError):
        return None


def _batch(texts: Iterable[bytes], parse: Callable[[bytes], Values], first: int, fields: Mapping[str, str]) -> Batch:
    kept, places = list[bytes](), list[int]()
    for place, text in enumerate(texts, first):
        if text and not text.isspace():
            kept.append(text)
            places.append(place)
    rows = table_of(map(parse, kept), fields).add_column(0, "number", pa.array(range(len(kept)), pa.int64()))
    return Batch(rows, np.array(places, np.int64), lambda numbers: _printed(kept, numbers))


def _printed(rows: list[bytes], numbers: Integers) -> pa.Array:
    return pa.array([spelt_out(rows[number]) for number in numbers.tolist()], pa.string())


def _parser(reading: Reading, file: LogFile) -> Callable[[bytes], Values]:
    """Reads one object."""
    find_user, find_op, find_at = (_finder(reading.columns.get(ours, ours)) for ours in ("user", "op", "at"))
    find_days = [_finder(reading.columns.get(ours, ours)) for ours in day_columns(reading.columns)]
    find_segments = [_finder(reading.columns.get(name, name)) for name in reading.segments]
    decode = msgspec.json.Decoder().decode
    numbers, constants, fields = reading.calendar.takes_numbers, file.constants, reading.fields
    refused = partial(bad, width=len(fields))

    def parse(text: bytes) -> Values:
        try:
            row = decode(text)
        except ValueError as error:
            return refused(f"not JSON: {error}" if _is_utf8(text) else "not UTF-8")
        except RecursionError:
            return refused("not JSON: nested too deeply")
        if type(row) is not dict:
            return refused("not a JSON object")
        if constants:
            if not constants.keys().isdisjoint(row):
                return refused(f"a key that the path has too: {', '.join(sorted(constants.keys() & row.keys()))}")
            row |= constants
        day = None
        for find in find_days:
            found = find(row)
            if found is not None and found != "":
                if day is not None:
                    return refused(f"{BOTH_DAYS} ({CHOOSE_ONE})")
                day = found
        values: tuple[Any, ...] = (find_user(row), day, find_op(row), find_at(row))
        if find_segments:
            values += tuple(find(row) for find in find_segments)
        for value in values:
            if type(value) is not str and value is not None:
                return _texts(values, numbers, fields)
        return (*values, None)

    return parse


def _finder(name: str) -> Callable[[dict[str, Any]], Any]:
    """Finds what an object holds under a name, which may be a path of keys with dots in between; None if nothing."""
    if "." not in name:
        return lambda row: row.get(name)
    keys = name.split(".")

    def find(row: dict[str, Any]) -> Any:
        if name in row:
            return row[name]
        found: Any = row
        for key in keys:
            found = found.get(key) if type(found) is dict else None
        return found

    return find


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _texts(values: tuple[Any, ...], numbers: bool, fields: Mapping[str, str]) -> Values:
    texts = list[str | None]()
    for (field, name), value in zip(fields.items(), values, strict=True):
        timed, segment = field in ("day", "at"), field not in FIELDS
        if type(value) is int and (field == "user" or segment or (numbers and timed)):
            texts.append(str(value))
        elif type(value) is float and (segment or (numbers and timed)):
            texts.append(repr(value))
        elif type(value) is bool and segment:
            texts.append("true" if value else "false")
        elif value is None or type(value) is str:
            texts.append(value)
        else:
            wanted = (
                "text or a whole number" if field == "user" else "text, a number or a boolean" if segment else "text"
            )
            if timed:
                wanted = "text or a number" if numbers else "text; numbers need a --date-format such as epoch-ms"
            return bad(f"{name} is {_shown(value)}, expected {wanted}", len(fields))
    return (*texts, None)


def _shown(value: Any) -> str:
    try:
        return json.dumps(value)[:40]
    except RecursionError:
        return "nested too deeply"
