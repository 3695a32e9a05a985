"""CSV. A row is a line: what one line says never depends on another.

`fields_of` is the definition. Lines whose fields and quotes are in order, which is nearly all of them, are parsed by
Arrow many at a time, and those that surely are not are named without a closer look: bad rows must not cost more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from numpy.typing import NDArray

from dp.log.columns import choose_columns
from dp.log.files import LogFile, is_utf8, open_bytes, printable
from dp.log.lines import BOM, TOO_LONG, Lines, lines_of
from dp.log.log import LogError
from dp.log.staging import Batch, Reading, Values, bad, stage_batches, table_of

OTHER_DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'"}
"""What else than a comma is common, and how the option spells it."""
BROKEN = "not a CSV row: a quote is not closed on its line, or text follows a closing one"
_QUOTED = re.compile(r'"((?:[^"]|"")*+)"')
_DECLARED = re.compile(rb"sep=([^\w\"\0\x80-\xff])", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Where a row has what.

    Attributes:
        names: of the columns in the file.
        delimiter: between two fields.
        positions: from a field to the position of its column.
        constants: from a field to the value that all rows have.
        fields: of a row, and what each is called.
    """

    names: list[str]
    delimiter: str
    positions: Mapping[str, int]
    constants: Mapping[str, str | None]
    fields: Mapping[str, str]

    def table_of(self, rows: Iterable[Values]) -> pa.Table:
        """The rows as columns."""
        return table_of(rows, self.fields)


def validate_delimiter(delimiter: str | None) -> None:
    """Raise ValueError unless it is None or one character that can stand between two fields."""
    if delimiter is not None and (
        len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0' or delimiter.isalnum()
    ):
        raise ValueError(f"delimiter = {delimiter!r}: give one character of ASCII such as ; or |, or tab")


def fields_of(line: str, delimiter: str) -> list[str] | str:
    """The fields of a row, or what is wrong with it.

    A field that begins with a quote ends with the next quote that is not doubled. A quote within any other field
    stands for itself.
    """
    if '"' not in line:
        return line.split(delimiter)
    fields, start = [], 0
    while True:
        if line.startswith('"', start):
            match = _QUOTED.match(line, start)
            if match is None:
                return BROKEN
            end = match.end()
            if end < len(line) and line[end] != delimiter:
                return BROKEN
            fields.append(match[1].replace('""', '"'))
        else:
            end = line.find(delimiter, start)
            end = len(line) if end < 0 else end
            fields.append(line[start:end])
        if end >= len(line):
            return fields
        start = end + 1


def stage(reading: Reading, file: LogFile) -> int:
    """Stage every row below the header that is not blank.

    Raises:
        LogError: the file has no header, or one that is not that of a log.
    """
    with open_bytes(file) as (stream, fraction):
        return stage_batches(reading, file, _batches(reading, file, lines_of(stream, reading.block), fraction))


def _batches(reading: Reading, file: LogFile, blocks: Iterator[Lines], fraction: Any) -> Iterator[Batch]:
    columns: Columns | None = None
    for block in blocks:
        lines = block
        if columns is None:
            found = _header(reading, file, lines)
            if found is None:
                continue
            columns, lines = found
        yield _batch(lines, columns)
        reading.progress("reading", fraction())
    if columns is None:
        raise LogError(f"{file} is empty: a header with the column names is needed")


def _header(reading: Reading, file: LogFile, lines: Lines) -> tuple[Columns, Lines] | None:
    """The columns and the lines behind the header; None if all lines are blank."""
    given = np.flatnonzero(lines.starts < lines.ends)[:2].tolist()
    if not given:
        return None
    index, delimiter = given[0], "\t" if file.unpacked_name.endswith(".tsv") else ","
    declared = _DECLARED.fullmatch(lines.line(index))
    if declared and len(given) > 1:
        index, delimiter = given[1], declared[1].decode("latin-1")
    delimiter = reading.delimiter or delimiter
    text = lines.text(index)
    names = fields_of(text, delimiter)
    if isinstance(names, str) or "\0" in text or not is_utf8(text) or lines.cut:
        raise LogError(
            f"{file}, line {lines.first + index}: the header is not a row of names in UTF-8 text "
            f"({printable(text[:60])!r})"
        )
    try:
        chosen = choose_columns(file, [*names, *file.constants], reading.columns, [], reading.segments)
    except LogError as error:
        raise LogError(f"{error}{_other_delimiter(text, delimiter)}") from None
    positions = {field: names.index(name) for field, name in chosen.items() if name in names}
    constants = {field: file.constants[name] for field, name in chosen.items() if name in file.constants}
    return Columns(names, delimiter, positions, constants, reading.fields), lines.after(index)


def _other_delimiter(header: str, delimiter: str) -> str:
    """What to say about a header in which something else than the delimiter separates."""
    others = [other for other in (",", *OTHER_DELIMITERS) if other in header and other != delimiter]
    if delimiter in header or not others:
        return ""
    other = max(others, key=header.count)
    return f"\nThis looks like another delimiter: --delimiter {OTHER_DELIMITERS.get(other, repr(other))}"


def _batch(lines: Lines, columns: Columns) -> Batch:
    """The rows of some lines."""
    if lines.cut:
        cut = columns.table_of([bad(TOO_LONG, len(columns.fields))])
        return _finished(lines, columns, cut, np.zeros(1, np.int64))
    given = lines.starts < lines.ends
    regular = _regular(lines, columns, given)
    if regular is not None:
        return _finished(lines, columns, regular, np.flatnonzero(given))
    judged = _judged(lines, columns.delimiter)
    sure = given & (judged.widths == len(columns.names))
    wrong = given & (judged.widths > 0) & ~sure
    broken = given & judged.broken
    rest = np.flatnonzero(given & ~sure & ~wrong & ~broken)
    quoted, plain = sure & judged.well_quoted, sure & ~judged.well_quoted
    parts = [
        (np.flatnonzero(quoted), _parsed(lines, columns, quoted)),
        (np.flatnonzero(plain), _parsed(lines, columns, plain, quote_char=False)),
        (np.flatnonzero(wrong), _of_wrong_width(judged.widths[wrong], columns)),
        (np.flatnonzero(broken), _faulty(pa.array([BROKEN]).take(pa.array(np.zeros(broken.sum(), np.int8))), columns)),
        (rest, columns.table_of(_row(line, columns) for line in lines.some(rest))),
    ]
    places = np.concatenate([indices for indices, _ in parts])
    order = np.argsort(places, kind="stable")
    rows = pa.concat_tables([part for _, part in parts]).take(pa.array(order))
    return _finished(lines, columns, rows, places[order])


def _regular(lines: Lines, columns: Columns, given: NDArray[np.bool_]) -> pa.Table | None:
    """The rows, if these lines have quotes around whole fields only and as many fields as the header; else None."""
    if not _Quotes.of(lines, columns.delimiter).well.all():
        return None
    try:
        return _parsed(lines, columns, given)
    except pa.ArrowInvalid:
        return None  # Arrow counts the fields, and says of one row only that it has others.


@dataclass(frozen=True)
class _Quotes:
    """The quotes in some lines.

    Attributes:
        well: whether each line has quotes around whole fields only, shape (lines,).
        around_fields: positions of the quotes in the lines that are well.
    """

    well: NDArray[np.bool_]
    around_fields: NDArray[np.int64]

    @classmethod
    def of(cls, lines: Lines, delimiter: str) -> _Quotes:
        """Judge all quotes at once."""
        if b'"' not in lines.content:
            return cls(np.ones(len(lines), np.bool_), np.zeros(0, np.int64))
        quotes = lines.positions('"')
        before = np.searchsorted(quotes, lines.starts)
        # Outside of a pair is the end of the field, or a quote that doubles this one. Before the first byte stands, as
        # far as indices go, the last one, which is a line feed.
        beside = np.zeros(256, np.bool_)
        beside[[ord(delimiter), ord("\n"), ord('"')]] = True
        if not (before & 1).any() and len(quotes) & 1 == 0:  # they alternate, whatever line they are on
            outside = np.concatenate([quotes[::2] - 1, quotes[1::2] + 1])
            if beside[lines.array[outside]].all():
                return cls(np.ones(len(lines), np.bool_), quotes)
        counts = np.diff(before, append=len(quotes))
        owner = np.repeat(np.arange(len(lines)), counts)
        opens = (np.arange(len(quotes)) - before[owner]) & 1 == 0
        well = counts & 1 == 0
        well[owner[~beside[lines.array[quotes + np.where(opens, -1, 1)]]]] = False
        return cls(well, quotes[well[owner]])


@dataclass(frozen=True)
class _Judged:
    """What is sure about lines without looking at each of them.

    Attributes:
        widths: how many fields each has; 0 if quotes make that unsure.
        well_quoted: whether it has quotes around whole fields only; else, if it has a width, no field begins with one.
        broken: whether it surely is no row, because of its quotes.
    """

    widths: NDArray[np.int64]
    well_quoted: NDArray[np.bool_]
    broken: NDArray[np.bool_]


def _judged(lines: Lines, delimiter: str) -> _Judged:
    quotes, delimiters = _Quotes.of(lines, delimiter), lines.positions(delimiter)
    between = delimiters[np.searchsorted(quotes.around_fields, delimiters) & 1 == 0]
    widths, broken = _counts(lines, between) + 1, np.zeros(len(lines), np.bool_)
    if not quotes.well.all():
        plain = ~quotes.well & (_counts(lines, _opening(lines, delimiter)) == 0)
        unsure = ~quotes.well & ~plain
        widths[plain], widths[unsure] = _counts(lines, delimiters)[plain] + 1, 0
        broken[unsure] = _broken(lines, unsure, delimiter)
    return _Judged(widths, quotes.well, broken)


def _counts(lines: Lines, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of these positions are in each line."""
    counts: NDArray[np.int64] = np.diff(np.searchsorted(positions, lines.ends), prepend=0)
    return counts


def _opening(lines: Lines, delimiter: str) -> NDArray[np.int64]:
    """The positions of quotes with which a field begins, if no other quote does anything."""
    quotes = lines.positions('"')
    before = lines.array[quotes - 1]  # of the first byte: the last one, a line feed
    opening: NDArray[np.int64] = quotes[(before == ord(delimiter)) | (before == ord("\n"))]
    return opening


def _broken(lines: Lines, which: NDArray[np.bool_], delimiter: str) -> NDArray[np.bool_]:
    """Which of these lines do not consist of fields."""
    separator = rf"\x{ord(delimiter):02x}"
    field = rf'(?:"(?:[^"\n]|"")*"|(?:[^"\n{separator}][^\n{separator}]*)?)'
    offsets = np.append(lines.starts, len(lines.content))
    texts = pa.Array.from_buffers(
        pa.large_binary(), len(lines), [None, pa.py_buffer(offsets), pa.py_buffer(lines.content)]
    )
    found = pa.compute.match_substring_regex(texts.filter(pa.array(which)), rf"\A{field}(?:{separator}{field})*\n\z")
    return ~found.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _of_wrong_width(widths: NDArray[np.int64], columns: Columns) -> pa.Table:
    found, which = np.unique(widths, return_inverse=True)
    faults = pa.array([_width_fault(width, len(columns.names)) for width in found], pa.string())
    return _faulty(faults.take(pa.array(which)), columns)


def _width_fault(width: int, expected: int) -> str:
    return f"{width} fields where the header has {expected}"


def _faulty(faults: pa.Array, columns: Columns) -> pa.Table:
    empty = pa.nulls(len(faults), pa.string())
    return pa.table({**dict.fromkeys(columns.fields, empty), "fault": faults})


def _parsed(lines: Lines, columns: Columns, sure: NDArray[np.bool_], quote_char: Any = '"') -> pa.Table:
    """The rows of the lines that are sure."""
    if not sure.any():
        return columns.table_of([])
    content = lines.content
    if not sure.all():
        content = lines.array[np.repeat(sure, lines.ends - lines.starts + 1)].tobytes()
    if content.startswith(BOM):
        content = BOM + content  # Arrow drops one, and it is part of the row.
    names = [str(position) for position in range(len(columns.names))]
    wanted = {names[position]: pa.binary() for position in columns.positions.values()}
    table = pa.csv.read_csv(
        pa.BufferReader(content),
        pa.csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=names),
        pa.csv.ParseOptions(
            delimiter=columns.delimiter, quote_char=quote_char, newlines_in_values=False, ignore_empty_lines=False
        ),
        pa.csv.ConvertOptions(column_types=wanted, strings_can_be_null=False, include_columns=list(wanted)),
    )
    found = {field: table[names[position]].combine_chunks() for field, position in columns.positions.items()}
    return _as_texts(found, len(table), columns.fields, sound=not len(Lines(content, 1).not_utf8))


def _as_texts(found: Mapping[str, pa.Array], rows: int, fields: Mapping[str, str], *, sound: bool) -> pa.Table:
    """The same as text; a row that is not UTF-8 in one of these columns is bad. With `sound` none is."""
    empty = pa.nulls(rows, pa.string())
    faults, foreign = empty, np.zeros(rows, np.bool_)
    for field, name in () if sound else fields.items():
        if field in found:
            here = np.zeros(rows, np.bool_)
            here[Lines(b"\n".join(found[field].to_pylist()) + b"\n", 1).not_utf8] = True
            faults = pa.compute.if_else(pa.array(here & ~foreign), f"the {name} is not UTF-8", faults)
            foreign |= here
    texts = {
        field: pa.compute.if_else(pa.array(foreign), None, column) if foreign.any() else column
        for field, column in found.items()
    }
    return pa.table(
        {**{field: texts[field].view(pa.string()) if field in texts else empty for field in fields}, "fault": faults}
    )


def _row(line: bytes, columns: Columns) -> Values:
    fields = fields_of(line.decode("utf-8", "surrogateescape"), columns.delimiter)
    if not isinstance(fields, str) and len(fields) != len(columns.names):
        fields = _width_fault(len(fields), len(columns.names))
    if isinstance(fields, str):
        return bad(fields, len(columns.fields))
    values = [fields[columns.positions[field]] if field in columns.positions else None for field in columns.fields]
    for name, value in zip(columns.fields.values(), values, strict=True):
        if value is not None and not is_utf8(value):
            return bad(f"the {name} is not UTF-8", len(columns.fields))
    return (*values, None)


def _finished(lines: Lines, columns: Columns, rows: pa.Table, indices: NDArray[np.int64]) -> Batch:
    """The batch of rows that stand on the lines of these indices."""
    for field, value in columns.constants.items():
        constant = pa.array([value] * len(rows), pa.string())
        rows = rows.set_column(rows.column_names.index(field), field, constant)
    # From a buffer: pyarrow looks at anything else with the help of pandas, which takes half a second to import.
    numbers = pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(np.arange(len(rows), dtype=np.int64))])
    rows = rows.add_column(0, "number", numbers)
    return Batch(
        rows.select(["number", *columns.fields, "fault"]),
        lines.first + indices,
        lambda numbers: lines.printed(indices[numbers]),
    )
