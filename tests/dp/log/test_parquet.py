"""Parquet: names and types of columns, and rows that are found again."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dp.log import LogError, read_log
from tests.dp.log.reading import DAY, active, listed, parquet, read, write
from tests.laws import each

ONE = active(f"a {DAY}")


def table(**columns: Any) -> pa.Table:
    return pa.table(
        {name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()}
    )


def two_of_a_name(*names: str) -> pa.Table:
    """A column of texts a, b, c … for each name, and the last one a day."""
    values = [[chr(ord("a") + position)] for position in range(len(names) - 1)] + [[DAY]]
    return pa.Table.from_arrays([pa.array(value) for value in values], names=list(names))


@each("names", [("user", "user", "day"), ("x", "x", "user", "day"), ("user", "op", "op", "day")])
def test_two_columns_of_one_name_are_refused_in_every_format(tmp_path: Path, names: tuple[str, ...]) -> None:
    for path in (parquet(tmp_path, two_of_a_name(*names)), write(tmp_path, ",".join(names) + "\n")):
        with pytest.raises(LogError, match=r"column '\w+' appears more than once"):
            read(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [("User", "user", "day"), ("user", "User", "day"), ("USER", "user_1", "user", "day"), ("Day", "user", "day")],
)
def test_names_that_differ_in_case_are_told_apart_in_every_format(tmp_path: Path, names: tuple[str, ...]) -> None:
    rows = two_of_a_name(*names)
    (row,) = rows.to_pylist()
    for path in (
        parquet(tmp_path, rows),
        write(tmp_path, ",".join(names) + "\n" + ",".join(row[name] for name in names) + "\n"),
        write(tmp_path, json.dumps(row), "log.jsonl"),
    ):
        assert read(path) == active(f"{row['user']} {DAY}")
        assert read(path, columns={"user": names[0]}) == active(f"{row[names[0]]} {DAY}")


@pytest.mark.parametrize("name", ["User", "USER"])
def test_a_name_in_other_case_is_another_name(tmp_path: Path, name: str) -> None:
    for path in (parquet(tmp_path, {name: ["a"], "day": [DAY]}), write(tmp_path, f"{name},day\na,{DAY}\n")):
        with pytest.raises(LogError, match=f"no column 'user'.*columns found: {name}, day"):
            read(path)


def test_a_column_without_a_value_needs_no_type(tmp_path: Path) -> None:
    empty = pa.nulls(2)
    path = parquet(tmp_path, {"user": ["a", "b"], "day": [DAY, DAY], "op": empty, "at": empty, "x": empty})
    assert read(path) == active(f"a {DAY}", f"b {DAY}")
    with pytest.raises(LogError, match=r"2 of 2 rows are bad.*\n.*empty user"):
        read(parquet(tmp_path, {"user": empty, "day": [DAY, DAY]}, "nobody.parquet"))
    with pytest.raises(LogError, match=r"2 of 2 rows are bad.*\n.*no day"):
        read(parquet(tmp_path, {"user": ["a", "b"], "day": empty}, "never.parquet"))


def test_blanks_around_a_name_are_shown(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"no column 'day' for day; columns found: user, ' day', ''"):
        read(write(tmp_path, f"user, day,\na,{DAY},\n"), columns={"day": "day"})


def test_names_inside_of_columns_are_told_apart(tmp_path: Path) -> None:
    rows = pa.Table.from_pylist([{"who": {"ID": "a", "id": "b", "x": {"Id": "c"}}, "day": DAY}])
    for name, user in (("who.ID", "a"), ("who.id", "b"), ("who.x.Id", "c")):
        assert read(parquet(tmp_path, rows), columns={"user": name}) == active(f"{user} {DAY}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["file_row_number", "filename", "number", "fault", "raw", "file_index", "rowid", "used"]
)
@pytest.mark.parametrize("as_user", [True, False])
def test_any_name_of_a_column_is_only_a_name(tmp_path: Path, name: str, as_user: bool) -> None:
    days = [DAY, "never"]
    rows = {name: ["a", "b"], "day": days} if as_user else {"user": ["a", "b"], "day": days, name: [7, 8]}
    columns = {"user": name} if as_user else None
    assert read(parquet(tmp_path, rows), columns=columns, quarantine=tmp_path / "bad.csv") == ONE
    assert [row[0] for row in listed(tmp_path / "bad.csv")] == ["row", "2"]


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (pa.array([uuid.UUID(int=7).bytes], pa.binary(16)), "00000000000000000000000000000007"),
        (pa.array([b"\xff\x00"], pa.binary()), "ff00"),
        (pa.array([Decimal(12)], pa.decimal128(20, 0)), "12"),
        (pa.array([Decimal(10**30)], pa.decimal128(38, 0)), str(10**30)),
        (pa.array([2**64 - 1], pa.uint64()), str(2**64 - 1)),
        (pa.array([-3], pa.int8()), "-3"),
        (pa.array(["a"], pa.large_string()), "a"),
        (pa.array(["a"]).dictionary_encode(), "a"),
    ],
)
def test_types_of_ids(tmp_path: Path, users: pa.Array, expected: str) -> None:
    assert read(parquet(tmp_path, table(user=users, day=[DAY]))) == active(f"{expected} {DAY}")


def test_ids_of_type_uuid(tmp_path: Path) -> None:
    users = pa.array([uuid.UUID(int=7).bytes], pa.uuid())
    assert read(parquet(tmp_path, table(user=users, day=[DAY]))) == active(f"{uuid.UUID(int=7)} {DAY}")


@each(
    "users",
    [pa.array([Decimal("1.5")], pa.decimal128(20, 1)), pa.array([1.0]), pa.array([True]), pa.array([["a"]]),
     pa.array([{"a": 1}]), pa.array([None]), pa.array([np.float16(1)]), pa.array([10**40], pa.decimal256(60, 0))],
)  # fmt: skip
def test_types_that_are_no_ids_are_refused(tmp_path: Path, users: pa.Array) -> None:
    with pytest.raises(LogError, match=r"column 'user' \(user\) holds .*, expected text or whole numbers|empty user"):
        read(parquet(tmp_path, table(user=users, day=[DAY])))


def test_bad_rows_are_found_in_whatever_row_group_they_are(tmp_path: Path) -> None:
    size = 30_000
    days = [DAY] * size
    bad = [3, 9_999, 10_000, 25_001, size - 1]
    for place in bad:
        days[place] = f"never {place}"
    pq.write_table(
        table(user=[f"u{number}" for number in range(size)], day=days), tmp_path / "log.parquet", row_group_size=1000
    )
    rows = read(tmp_path / "log.parquet", quarantine=tmp_path / "bad.csv")
    assert [row[0] for row in rows] == [f"u{number}" for number in range(size) if number not in bad]
    assert [(int(row[0]), json.loads(row[2])) for row in listed(tmp_path / "bad.csv")[1:]] == [
        (place + 1, {"user": f"u{place}", "day": f"never {place}"}) for place in bad
    ]


def test_a_log_without_rows(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"user": pa.array([], pa.string()), "day": pa.array([], pa.date32())})
    with read_log(path) as log:
        assert (log.rows_read, log.first_day) == (0, None)
