"""One zone database: days and instants of every zone, around every change, as datetime and zoneinfo have them."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from dp.log import read_log
from dp.log.moments import instant, wall_time
from dp.zones import DAY, EPOCH, MICROSECOND, Zone, zone_named
from tests.laws import each

NAIVE = EPOCH.replace(tzinfo=None)
HOUR = 3600 * 10**6
NEAR = (-DAY, -1, 0, HOUR // 2, HOUR)
SOME = ("Europe/Berlin", "America/New_York", "Africa/Casablanca", "Asia/Kolkata", "Pacific/Apia", "Europe/Dublin",
        "America/Sao_Paulo", "Asia/Pyongyang", "Africa/Monrovia", "UTC")  # fmt: skip


def names() -> list[str]:
    return sorted(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def oracle(name: str) -> zoneinfo.ZoneInfo:
    """The zone as the package has it, never the machine."""
    with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as stream:
        return zoneinfo.ZoneInfo.from_file(stream, key=name)


def wall(moment: int, info: zoneinfo.ZoneInfo) -> int:
    shown = (EPOCH + moment * MICROSECOND).astimezone(info)
    return (shown.replace(tzinfo=None) - NAIVE) // MICROSECOND


def moment_of(clock: int, info: zoneinfo.ZoneInfo) -> int:
    """With fold = 0, as datetime has it."""
    return ((NAIVE + clock * MICROSECOND).replace(tzinfo=info) - EPOCH) // MICROSECOND


def changes(info: zoneinfo.ZoneInfo) -> Iterator[int]:
    """Every change of the offset from 1900 to 2200 that lasts for twelve hours, found without reading files."""
    half_days = (datetime(1900, 1, 1, tzinfo=UTC) + timedelta(hours=12 * step) for step in range(2 * 109_938))
    for before, after in pairwise((moment, moment.astimezone(info).utcoffset()) for moment in half_days):
        if before[1] != after[1]:
            low, high = before[0], after[0]
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // timedelta(seconds=2) * timedelta(seconds=1)
                low, high = (middle, high) if middle.astimezone(info).utcoffset() == before[1] else (low, middle)
            yield (high - EPOCH) // MICROSECOND


def assert_same(zone: Zone, info: zoneinfo.ZoneInfo, starts: list[int], *, in_sql: bool = True) -> None:
    moments = sorted({start + near for start in starts for near in NEAR} | {-(2 * 10**15), 0, 7 * 10**15})
    clocks = sorted({wall(start, info) + near for start in starts for near in (*NEAR, -HOUR // 2)} | {0})
    assert [zone.wall_time(moment) for moment in moments] == [wall(moment, info) for moment in moments]
    assert [zone.instant(clock) for clock in clocks] == [moment_of(clock, info) for clock in clocks]
    days = [(EPOCH + moment * MICROSECOND).astimezone(info).date() for moment in moments]
    assert [zone.day(EPOCH + moment * MICROSECOND) for moment in moments] == days
    if not in_sql:
        return
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT unnest(?) AS moment", [moments])
        connection.execute("CREATE TABLE u AS SELECT unnest(?) AS clock", [clocks])
        shown = [row[0] for row in connection.execute(f"SELECT {wall_time(zone, 'moment')} FROM t").fetchall()]
        found = [row[0] for row in connection.execute(f"SELECT {instant(zone, 'clock')} FROM u").fetchall()]
    assert shown == [zone.wall_time(moment) for moment in moments]
    assert found == [zone.instant(clock) for clock in clocks]


@pytest.mark.parametrize("name", SOME)
def test_some_zones(name: str) -> None:
    zone = zone_named(name)
    assert_same(zone, oracle(name), list(zone.starts[::7]))


@pytest.mark.slow
def test_every_zone_around_every_change() -> None:
    different = {files("tzdata.zoneinfo").joinpath(*name.split("/")).read_bytes(): name for name in names()}
    for number, name in enumerate(different.values()):
        zone = zone_named(name)
        assert list(zone.starts) == sorted(set(zone.starts))
        assert list(zone.wall_starts) == sorted(zone.wall_starts)
        assert_same(zone, oracle(name), list(zone.starts), in_sql=number % 8 == 0)  # one text, other numbers


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_no_change_is_missing(name: str) -> None:
    first, last = (EPOCH.replace(year=year, day=2) for year in (1900, 2200))
    inside = range((first - EPOCH) // MICROSECOND, (last - EPOCH) // MICROSECOND)
    found = [start for start in changes(oracle(name)) if start in inside]
    assert found == [start for start in zone_named(name).starts if start in inside]


def test_the_database_is_that_of_the_package_and_not_the_machines(tmp_path: Path) -> None:
    expected = zone_named("Europe/Berlin")
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(files("tzdata.zoneinfo").joinpath("UTC").read_bytes())
    zone_named.cache_clear()
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    try:
        assert zone_named("Europe/Berlin") == expected
    finally:
        zoneinfo.reset_tzpath()


@each("name", ["Berlin", "", "../UTC", "/etc/passwd", "utc", "Europe", "Europe/Berlin "])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is unknown: give an IANA name"):
        zone_named(name)


def test_days_at_the_edge_of_the_calendar() -> None:
    zone = zone_named("Asia/Tokyo")
    assert zone.day(datetime.max.replace(tzinfo=UTC)) is None
    assert zone.day(datetime.max) == datetime.max.date()


@each("name", SOME)
def test_a_part_of_a_zone_is_right_for_its_times(name: str) -> None:
    zone = zone_named(name)
    for first, last in ((0, 0), (0, 400 * DAY), (zone.starts[-1], zone.starts[-1]) if zone.starts else (0, 0)):
        part = zone.between(first, last)
        for time in range(first - DAY, last + DAY, 3 * HOUR):
            assert (part.wall_time(time), part.instant(time)) == (zone.wall_time(time), zone.instant(time))


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_a_log_and_the_service_agree_on_every_day(tmp_path: Path, name: str) -> None:
    zone = zone_named(name)
    moments = [EPOCH + (start + near) * MICROSECOND for start in zone.starts[1::5] for near in (-1000, 0)] or [EPOCH]
    moments = [moment for moment in moments if 1900 < moment.year < 2200]
    path = tmp_path / "log.csv"
    path.write_text("user,timestamp\n" + "".join(f"u,{moment.isoformat()}\n" for moment in moments))
    with read_log(path, timezone=name) as log:
        days = log.connection.execute("SELECT DATE '1970-01-01' + day FROM operations ORDER BY seq").fetchall()
    assert [day for (day,) in days] == [zone.day(moment) for moment in moments]
