"""Operations: what is refused, what is late, and loads that go on where they stopped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dp.presence.daily import day_number
from tests.laws import each
from tests.oracles.service_model import FIRST, START, add, day, erasure, retract, settings_in
from tests.workbench.service.common import opened, standing
from workbench.service import (
    ADD,
    ERASE,
    Operation,
    Refused,
    Service,
)

pytestmark = pytest.mark.usefixtures("database")

BAD = [
    Operation("", START),
    Operation(" \t", START),
    Operation("a\0b", START),
    Operation("u" * 513, START),
    Operation("\ud800", START),
    Operation("ann", None),
    Operation("ann", START, 5),
    Operation("ann", START, ERASE),
    Operation("ann", day_number(date(1899, 12, 31))),
    Operation("ann", day_number(date(2026, 6, 2))),
    Operation("ann", 10**30),
    Operation("ann", START, ADD, 10**30),
    Operation("ann", START, ADD, 10**7),
]


@pytest.fixture
def closed(tmp_path: Path, database: None) -> Iterator[Service]:
    """A service with one event, of a day that is closed."""
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
        yield service


@each("bad", BAD)
def test_one_bad_operation_refuses_the_whole_batch(closed: Service, bad: Operation) -> None:
    before = standing(closed)
    with pytest.raises(Refused, match="event 1:") as refused:
        closed.ingest([add("bob", 1), bad, add("cem", 1)])
    assert refused.value.kind == "bad-event"
    assert [index for index, _ in refused.value.faults] == [1]
    with pytest.raises(Refused, match="row 8:"):
        closed.loading.store("file", 6, [add("bob", 1), bad])
    assert standing(closed) == before
    assert closed.loading.resume("file") == 0
    assert closed.status().operations == 1


@each("user", ["", "\ud800", "a\0", "u" * 513])
def test_an_erasure_of_nobody_is_refused(user: str, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        with pytest.raises(Refused, match="user is"):
            service.erase(user)
        assert service.status().operations == 0


def test_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    ids = ["ann", "Ann", " ann", "ann ", "änn", "a\u0308nn", "'; DROP TABLE cells;--", "u" * 512, "🙂", "0", "00"]
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add(user, 0) for user in ids])
        assert service.preview(FIRST)["dau"].truth == len(ids)


def test_late_operations_count_from_the_open_day_and_are_reported(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        before_any_close = service.ingest([add("ann", 0), add("bob", -400)])
        assert (before_any_close.accepted, before_any_close.late, before_any_close.seq) == (2, 0, 2)
        service.close(day(0))
        service.close(day(1))
        published = service.releases("mau")
        found = service.ingest([add("cem", 0), add("cem", 1), add("cem", 2), retract("ann", 0), erasure("bob")])
        assert (found.accepted, found.late, found.seq) == (5, 3, 7)
        assert [count.truth for count in service.truth("mau").counts] == [1, 1]
        assert service.preview(day(2))["mau"].truth == 1, "ann went, cem came"
        assert service.releases("mau") == published


@pytest.mark.slow
def test_days_to_come_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    now = datetime(2026, 1, 3, 23, 30, tzinfo=UTC)
    with opened(settings_in(tmp_path), now) as service:
        service.ingest([add("ann", 2)])
        with pytest.raises(Refused, match="2026-01-04 is after today, 2026-01-03"):
            service.ingest([add("ann", 3)])
        for index in range(3):
            service.close(day(index))
        with pytest.raises(Refused, match="after today") as refused:
            service.close(day(3))
        assert refused.value.kind == "future-day"
    # In Berlin the next day has begun.
    (tmp_path / "berlin").mkdir()
    berlin = settings_in(tmp_path / "berlin", timezone="Europe/Berlin")
    with opened(berlin, now) as service:
        assert service.today() == day(3)
        service.ingest([add("ann", 3)])
    with opened(settings_in(tmp_path, future_days="true"), now) as service:
        service.ingest([add("ann", 40)])
        assert service.close_through(day(39)) == 37
        assert service.preview(day(40))["dau"].truth == 1
        assert [count.truth for count in service.truth("dau").counts][3:] == [0] * 37


def test_a_load_goes_on_where_it_stopped_and_not_elsewhere(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.loading.store("one", 0, [add("ann", 0), add("bob", 0)])
        assert (service.loading.resume("one"), service.loading.resume("two")) == (2, 0)
        for start in (0, 1, 3):
            with pytest.raises(Refused, match="another process"):
                service.loading.store("one", start, [add("cem", 0)])
        service.loading.store("one", 2, [add("cem", 0)])
        assert service.loading.resume("one") == 3
        assert service.preview(FIRST)["dau"].truth == 3
