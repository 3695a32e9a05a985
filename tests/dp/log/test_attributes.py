"""The table of users: one value of an attribute for each of them, or the row that contradicts is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from dp.log import LogError, read_attributes
from tests.dp.log.reading import parquet, write
from tests.laws import each


def known(path: Path, *columns: str) -> dict[str, tuple[str | None, ...]]:
    """User -> values."""
    attributes = read_attributes(path, columns)
    assert attributes.columns == columns
    rows = attributes.table.to_pylist()
    found = {row["user"]: tuple(row[column] for column in columns) for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.slow
def test_every_format_says_the_same(tmp_path: Path) -> None:
    text = 'user,plan,country\n17,free,GB\n\nb,"pa,id",\n17,free,GB\n'
    rows = [{"user": 17, "plan": "free", "country": "GB"}, {"user": "b", "plan": "pa,id", "country": None}]
    columns = {"user": ["17", "b"], "plan": ["free", "pa,id"], "country": ["GB", None]}
    for path in (
        write(tmp_path, text, "users.csv"), write(tmp_path, gzip.compress(text.encode()), "packed.csv.gz"),
        write(tmp_path, text.replace(",", "\t").replace("pa\tid", "pa,id"), "users.tsv"),
        write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "users.jsonl"),
        write(tmp_path, json.dumps(rows), "users.json"), parquet(tmp_path, columns, "users.parquet"),
    ):  # fmt: skip
        assert known(path, "plan", "country") == {"17": ("free", "GB"), "b": ("pa,id", None)}
        assert known(path, "country") == {"17": ("GB",), "b": (None,)}


def test_columns_of_a_log_mean_nothing_in_it(tmp_path: Path) -> None:
    text = "user,day,timestamp,op,at,plan\na,x,y,z,,free\n"
    assert known(write(tmp_path, text), "plan") == {"a": ("free",)}
    row = {"user": "a", "day": 1, "timestamp": [2], "op": 3, "at": {}, "plan": "free"}
    assert known(write(tmp_path, json.dumps(row), "users.jsonl"), "plan") == {"a": ("free",)}
    table = {"user": [1], "day": pa.array([[1]]), "timestamp": [1.5], "op": [1], "at": [True], "plan": [2]}
    assert known(parquet(tmp_path, table), "plan") == {"1": ("2",)}


def test_a_table_without_rows_knows_nobody(tmp_path: Path) -> None:
    assert known(write(tmp_path, "user,plan\n"), "plan") == {}


@pytest.mark.parametrize("second", ["paid", "", "Free", "free "])
def test_two_rows_that_differ_are_named_without_their_user(tmp_path: Path, second: str) -> None:
    path = write(tmp_path, f"user,plan\nsecret,free\n\nb,\nsecret,free\nsecret,{second}\n")
    with pytest.raises(LogError, match="row 1 and row 4 say different things of one user") as refused:
        read_attributes(path, ["plan"])
    assert "secret" not in str(refused.value)
    # Columns that nobody asked for may differ.
    assert known(write(tmp_path, "user,plan,city\na,free,x\na,free,y\n"), "plan") == {"a": ("free",)}


@each(
    ("text", "message"),
    [
        ("user,pln\n", "users.csv: no column 'plan'; columns found: user, pln$"),
        ("usr,plan\n", "users.csv: no column 'user'; columns found: usr, plan$"),
        ("user,plan\n,free\n", "1 of 1 rows are bad, so nothing was used\n  .*users.csv, line 2: empty user$"),
        ("user,plan\na,\udcff\n", "line 2: the plan is not UTF-8$"),
        ("user,plan\na,b,c\n", "line 2: 3 fields where the header has 2$"),
        ("user,plan,plan\n", "column 'plan' appears more than once; columns found: user, plan, plan$"),
        ("", "is empty: a header with the column names is needed$"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LogError, match=message):
        read_attributes(write(tmp_path, text, "users.csv"), ["plan"])


def test_a_name_of_a_log_is_no_attribute(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'day' is no name for a segment column"):
        read_attributes(write(tmp_path, "user,day\n"), ["day"])
    with pytest.raises(LogError, match="cannot be read"):
        read_attributes(tmp_path / "none.csv", ["plan"])
