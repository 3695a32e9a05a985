"""Exact DAU, WAU and MAU of real logs, read as they come, equal an independent count in pandas.

The logs of other packages lie in the folder that DPDAU_REAL_LOGS names, or in ../shared/data: `ecom.csv.gz` out of the
wheel of retentioneering (Apache-2.0) and `example_transactions.csv` out of that of lifetimes (MIT).
"""

import os
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dp.log import LogError, read_log
from dp.presence import DuckDBEngine, NumpyEngine
from tests.places import DATA

WINDOWS = (1, 7, 28, 30)

pytestmark = pytest.mark.slow


def real(name: str) -> Path:
    """The file of that name; the test is skipped where it is not."""
    places = [Path(os.environ["DPDAU_REAL_LOGS"])] if "DPDAU_REAL_LOGS" in os.environ else []
    for place in (*places, DATA):
        if (place / name).is_file():
            return place / name
    pytest.skip(f"{name} is neither in the folder that DPDAU_REAL_LOGS names nor in ../shared/data")


def count_active(cells: pd.DataFrame, first: date, last: date, window: int) -> list[int]:
    """Distinct users per day, from rows (user, day, since, until): on `day` present in the days [since, until)."""
    counts = []
    for now in pd.date_range(first, last):
        in_window = (cells["day"] <= now) & (cells["day"] > now - pd.Timedelta(days=window))
        valid = (cells["since"] <= now) & (cells["until"].isna() | (cells["until"] > now))
        counts.append(int(cells.loc[in_window & valid, "user"].nunique()))
    return counts


def count_added(activity: pd.DataFrame, window: int) -> list[int]:
    """Distinct users per day of a log without retractions, from rows (user, day): each counts on `window` days."""
    days = pd.concat(
        [activity.assign(day=activity["day"] + pd.Timedelta(days=shift)) for shift in range(window)], ignore_index=True
    )
    counts = days.drop_duplicates().groupby("day").size()
    calendar = pd.date_range(activity["day"].min(), activity["day"].max())
    return counts.reindex(calendar, fill_value=0).astype(int).tolist()


def assert_added(path: Path, activity: pd.DataFrame, **options: object) -> None:
    """The log at `path` is this activity, each row added on its day."""
    activity = activity.assign(day=activity["day"].dt.normalize()).drop_duplicates()
    with read_log(path, **options) as log:  # type: ignore[arg-type]
        assert log.period == (activity["day"].min().date(), activity["day"].max().date())
        assert log.users == activity["user"].nunique()
        found = DuckDBEngine(log.connection).daily_flips(WINDOWS, *log.period)
    for window in WINDOWS:
        assert found[window].counts.values.tolist() == count_added(activity, window), f"window {window}"


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
    path = real("online_retail_turnstile.csv.gz")
    log = pd.read_csv(path, dtype={"user": str}, parse_dates=["day", "at"])
    log["seq"] = range(len(log))
    log = log.sort_values(["at", "seq"], kind="stable")
    # Every state of a (user, day) lasts until the next operation on it arrives.
    log["until"] = log.groupby(["user", "day"])["at"].shift(-1)
    cells = log[log["op"] == "+"].rename(columns={"at": "since"})
    assert len(cells) == 16_766
    assert_same(path, None, cells)


@pytest.mark.parametrize("name", ["online_retail_invoices.csv.gz", "online_retail_countries.csv.gz"])
def test_the_invoices(name: str) -> None:
    path = real(name)
    log = pd.read_csv(path, dtype={"CustomerID": str}, parse_dates=["InvoiceDate"])
    activity = pd.DataFrame({"user": log["CustomerID"], "day": log["InvoiceDate"]})
    assert_added(path, activity, columns={"user": "CustomerID", "timestamp": "InvoiceDate"})


def test_the_changes_of_a_compiler() -> None:
    path = real("gcc_changes.csv.gz")
    assert_added(path, pd.read_csv(path, usecols=["user", "day"], parse_dates=["day"]))


def test_a_shop_of_another_package() -> None:
    path = real("ecom.csv.gz")
    log = pd.read_csv(path, parse_dates=["timestamp"])
    activity = pd.DataFrame({"user": log["user_id"], "day": log["timestamp"]})
    assert_added(path, activity, columns={"user": "user_id"})


def test_transactions_of_another_package() -> None:
    path = real("example_transactions.csv")
    log = pd.read_csv(path, dtype={"id": str}, parse_dates=["date"])
    activity = pd.DataFrame({"user": log["id"], "day": log["date"]})
    assert_added(path, activity, columns={"user": "id", "timestamp": "date"})


@pytest.mark.parametrize(
    "name", ["cdnow_customers_summary.csv", "cdnow_customers_summary_with_transactions.csv", "donations.csv"]
)
def test_a_summary_is_no_log(name: str) -> None:
    with pytest.raises(LogError, match="no column 'user'"):
        read_log(real(name))
