"""Days that are counted in a process of its own: the same counts, and nothing lost when that process goes away."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dp.presence.daily import day_number
from tests.oracles.service_model import add, clock, day, erasure, retract, settings_in
from tests.workbench.service.common import METRICS, opened
from workbench.service import Refused, Service, Settings, StoreError, open_service
from workbench.service.counting_process import CountingProcess

pytestmark = pytest.mark.slow


def settings_of(folder: Path) -> Settings:
    units: dict[str, Any] = {f"{metric}__unit": "user" for metric in METRICS}
    bounds: dict[str, Any] = {f"{metric}__w_bound": 3 for metric in METRICS}
    return settings_in(folder, first_day=day(0), budget_epsilon=100, **units, **bounds)


def fill(service: Service) -> None:
    for index in range(8):
        service.ingest([add(f"u{number}", index) for number in range(40) if (number * index) % 3 == 0])
        service.ingest([retract(f"u{index}", index - 1), erasure(f"u{index + 20}")])
        service.close(day(index))


def child_of(service: Service) -> int:
    assert isinstance(service._counting, CountingProcess)
    assert service._counting._child is not None
    return service._counting._child.pid


def test_another_process_counts_the_same(tmp_path: Path) -> None:
    found = []
    for name, beside in (("here", False), ("beside", True)):
        (tmp_path / name).mkdir()
        with open_service(settings_of(tmp_path / name), clock, beside=beside) as service:
            fill(service)
            found.append([service.truth(metric) for metric in METRICS])
            if beside:
                child = child_of(service)
    assert found[0] == found[1]
    assert any(count.truth != count.bounded for one in found[0] for count in one.counts)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_day_whose_process_was_killed_is_counted_when_it_is_closed_again(tmp_path: Path) -> None:
    with open_service(settings_of(tmp_path), clock, beside=True) as service:
        service.ingest([add(f"u{number}", 0) for number in range(30)])
        service.close(day(0))
        service.ingest([add(f"u{number}", 1) for number in range(20)])
        os.kill(child_of(service), signal.SIGKILL)
        charges = service.charges()
        with pytest.raises(StoreError, match="close the day again"):
            service.close(day(1))
        assert service.published_days() == 1
        service.close(day(1))
        assert [count.truth for count in service.truth("dau").counts] == [30, 20]
        assert service.charges() == charges


def test_what_a_reader_kept_the_other_process_from_wiping_is_wiped_here(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    log = settings.store_path.with_name(settings.store_path.name + "-wal")
    with open_service(settings, clock, beside=True) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
        service.ingest([add("ann", 1)])
        reader = sqlite3.connect(settings.store_path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM batches").fetchone()
        service.close(day(1))
        assert log.stat().st_size > 0
        reader.close()
        service.settled()
        assert log.stat().st_size == 0


def test_what_stops_a_count_arrives_as_it_is(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with opened(settings) as service:
        service.ingest([add("u", 0)])
        service.close(day(0))
        with service.account.open() as ledger:
            (period,) = service.account.periods(ledger)
    process = CountingProcess(settings)
    process.count(day_number(day(0)), period)  # by another process already, which stands
    settings.store_path.rename(tmp_path / "away")
    with pytest.raises(Refused, match="was moved") as refused:
        process.count(day_number(day(1)), period)
    process.stop()
    assert refused.value.kind == "unavailable"
    assert not settings.store_path.exists()
