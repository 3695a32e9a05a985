"""What is counted is removed in transactions of bounded size."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dp.presence.daily import day_number
from tests.oracles.service_model import clock
from workbench.service import Operation, load_settings, open_service, store

DAY = date(2026, 1, 1)
FILES = ("store", "ledger")


@pytest.mark.parametrize("most", [1, 5, 12, 10**6])
def test_large_batches_are_removed_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(store, "MOST_CLEANED", most)
    removed = []
    cleaning = store.Store.clean

    def clean(self: store.Store, rows: int) -> bool:
        query = "SELECT first, last FROM batches"
        before = {*self.connection.exec_driver_sql(query)}
        more = cleaning(self, rows)
        gone = before - {*self.connection.exec_driver_sql(query)}
        removed.append([last - first + 1 for first, last in sorted(gone)])
        return more

    monkeypatch.setattr(store.Store, "clean", clean)
    settings = load_settings(None, {}, [(name, str(tmp_path / name)) for name in FILES])
    sizes = [4, 7, 1, 1, 12, 3]
    with open_service(settings, clock) as service:
        for number, size in enumerate(sizes):
            service.ingest([Operation(f"u{number}-{index}", day_number(DAY)) for index in range(size)])
        service.close(DAY)
        assert service.preview(date(2026, 1, 2))["wau"].truth == sum(sizes)
    gone = [batch for batch in removed if batch]
    assert [size for batch in gone for size in batch] == sizes
    assert all(len(batch) == 1 or sum(batch) <= most for batch in gone)
    assert len(gone) == {1: 6, 5: 5, 12: 4, 10**6: 1}[most]
