"""A store that an earlier version made is opened, and goes on as it would have."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.service_model import FIRST, add, day, service_on, settings_in
from workbench.service import StoreError
from workbench.service.counting import Wanted, count_day, preview, recount
from workbench.service.database import writing
from workbench.service.errors import NotNext
from workbench.service.folding import Count, RecordLayout
from workbench.service.migrations.versions.version_3 import NEW_COLUMNS
from workbench.service.opening import open_store
from workbench.service.store import reading
from workbench.service.versions import VERSION
from workbench.service.writer import Writer

DATA = Path(__file__).parent / "data"


@pytest.fixture
def made() -> dict[str, Any]:
    """What version 1 answered from the store that `store_version_1.sql` makes, in random order of many operations."""
    found: dict[str, Any] = json.loads((DATA / "store_version_1.json").read_text("utf-8"))
    return found


@pytest.fixture
def path(tmp_path: Path, made: dict[str, Any]) -> Path:
    connection = sqlite3.connect(tmp_path / "store")
    connection.executescript((DATA / "store_version_1.sql").read_text("utf-8"))
    connection.close()
    (tmp_path / "key").write_bytes(bytes.fromhex(made["key"]))
    return tmp_path / "store"


def counts(found: dict[str, list[int]]) -> dict[int, Count]:
    return {int(window): Count(*values) for window, values in found.items()}


def test_a_store_of_version_1_goes_on(path: Path, made: dict[str, Any]) -> None:
    store = open_store(path, path.with_name("key"))
    bounds: dict[int, int | None] = dict(made["bounds"])
    layout = RecordLayout.needed(bounds, 24)
    assert (store.name, store.last_seq(), store.ledger) == (made["name"], made["arrived"], "a ledger")
    assert (store.published, store.charged, store.loaded("file")) == (40, 3, 7)
    assert {
        str(window): [[one.truth, one.bounded] for one in store.closed_counts(window)] for window in bounds
    } == made["closed"]
    with reading(store.database) as reader:
        for day, wanted in made["recounts"]:
            assert {str(window): recount(reader, day, window, layout) for window in bounds} == wanted
    writer = Writer(store)
    try:
        for index, wanted in enumerate(made["next"]):
            day = made["open"] + index
            with reading(store.database) as reader:
                assert preview(reader, day, Wanted(bounds, layout)).windows == counts(wanted)
            with store.database.lease():
                count_day(
                    lambda: reading(store.database),
                    lambda work: writer.submit(work).result(),
                    day,
                    Wanted(bounds, layout),
                )
            assert [store.closed_counts(window)[-1] for window in bounds] == list(counts(wanted).values())
    finally:
        writer.stop()


def test_nothing_of_version_1_is_left_and_it_is_done_once(path: Path) -> None:
    for _ in range(2):
        store = open_store(path, path.with_name("key"))
        store.connection.close()
    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert not names & {"operations", "pending", "cells", "touched", "latest", "flips", "facts"}
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_migration_that_fails_leaves_the_store_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def broken(*given: object) -> None:
        raise NotNext("broken")

    monkeypatch.setattr("workbench.service.migrations.packing_rows.split", broken)
    with pytest.raises(NotNext):
        open_store(path, path.with_name("key"))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert open_store(path, path.with_name("key")).last_seq() > 0


def test_a_store_of_a_later_version_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match=f"version 1 to {VERSION}"):
        open_store(path, path.with_name("key"))


@pytest.mark.usefixtures("database")
def test_a_store_of_version_2_goes_on(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with service_on(settings) as service:
        service.ingest([add("ann", 0), add("bob", 1)])
        service.close(FIRST)
        service.ingest([add("cem", 1)])
        rows = service.close(day(1))
    store = open_store(settings.store_place, settings.key_path)
    with writing(store.database, store.connection):
        for table, column in NEW_COLUMNS:
            store.connection.exec_driver_sql(f"ALTER TABLE {table.name} DROP COLUMN {column.name}")
        for name in ("answers", "label_codes"):
            store.connection.exec_driver_sql(f"DROP TABLE {name}")
        store.database.mark(store.connection, 2)
    store.close()
    for _ in range(2):
        with service_on(settings) as service:
            assert service.close(day(1)) == rows
            assert [one.truth for one in service.truth("wau").counts] == [1, 3]
    with service_on(settings) as service:
        service.close(day(2))
        assert [one.truth for one in service.truth("wau").counts] == [1, 3, 3]
        with service.access.reading() as store:
            assert store.database.version(store.connection) == VERSION
