"""What becomes of rows that cannot be used: an error that shows some, or a file that lists all."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.csv

from dp.log.files import LogFile, printable
from dp.log.log import LogError
from dp.log.suggestions import suggestion

SHOWN = 5
"""Bad rows that an error spells out."""

ADVICE = "To go on without them: --on-error quarantine FILE"
"""What can be done about bad rows of a log."""

BAD_ROWS = pa.schema([("place", pa.int64()), ("reason", pa.string()), ("raw", pa.string())])
"""The place of each row in its file, from 1, what is wrong with it, and its text."""


def bad_rows(place: Any, reason: Any, raw: Any) -> pa.Table:
    """A table of `BAD_ROWS` from three columns."""
    return pa.table([place, reason, raw], schema=BAD_ROWS)


class BadRows:
    """Takes the rows that cannot be used, in the order of the log. Use it as a context manager.

    With a file for them it is complete or not there at all: a half-written list would not add up.
    """

    def __init__(self, quarantine: Path | None, unit: str, *, name_files: bool) -> None:
        """`unit` is what places count, line or row; with `name_files` the list says which file a row is from."""
        self.count = 0
        self._unit = unit
        self._name_files = name_files
        self._shown: list[str] = []
        self._suggestions: dict[str, None] = {}
        self._quarantine = quarantine
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open the list."""
        if self._quarantine is not None:
            self._partial = self._quarantine.with_name(self._quarantine.name + ".partial")
            self._stream = self._stack.enter_context(self._partial.open("wb"))
            names = (*("file",) * self._name_files, self._unit, "reason", "raw")
            self._stream.write(",".join(names).encode() + b"\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the list in its place, or remove it if reading failed."""
        self._stack.close()
        if self._quarantine is not None:
            if error is None:
                self._partial.replace(self._quarantine)
            else:
                self._partial.unlink(missing_ok=True)

    def add(self, file: LogFile, rows: pa.Table) -> None:
        """Take the next rows, in the columns of `BAD_ROWS`, all of one file."""
        self.count += len(rows)
        if self._quarantine is not None:
            if self._name_files:
                rows = rows.add_column(0, "file", pa.repeat(str(file), len(rows)))
            pa.csv.write_csv(rows, self._stream, pa.csv.WriteOptions(include_header=False))
            return
        for row in rows.slice(0, SHOWN - len(self._shown)).to_pylist():
            self._shown.append(f"  {file}, {self._unit} {row['place']}: {printable(row['reason'])}")
            self._suggestions |= dict.fromkeys(suggestion(row["reason"]))

    def refuse(self, name: str, rows: int, advice: str = ADVICE) -> None:
        """Raise LogError if there are bad rows among the `rows` of the log called `name`, and no list for them."""
        if self._quarantine is None and self.count:
            more = [f"  and {self.count - SHOWN} more"] if self.count > SHOWN else []
            lines = [f"{name}: {self.count} of {rows} rows are bad, so nothing was used", *self._shown, *more]
            lines += [*self._suggestions, advice]
            raise LogError("\n".join(filter(None, lines)))
