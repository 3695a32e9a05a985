"""Closing days by the clock: which days are due when, and what happens between stops, errors and other processes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import each
from tests.oracles.service_model import FIRST, add, day, settings_in
from workbench.service import Service, Settings, SettingsError, load_settings, open_service
from workbench.service.scheduler import LONGEST_WAIT_SECONDS, LOOK_SECONDS, Scheduler, due_day, scheduled

MIDNIGHT = datetime.combine(FIRST, time(), UTC)
DAY_SECONDS = 86_400


@dataclass
class Clock:
    """Time that passes only while somebody waits."""

    now: datetime
    end: datetime
    waited: list[float] = field(default_factory=list)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> bool:
        if seconds:
            self.waited.append(seconds)
        self.now += timedelta(seconds=seconds)
        return self.now >= self.end


def automatic(folder: Path, **changes: object) -> Settings:
    return settings_in(folder, **{"auto_close": "02:00", "first_day": str(FIRST), "horizon": 30, **changes})


def scheduler(service: Service, clock: Clock, close: Callable[[date], object] | None = None) -> Scheduler:
    return Scheduler(service, clock, close or service.close, clock.wait)


def hours(number: float) -> datetime:
    return MIDNIGHT + timedelta(hours=number)


# --- Which day is due ------------------------------------------------------------------------------------------------


@each(
    ("zone", "now", "grace", "due"),
    [
        ("UTC", "2026-01-02T02:00:00+00:00", 0, "2026-01-01"),
        ("UTC", "2026-01-02T01:59:59.999999+00:00", 0, "2025-12-31"),
        ("UTC", "2026-01-02T02:29:59+00:00", 30, "2025-12-31"),
        ("UTC", "2026-01-02T02:30:00+00:00", 30, "2026-01-01"),
        ("UTC", "2026-01-05T02:00:00+00:00", 3 * 1440, "2026-01-01"),
        ("Asia/Tokyo", "2026-01-01T17:00:00+00:00", 0, "2026-01-01"),
        ("America/Los_Angeles", "2026-01-02T09:59:00+00:00", 0, "2025-12-31"),
        # Two o'clock is skipped in spring and comes twice in autumn.
        ("Europe/Berlin", "2026-03-29T00:59:00+00:00", 0, "2026-03-27"),
        ("Europe/Berlin", "2026-03-29T01:00:00+00:00", 0, "2026-03-28"),
        ("Europe/Berlin", "2026-10-25T00:00:00+00:00", 0, "2026-10-24"),
    ],
)
def test_the_day_that_is_due(zone: str, now: str, grace: int, due: str) -> None:
    settings = load_settings(
        None, {}, [("auto_close", "02:00"), ("auto_close_grace_minutes", str(grace)), ("timezone", zone)]
    )
    assert due_day(settings, datetime.fromisoformat(now)) == date.fromisoformat(due)


@pytest.mark.slow
@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    st.times().map(lambda one: one.strftime("%H:%M")),
    st.integers(0, 2000),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "Asia/Tokyo"]),
)
def test_due_days_are_those_of_the_clock_on_the_wall(now: datetime, hour: str, grace: int, zone: str) -> None:
    settings = load_settings(
        None, {}, [("auto_close", hour), ("auto_close_grace_minutes", str(grace)), ("timezone", zone)]
    )
    wall = (now - timedelta(minutes=grace)).astimezone(ZoneInfo(zone))
    assert due_day(settings, now) == wall.date() - timedelta(days=1 if wall.time() >= time.fromisoformat(hour) else 2)


@each(
    ("given_settings", "named"),
    [
        ([("auto_close", "25:00")], "auto_close"),
        ([("auto_close", "2:00")], "auto_close"),
        ([("auto_close", "02:00:00")], "auto_close"),
        ([("auto_close", "night")], "auto_close"),
        ([("auto_close", "02:00"), ("auto_close_grace_minutes", "-1")], "auto_close_grace_minutes"),
        ([("auto_close", "02:00"), ("auto_close_grace_minutes", "43201")], "auto_close_grace_minutes"),
        ([("auto_close", "02:00"), ("future_days", "true")], "future_days"),
    ],
)
def test_impossible_settings_are_refused(given_settings: list[tuple[str, str]], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(None, {}, given_settings)
    assert load_settings(None, {}).auto_close is None
    assert load_settings(None, {}, [("auto_close", "")]).auto_close is None


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> float:
    """Looks every hour, so that days pass quickly."""
    monkeypatch.setattr("workbench.service.scheduler.LOOK_SECONDS", 3600.0)
    return 3600.0


# --- The loop --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_day_is_closed_at_its_hour(tmp_path: Path, seldom: float) -> None:
    clock = Clock(hours(12), hours(24 * 3 + 12))
    closed: list[tuple[date, datetime]] = []
    with open_service(automatic(tmp_path), clock) as service:

        def close(which: date) -> None:
            service.close(which)
            closed.append((which, clock.now))

        scheduler(service, clock, close).run()
        assert [which for which, _ in closed] == [day(0), day(1), day(2)]
        for which, at in closed:
            due = datetime.combine(which + timedelta(days=1), time(2), UTC)
            assert due <= at < due + timedelta(seconds=seldom)
        assert service.published_days() == 3


@pytest.mark.slow
def test_days_that_were_missed_are_closed_after_a_restart(tmp_path: Path) -> None:
    settings = automatic(tmp_path)
    for start, end, published in ((24 * 2, 24 * 2 + 3, 2), (24 * 9 + 1, 24 * 9 + 1.5, 8), (24 * 20, 24 * 20.5, 20)):
        clock = Clock(hours(start), hours(end))
        with open_service(settings, clock) as service:
            scheduler(service, clock).run()
            assert service.published_days() == published
            rows = service.releases("mau")
    assert len(set(rows)) == 20


@pytest.mark.slow
@pytest.mark.usefixtures("seldom")
def test_the_first_close_is_never_made_by_the_clock_alone(tmp_path: Path) -> None:
    clock = Clock(hours(0), hours(24 * 5))
    with open_service(automatic(tmp_path, first_day=""), clock) as service:
        service.ingest([add("ann", 0)])
        scheduler(service, clock).run()
        assert (service.status().first, service.charges()) == (None, [])
        service.close(day(0))
        clock.end = hours(24 * 8)
        scheduler(service, clock).run()
        assert service.status().last == day(6)


@pytest.mark.usefixtures("seldom")
def test_it_never_closes_before_the_first_day(tmp_path: Path) -> None:
    clock = Clock(hours(0), hours(40))
    with open_service(automatic(tmp_path, first_day=str(day(1))), clock) as service:
        scheduler(service, clock).run()
        assert service.status().last is None


@pytest.mark.slow
def test_errors_are_tried_again_ever_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(hours(30), hours(60))
    with open_service(automatic(tmp_path), clock) as service:
        failing = True

        def close(which: date) -> None:
            if failing:
                raise sqlite3.OperationalError("disk I/O error")
            service.close(which)

        scheduler(service, clock, close).run()
        assert clock.waited[:4] == [LOOK_SECONDS * 2**step for step in (1, 2, 3, 4)]
        assert clock.waited == sorted(clock.waited)
        assert clock.waited[-1] == LONGEST_WAIT_SECONDS
        assert len(caplog.records) == len(clock.waited)
        assert "could not be closed" in caplog.text
        failing, clock.end, clock.waited = False, hours(63), []
        scheduler(service, clock, close).run()
        assert service.status().last == day(1)
        assert set(clock.waited) == {LOOK_SECONDS}


def test_a_day_that_was_counted_is_published_at_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(hours(27), hours(27.2))
    with open_service(automatic(tmp_path), clock) as service:
        original, calls = Service._finish_closes, []

        def failing(self: Service) -> None:
            calls.append(clock.now)
            if len(calls) < 3:
                raise sqlite3.OperationalError("database or disk is full")
            original(self)

        monkeypatch.setattr(Service, "_finish_closes", failing)
        scheduler(service, clock).run()
        assert len(calls) == 3
        assert service.published_days() == 1


@pytest.mark.slow
def test_two_processes_on_one_store_close_each_day_once(tmp_path: Path) -> None:
    settings = automatic(tmp_path)
    clocks = [Clock(hours(24 * 6), hours(24 * 6.5)) for _ in range(2)]
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        services = [stack.enter_context(open_service(settings, clock)) for clock in clocks]
        for running in [pool.submit(scheduler(*pair).run) for pair in zip(services, clocks, strict=True)]:
            running.result()
        assert services[0].releases("mau") == services[1].releases("mau")
        assert [service.published_days() for service in services] == [6, 6]
        assert len(services[0].charges()) == 3


def test_it_stops_between_two_days(tmp_path: Path) -> None:
    clock = Clock(hours(24 * 20), hours(24 * 21))
    with open_service(automatic(tmp_path), clock) as service:

        def close(which: date) -> None:
            service.close(which)
            clock.now = clock.end

        scheduler(service, clock, close).run()
        assert service.status().last == day(0)


def test_the_thread_ends_with_its_block(tmp_path: Path) -> None:
    closed = threading.Event()
    with open_service(automatic(tmp_path), lambda: hours(26)) as service:
        with scheduled(service, lambda: hours(26), lambda which: (service.close(which), closed.set())):
            assert closed.wait(timeout=30)
        assert service.status().last == day(0)
        assert "dpdau scheduler" not in [thread.name for thread in threading.enumerate()]
        with scheduled(load_free(service), lambda: hours(26)):
            assert "dpdau scheduler" not in [thread.name for thread in threading.enumerate()]


def load_free(service: Service) -> Service:
    """The same service as if closing by the clock were off, as it is by default."""
    service.settings = load_settings(None, {})
    return service
