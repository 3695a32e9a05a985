"""Services and threads at the same time on the same files."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dp.ledger import Ledger
from tests.oracles.service_model import FIRST, add, day, settings_in
from tests.workbench.service.common import METRICS, opened
from workbench.service import (
    Refused,
    Service,
)

pytestmark = pytest.mark.usefixtures("database")


def test_two_services_that_close_the_same_days_at_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    days = 8

    def close_all(service: Service) -> list[str]:
        started.wait()
        return [row for index in range(days) for row in service.close(day(index))]

    started = threading.Barrier(4)
    with opened(settings) as one, opened(settings) as other, ThreadPoolExecutor(4) as pool:
        one.ingest([add("ann", index) for index in range(days)])
        results = [pool.submit(close_all, service) for service in (one, other, one, other)]
        rows = {tuple(result.result()) for result in results}
        assert len(rows) == 1
        assert [count.truth for count in one.truth("dau").counts] == [1] * days
        assert len(one.charges()) == len(METRICS)
        assert [len(one.releases(metric)) for metric in METRICS] == [days] * 3


@pytest.mark.slow
def test_a_day_that_another_process_closes_meanwhile_is_no_broken_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as one, opened(settings) as other:
        one.close(day(0))
        genuine: Callable[..., list[str]] = Ledger.releases
        closing: list[threading.Thread] = []

        def releases(self: Ledger, stream: str, series: str) -> list[str]:
            if not closing:
                closing.append(threading.Thread(target=other.close, args=(day(1),)))
                closing[0].start()
                # Under the ledger's lock the other has to wait; without it, it goes through here.
                closing[0].join(1)
            return genuine(self, stream, series)

        monkeypatch.setattr(Ledger, "releases", releases)
        rows = one.close(day(0))
        closing[0].join()
        monkeypatch.undo()
        assert rows == other.close(day(0))
        assert one.close(day(1)) == other.close(day(1))


def test_two_first_days_at_once_leave_one(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as one, opened(settings) as other, ThreadPoolExecutor(2) as pool:
        outcomes = [pool.submit(service.close, day(index)) for index, service in ((3, one), (7, other))]
        refused = [outcome.exception() for outcome in outcomes]
        assert sorted(error is None for error in refused) == [False, True]
        assert isinstance(next(error for error in refused if error), Refused)
        assert one.status() == other.status()
        assert len(one.charges()) == len(METRICS)


def test_ingest_beside_a_close_loses_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as one, opened(settings) as other, ThreadPoolExecutor(3) as pool:
        writing = [
            pool.submit(lambda part=part: [one.ingest([add(f"{part}-{index}", 0)]) for index in range(60)])
            for part in range(2)
        ]
        closing = pool.submit(lambda: [other.close(day(index)) for index in range(5)])
        for job in (*writing, closing):
            job.result()
        assert one.status().operations == 120
        assert one.preview(day(5))["mau"].truth == 120
        truths = [count.truth for count in one.truth("mau").counts]
        assert truths == sorted(truths)


def test_somebody_who_reads_holds_nobody_up(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as service, ThreadPoolExecutor(1) as pool:
        service.ingest([add("ann", 0)])
        with service.access.reading() as reader:
            assert len(list(reader.waiting())) == 1
            works = [
                pool.submit(service.close, day(0)),
                pool.submit(service.ingest, [add("bob", 1)]),
                pool.submit(service.erase, "ann"),
                pool.submit(service.preview, day(1)),
            ]
            # Whoever waits for the reader waits for a minute.
            results = [work.result(timeout=30) for work in works]
            assert len(list(reader.waiting())) == 1
        assert results[3]["mau"].truth == 1
