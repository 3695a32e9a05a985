"""Synthetic logs: valid, reproducible, and shaped as promised."""

import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dp.log import read_log
from dp.log.generate import generate, write_log
from tests.laws import each

RATES: dict[str, float] = {"delete_rate": 0.15, "erase_rate": 0.2, "late_rate": 0.1, "rejoin_rate": 0.5}
START = date(2024, 1, 1)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return generate(2000, 120, **RATES, seed=7)


def test_the_seed_decides(table: pa.Table) -> None:
    assert generate(2000, 120, **RATES, seed=7).equals(table)
    assert not generate(2000, 120, **RATES, seed=8).equals(table)


def test_every_row_lies_in_the_period_and_is_valid(table: pa.Table) -> None:
    end = START + timedelta(days=119)
    for row in table.to_pylist():
        assert START <= row["at"] <= end
        if row["op"] == "erase":
            assert row["day"] is None
        else:
            assert START <= row["day"] <= row["at"]
    at = table["at"].to_pylist()
    assert at == sorted(at)


def test_an_erased_user_sends_nothing_more_about_the_time_before(table: pa.Table) -> None:
    erased: dict[str, date] = {}
    came_back = set()
    for row in table.to_pylist():
        if row["op"] == "erase":
            assert row["user"] not in erased  # one erase a user
            erased[row["user"]] = row["at"]
        elif row["user"] in erased:
            assert row["day"] > erased[row["user"]]
            came_back.add(row["user"])
    assert 0.1 < len(erased) / 2000 < 0.25
    assert 0.2 < len(came_back) / len(erased) < 0.6


def test_the_rates_are_met(table: pa.Table) -> None:
    counts = {row["values"]: row["counts"] for row in table["op"].value_counts().to_pylist()}
    assert 0.10 < counts["-"] / counts["+"] < 0.15  # a few fall after the period
    added = table.filter(pc.field("op") == "+")
    late = np.mean(np.array(added["at"].to_pylist()) > np.array(added["day"].to_pylist()))
    assert 0.07 < late < 0.1
    pairs = added.group_by(["user", "day"]).aggregate([])
    assert pairs.num_rows == added.num_rows


def test_the_population_is_believable() -> None:
    table = generate(4000, 140, seed=3)
    per_user = np.sort(table["user"].value_counts().field("counts").to_numpy())
    assert len(per_user) == 4000  # everyone comes
    assert np.median(per_user) < per_user.mean() / 2  # a few daily users carry the mean
    days = np.array([day.weekday() for day in table["day"].to_pylist()])
    weekend = np.mean(days >= 5) / (2 / 7)
    assert 0.6 < weekend < 0.85
    by_day = np.bincount([(day - START).days for day in table["day"].to_pylist()])
    assert by_day.max() < 2 * by_day.mean()  # no artificial first day


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
@pytest.mark.slow
def test_a_written_log_reads_back(table: pa.Table, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.{suffix}"
    write_log(table, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write_log(table, path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    with read_log(path) as log:
        found = log.connection.execute(
            "SELECT u.\"user\", DATE '1970-01-01' + o.day, o.op, DATE '1970-01-01' + o.at "
            "FROM operations AS o JOIN users AS u USING (user_id) ORDER BY o.seq"
        ).fetchall()
    codes = {"+": 1, "-": -1, "erase": 0}
    expected = [(row["user"], row["day"], codes[row["op"]], row["at"]) for row in table.to_pylist()]
    assert found == expected


def test_csv_is_plain(table: pa.Table, tmp_path: Path) -> None:
    write_log(table, tmp_path / "log.csv")
    lines = (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "user,day,op,at"
    assert '"' not in lines[1]


@each(
    ("arguments", "message"),
    [
        ({"users": 0}, "users = 0: must be at least 1"),
        ({"days": 0}, "days = 0"),
        ({"delete_rate": 1.5}, "delete_rate = 1.5: must be between 0 and 1"),
        ({"erase_rate": -0.1}, "erase_rate = -0.1"),
        ({"late_rate": float("nan")}, "late_rate = nan"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(**{"users": 10, "days": 10, "seed": 1, **arguments})


@pytest.mark.parametrize("name", ["log.txt", "log.parquet.gz", "log"])
def test_an_unknown_suffix_is_refused(table: pa.Table, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="must end in"):
        write_log(table, tmp_path / name)


def test_one_user_on_one_day() -> None:
    table = generate(1, 1, erase_rate=1.0, seed=0)
    assert table.to_pylist() == [{"user": "u0", "day": START, "op": "+", "at": START}]
