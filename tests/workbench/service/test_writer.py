"""The writer, and previews, which write nothing."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.laws import each
from tests.oracles.service_model import FIRST, START, add, day, erasure, settings_in
from tests.workbench.service.common import METRICS, opened
from workbench.service import (
    Refused,
    StoreError,
)
from workbench.service.counting import Wanted, preview
from workbench.service.folding import RecordLayout
from workbench.service.opening import open_store
from workbench.service.store import Store
from workbench.service.writer import Writer


def new_store(folder: Path) -> Store:
    return open_store(folder / "store.db", folder / "key")


def in_one_group(writer: Writer, works: list[Callable[[Store], Any]]) -> list[Future[Any]]:
    """Submit jobs while the writer is held up, so that they share a transaction."""
    held, go = threading.Event(), threading.Event()

    def hold(store: Store) -> None:
        held.set()
        go.wait(10)

    holding = writer.submit(hold)
    held.wait(10)
    futures = [writer.submit(work) for work in works]
    go.set()
    holding.result()
    return futures


def test_a_job_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    writer = Writer(new_store(tmp_path))

    def fail(store: Store) -> None:
        store.append([add("eve", 0)])
        raise RuntimeError("no")

    good = [lambda store, name=name: store.append([add(name, 0)]) for name in ("ann", "bob")]
    futures = in_one_group(writer, [good[0], fail, good[1]])
    assert [future.exception() is None for future in futures] == [True, False, True]
    assert str(futures[1].exception()) == "no"
    bounds = {1: None}
    assert (
        writer.submit(
            lambda store: preview(store, START, Wanted(bounds, RecordLayout.needed(bounds, 0))).windows[1].truth
        ).result()
        == 2
    )
    assert writer.submit(lambda store: len(store.recent(10))).result() == 2
    writer.stop()


def test_a_group_shares_a_transaction(tmp_path: Path) -> None:
    writer = Writer(new_store(tmp_path))
    began: list[str] = []
    writer.submit(
        lambda store: store.connection.connection.driver_connection.set_trace_callback(
            lambda text: began.append(text) if "BEGIN" in text else None
        )
    ).result()
    for future in in_one_group(writer, [lambda store: store.last_seq()] * 50):
        future.result()
    writer.stop()
    assert len(began) == 2, "one for the job that held the others up, one for all of them"


def test_a_result_comes_after_its_commit(tmp_path: Path) -> None:
    writer = Writer(new_store(tmp_path))
    seen: list[int] = []
    looked = threading.Semaphore(0)

    def look(future: Future[Any]) -> None:
        connection = sqlite3.connect(tmp_path / "store.db")
        seen.append(connection.execute("SELECT COUNT(*) FROM batches").fetchone()[0])
        connection.close()
        looked.release()

    for number in range(1, 6):
        future = writer.submit(lambda store, number=number: store.append([add(f"u{number}", 0)]))
        future.add_done_callback(look)
        assert looked.acquire(timeout=10)
    writer.stop()
    assert seen == [1, 2, 3, 4, 5]


def test_a_commit_that_fails_fails_its_jobs(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    writer = Writer(store)

    def spoil(store: Store) -> str:
        # The violation is noticed by COMMIT, not by the statement.
        run = store.connection.exec_driver_sql
        run("PRAGMA defer_foreign_keys = ON")
        run("INSERT INTO child VALUES (1)")
        return "done"

    def prepare(store: Store) -> None:
        store.connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        store.connection.exec_driver_sql("CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")

    store.connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    writer.submit(prepare).result()
    futures = in_one_group(writer, [spoil, lambda store: store.append([add("ann", 0)]).accepted])
    assert isinstance(futures[0].exception(), sqlite3.IntegrityError)
    assert futures[1].result() == 1
    assert (
        writer.submit(lambda store: store.connection.exec_driver_sql("SELECT * FROM child").fetchall()).result() == []
    )
    writer.stop()


def test_stopping_finishes_what_is_queued_and_takes_nothing_more(tmp_path: Path) -> None:
    writer = Writer(new_store(tmp_path))
    futures = [writer.submit(lambda store: store.append([add("ann", 0)])) for _ in range(20)]
    writer.stop()
    writer.stop()
    assert [future.result(timeout=0).seq for future in futures] == list(range(1, 21))
    with pytest.raises(StoreError, match="stopping"):
        writer.submit(lambda store: None)


@each("index", [-1, 0, 2, 40])
def test_only_the_open_day_has_a_preview(index: int, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
        with pytest.raises((Refused, StoreError), match="2026-01-02 is"):
            service.preview(day(index))
        assert [service.preview(day(1))[metric].truth for metric in METRICS] == [0, 1, 1]


def test_a_preview_leaves_the_store_as_it_is(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as service:
        service.ingest([add("ann", 0), erasure("ann", at=1), add("bob", 0)])

        def content() -> list[list[Any]]:
            connection = sqlite3.connect(settings.store_path)
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = [connection.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(tables)]
            connection.close()
            return rows

        before = content()
        assert service.preview(day(0)) == service.preview(day(0))
        assert content() == before
        service.close(day(0))
        assert content() != before
    shutil.rmtree(tmp_path)
