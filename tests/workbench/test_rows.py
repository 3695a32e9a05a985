"""Rows that are written piece by piece make the file that they make at once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

import workbench.rows
from experiments.engine.files import write_pieces_atomically
from workbench.rows import TableRow, csv_text, json_pieces, parquet_bytes

ROWS: list[TableRow] = [
    {"name": f"a, {number}", "whole": number, "real": number / 3, "never": None, "late": "x" if number > 4 else None,
     "yes": number % 2 == 0}
    for number in range(7)
]  # fmt: skip


@pytest.fixture(params=[1, 3, 7, 100])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbench.rows, "ROWS_AT_ONCE", request.param)


def as_csv(rows: list[TableRow]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_any_number_of_pieces_makes_the_same_file(number: int) -> None:
    rows = ROWS[:number]
    assert csv_text(rows) == as_csv(rows)
    assert "".join(json_pieces(iter(rows))) == "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"
    table = parquet.read_table(io.BytesIO(parquet_bytes(iter(rows))))
    assert table.to_pylist() == rows
    assert [str(table.schema.field(name).type) for name in ("whole", "real", "never")] == ["int64", "double", "null"]


@pytest.mark.usefixtures("pieces")
def test_rows_in_another_order_or_with_less_come_under_the_right_heading() -> None:
    rows = [*ROWS[:2], dict(reversed(ROWS[2].items())), {"whole": 3}, *ROWS[4:]]
    assert csv_text(rows) == as_csv(rows)
    with pytest.raises(ValueError, match="fields not in fieldnames: 'more'"):
        csv_text([*ROWS, {**ROWS[0], "more": 1}])


@pytest.mark.usefixtures("pieces")
def test_no_rows_are_a_table_too() -> None:
    assert csv_text([], ["a", "b"]) == "a,b\n"
    assert json.loads("".join(json_pieces([]))) == []
    assert parquet.read_table(io.BytesIO(parquet_bytes([]))).num_rows == 0


def test_a_file_whose_pieces_end_too_soon_does_not_appear(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise OSError("no more")

    (tmp_path / "rows.csv").write_bytes(b"before")
    with pytest.raises(OSError, match="no more"):
        write_pieces_atomically(tmp_path / "rows.csv", broken())
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert (tmp_path / "rows.csv").read_bytes() == b"before"
