"""Exact DAU, WAU and MAU of both real logs equal an independent count in pandas."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dp.log import read_log
from dp.presence import DuckDBEngine, NumpyEngine
from tests.places import DATA

WINDOWS = (1, 7, 28, 30)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real logs in ../shared/data are not here"),
]


def count_active(cells: pd.DataFrame, first: date, last: date, window: int) -> list[int]:
    """Distinct users per day, from rows (user, day, since, until): on `day` present in the days [since, until)."""
    counts = []
    for now in pd.date_range(first, last):
        in_window = (cells["day"] <= now) & (cells["day"] > now - pd.Timedelta(days=window))
        valid = (cells["since"] <= now) & (cells["until"].isna() | (cells["until"] > now))
        counts.append(int(cells.loc[in_window & valid, "user"].nunique()))
    return counts


def assert_same(path: Path, columns: dict[str, str] | None, cells: pd.DataFrame) -> None:
    first, last = date(2010, 12, 1), date(2011, 12, 9)
    with read_log(path, columns=columns) as log:
        assert (log.first_day, log.last_day) == (first, last)
        assert log.users == cells["user"].nunique()
        engines = [NumpyEngine(log.connection), DuckDBEngine(log.connection)]
        answers = [engine.daily_flips(WINDOWS, first, last) for engine in engines]
    for window in WINDOWS:
        expected = count_active(cells, first, last, window)
        for found in answers:
            assert found[window].counts.values.tolist() == expected, f"window {window}"


def test_the_log_with_cancellations() -> None:
    path = DATA / "online_retail_turnstile.csv.gz"
    log = pd.read_csv(path, dtype={"user": str}, parse_dates=["day", "at"])
    log["seq"] = range(len(log))
    log = log.sort_values(["at", "seq"], kind="stable")
    # Every state of a (user, day) lasts until the next operation on it arrives.
    log["until"] = log.groupby(["user", "day"])["at"].shift(-1)
    cells = log[log["op"] == "+"].rename(columns={"at": "since"})
    assert len(cells) == 16_766
    assert_same(path, None, cells)


def test_the_invoices() -> None:
    path = DATA / "online_retail_invoices.csv.gz"
    log = pd.read_csv(path, dtype={"CustomerID": str}, parse_dates=["InvoiceDate"])
    day = log["InvoiceDate"].dt.normalize()
    cells = pd.DataFrame({"user": log["CustomerID"], "day": day, "since": day, "until": pd.NaT})
    assert_same(path, {"user": "CustomerID", "timestamp": "InvoiceDate"}, cells)
