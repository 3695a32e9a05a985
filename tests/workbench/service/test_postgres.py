"""What only a database server can do to a service: races of several processes, lost connections, lost commits."""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from dp.ledger import LedgerError, LedgerUnavailable, open_ledger
from dp.presence.tombstones import pseudonyms
from tests.oracles import postgres
from tests.oracles.postgres import Server
from tests.oracles.service_model import FIRST, START, add, clock, day, erasure, settings_in
from tests.oracles.store_contents import arrived, counted, rows_naming
from tests.patience import PATIENCE_SECONDS
from tests.workbench.api.common import local, problem_of, users
from tests.workbench.service.common import METRICS, opened
from workbench.api.app import create_app
from workbench.service import Operation, Refused, Settings, StoreError, counting, settings_text, unavailable
from workbench.service.doctor import examine
from workbench.service.opening import open_store
from workbench.service.postgres import LEASE
from workbench.service.store import Store
from workbench.service.versions import VERSION
from workbench.service.writer import Writer

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def settings(tmp_path: Path, postgres_server: Server) -> Settings:
    return settings_in(tmp_path, **postgres.places_on(postgres_server.port, tmp_path), first_day=FIRST)


def writer_on(settings: Settings, begin: tuple[str, ...] | None) -> Writer:
    """A writer whose transactions begin with these statements; None for those of the service."""
    store = open_store(settings.store_place, settings.key_path)
    if begin is not None:
        store.database.begin_writing = begin  # type: ignore[misc]
    return Writer(store)


@pytest.mark.parametrize(
    ("begin", "outcome"),
    [
        (None, START + 1),
        (("BEGIN ISOLATION LEVEL READ COMMITTED",), START),
        (("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT pg_advisory_xact_lock(1)"), "refused"),
    ],
    ids=["the lock before the first snapshot", "no lock", "a lock that a snapshot waits for"],
)
def test_what_arrives_while_a_day_is_sealed_counts_from_the_next(
    begin: tuple[str, ...] | None, outcome: object, settings: Settings
) -> None:
    """The twins file it under the day that is counted already, where it is lost, or refuse it without need."""
    sealed, go = threading.Event(), threading.Event()
    sealing, appending = writer_on(settings, begin), writer_on(settings, begin)

    def seal(store: Store) -> None:
        store.seal(START)
        sealed.set()
        go.wait(PATIENCE_SECONDS)

    try:
        sealing_done = sealing.submit(seal)
        sealed.wait(PATIENCE_SECONDS)
        appended = appending.submit(lambda store: store.append([add("ann", 0)]))
        with pytest.raises(TimeoutError):
            # It waits here for the lock or, in a twin, for the row.
            appended.result(0.5)
        go.set()
        sealing_done.result()
        if outcome == "refused":
            with pytest.raises(Refused, match="another process was in the way"):
                appended.result()
            return
        appended.result()
        (batch,) = appending.submit(lambda store: list(store.waiting())).result()
        assert batch.at == outcome
    finally:
        sealing.stop()
        appending.stop()


def end_lease(server: Server, settings: Settings) -> None:
    """End the connection that holds the lease, as a network or an administrator may."""
    url = settings.store_place
    with postgres.connected(url) as connection:
        (ended,) = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND "
            "granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (LEASE,),
        ).fetchone()
    assert ended == 1


@pytest.mark.parametrize("fenced", [True, False])
def test_who_has_lost_the_lease_writes_nothing_after_another_has_gone_on(
    fenced: bool, settings: Settings, postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the fence, a count that was overtaken brings back a user who was erased since."""
    genuine, held, go = counting.split, threading.Event(), threading.Event()

    def once_held(users: Any, bits: int) -> Any:
        monkeypatch.setattr(counting, "split", genuine)
        held.set()
        go.wait(PATIENCE_SECONDS)
        return genuine(users, bits)

    with opened(settings) as one, opened(settings) as other, ThreadPoolExecutor(1) as pool:
        if not fenced:
            monkeypatch.setattr(counting.Counter, "_fenced", lambda counter, fence: counter.write)
        one.ingest([add("ann", 0), add("bob", 0)])
        monkeypatch.setattr(counting, "split", once_held)
        overtaken = pool.submit(one.close, day(0))
        held.wait(PATIENCE_SECONDS)
        end_lease(postgres_server, settings)
        rows = other.close(day(0))
        other.erase("ann")
        other.settled()
        assert rows_naming(settings, "ann")["days"] == 0
        go.set()
        if fenced:
            with pytest.raises(Refused, match="another process has gone on"):
                overtaken.result()
        else:
            overtaken.result()
        assert one.close(day(0)) == other.close(day(0)) == rows
        assert rows_naming(settings, "ann")["days"] == (0 if fenced else 1)
        assert [count.truth for count in one.truth("mau").counts] == [2]
        assert len(one.charges()) == len(METRICS)


def test_a_lease_waits_for_its_holder_and_for_no_lost_one(settings: Settings, postgres_server: Server) -> None:
    stores = [open_store(settings.store_place, settings.key_path) for _ in range(2)]
    got = threading.Event()

    def wait_for_it() -> None:
        with stores[1].database.lease():
            got.set()

    with ThreadPoolExecutor(1) as pool:
        with stores[0].database.lease():
            waiting = pool.submit(wait_for_it)
            assert not got.wait(0.3)
            end_lease(postgres_server, settings)
            assert got.wait(PATIENCE_SECONDS)
        waiting.result()
    for store in stores:
        store.close()


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_of_unknown_outcome_is_not_acknowledged_and_not_repeated(committed: bool, settings: Settings) -> None:
    import psycopg

    store = open_store(settings.store_place, settings.key_path)
    connection = store.connection
    genuine = connection.exec_driver_sql

    def lost(statement: str, *more: Any) -> Any:
        if statement != "COMMIT":
            return genuine(statement, *more)
        if committed:
            genuine("COMMIT")
        driver: Any = connection.connection.driver_connection
        driver.close()
        connection.invalidate()
        raise DBAPIError(statement, None, psycopg.OperationalError("server closed the connection unexpectedly"))

    connection.exec_driver_sql = lost  # type: ignore[method-assign]
    held, go = threading.Event(), threading.Event()
    writer = Writer(store)

    def hold(store: Store) -> None:
        held.set()
        go.wait(PATIENCE_SECONDS)

    jobs = [writer.submit(hold)]
    held.wait(PATIENCE_SECONDS)
    jobs += [writer.submit(lambda store, name=name: store.append([add(name, 0)])) for name in ("ann", "bob")]  # type: ignore[misc]
    go.set()
    for job in jobs[:1]:
        with pytest.raises(Refused, match="cannot be reached"):
            job.result()
    # The others were another transaction, on a new connection.
    assert [job.result().seq for job in jobs[1:]] == [1, 2]
    writer.stop()


def test_a_group_whose_commit_is_lost_is_stored_once_or_not_at_all(settings: Settings) -> None:
    import psycopg

    store = open_store(settings.store_place, settings.key_path)
    connection = store.connection
    genuine = connection.exec_driver_sql
    commits = []

    def lost(statement: str, *more: Any) -> Any:
        result = genuine(statement, *more)
        if statement == "COMMIT":
            commits.append(statement)
            if len(commits) == 2:
                connection.invalidate()
                raise DBAPIError(statement, None, psycopg.OperationalError("server closed the connection"))
        return result

    connection.exec_driver_sql = lost  # type: ignore[method-assign]
    writer = Writer(store)
    held, go = threading.Event(), threading.Event()

    def hold(store: Store) -> None:
        held.set()
        go.wait(PATIENCE_SECONDS)

    first = writer.submit(hold)
    held.wait(PATIENCE_SECONDS)
    names: Callable[[str], Any] = lambda name: writer.submit(lambda store: store.append([add(name, 0)]))  # noqa: E731
    futures = [names("ann"), names("bob")]
    go.set()
    first.result()
    for future in futures:
        with pytest.raises(Refused, match="cannot be reached"):
            future.result()
    assert writer.submit(lambda store: store.last_seq()).result() == 2
    writer.stop()


def test_a_server_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    """503 while it is away, and all that was acknowledged when it is back, without a restart."""
    with postgres.server() as server:
        settings = settings_in(tmp_path, **postgres.places_on(server.port, tmp_path), first_day=FIRST)
        with opened(settings) as service, local(create_app(service)) as client:
            client.post("/events", json=users(30)).raise_for_status()
            rows = service.close(day(0))
            for signal in postgres.ENDS:
                server.stop(signal)
                for call in (
                    lambda: client.post("/events", json=users(5)),
                    lambda: client.get("/readyz"),
                    lambda: client.get("/releases/mau"),
                    lambda: client.post("/days/2026-01-02/close"),
                ):
                    response = call()
                    problem_of(response, 503, "unavailable")
                    assert int(response.headers["retry-after"]) > 0
                assert client.get("/livez").json() == {"status": "ok"}
                assert client.get("/metrics").is_success
                server.start()
                assert client.get("/readyz").json() == {"status": "ok"}
                assert service.close(day(0)) == rows
                assert service.status().operations == 30
            client.post("/events", json=users(31)).raise_for_status()
            assert service.preview(day(1))["mau"].truth == 31


# Nothing closes a cursor whose connection breaks in between: its driver fails to, and warns when it is collected.
@pytest.mark.filterwarnings(r"ignore:<psycopg\.ServerCursor .* was deleted while still open:ResourceWarning")
def test_what_was_acknowledged_outlives_crashes_of_the_server(tmp_path: Path) -> None:
    generator = random.Random(20261130)
    acknowledged: list[int] = []
    shown: set[str] = set()
    stop = threading.Event()
    with postgres.server() as server:
        settings = settings_in(
            tmp_path, **postgres.places_on(server.port, tmp_path), first_day=FIRST, future_days="true"
        )
        with opened(settings) as service, ThreadPoolExecutor(3) as pool:

            def ingest(worker: int) -> int:
                for number in itertools.count(worker, 2):
                    if stop.is_set():
                        return number
                    with suppress(Refused):
                        service.ingest([add(f"marker-{number}", 0)])
                        acknowledged.append(number)

            def close() -> int:
                index = 0
                while not stop.is_set():
                    with suppress(Refused, LedgerUnavailable):
                        shown.update(service.close(day(index)))
                        index += 1
                return index

            working = [pool.submit(ingest, 0), pool.submit(ingest, 1)]
            closing = pool.submit(close)
            for _ in range(8):
                time.sleep(generator.uniform(0.05, 0.6))
                server.stop(postgres.ENDS[1])
                server.start()
            time.sleep(0.3)
            stop.set()
            most = max(work.result() for work in working)
            closed = closing.result()
            for index in range(closed + 1):
                shown.update(service.close(day(index)))
            assert shown == {row for metric in METRICS for row in service.releases(metric)}, "drawn again"
            assert len(service.charges()) == len(METRICS)
            key = pseudonyms(settings.key_path.read_bytes())
            words = settings.layout.words
            names = {*arrived(settings.store_place), *counted(settings.store_place, words=words)}
            stored = {number for number in range(most) if key(f"marker-{number}") in names}
            assert set(acknowledged) <= stored
            assert service.status().operations == len(stored), "each once or not at all"
            assert len(acknowledged) > 20
            assert closed > 1
    gc.collect()


def test_another_store_in_the_place_of_the_first_is_noticed(settings: Settings) -> None:
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        # Whoever writes first finds the connection lost; that is to be the request, and not the leavers' thread.
        service._leavers.stop()
        with postgres.connected(settings.store_place) as connection:
            connection.execute("UPDATE standing SET name = 'another'")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        with pytest.raises(Refused, match="cannot be used now"):
            service.ingest([add("bob", 0)])
        for _ in range(2):
            with pytest.raises(Refused, match="another store"):
                service.ingest([add("bob", 0)])
        with pytest.raises(Refused, match="another store"):
            service.status()


@pytest.mark.parametrize("gone", ["store", "database", "empty"])
def test_a_store_that_is_missing_is_not_begun_anew(gone: str, settings: Settings, postgres_server: Server) -> None:
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
    name = str(settings.store_place).rpartition("/")[2]
    with postgres_server.connected("postgres") as connection:
        connection.execute(f"DROP DATABASE {name}")
        if gone != "database":
            connection.execute(f"CREATE DATABASE {name}")
    with (
        pytest.raises(StoreError, match="does not exist" if gone == "database" else "key .* is there"),
        opened(settings),
    ):
        pass


def test_other_tables_are_left_alone(settings: Settings) -> None:
    with postgres.connected(settings.store_place) as connection:
        connection.execute("CREATE TABLE requests (key int)")
    with pytest.raises(StoreError, match='relation "requests" already exists'):
        open_store(settings.store_place, settings.key_path)
    with postgres.connected(settings.store_place) as connection:
        (tables,) = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == 1
    assert not settings.key_path.exists()


def test_commits_are_durable_whatever_the_server_thinks_by_default(settings: Settings, postgres_server: Server) -> None:
    name = str(settings.store_place).rpartition("/")[2]
    with postgres_server.connected("postgres") as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = open_store(settings.store_place, settings.key_path)
    assert store.connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    store.close()
    found = {one.check: one for one in examine(settings, clock, lambda folder: 2**40)}
    assert found["synchronous_commit"].level == "ok"


def test_a_password_is_shown_nowhere(settings: Settings, postgres_server: Server, tmp_path: Path) -> None:
    secret, plain = "s3cr3tly", str(settings.store_place)
    with postgres_server.connected("postgres") as connection:
        connection.execute(f"DROP ROLE IF EXISTS keeper; CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '{secret}'")
    url = plain.replace("postgres@", f"keeper:{secret}@")
    chosen = settings_in(tmp_path, store=url, ledger=url, key=tmp_path / "key", keys=tmp_path / "keys", first_day=FIRST)
    shown = [settings_text(chosen), repr(chosen.store_place), str(chosen.ledger_place)]
    with opened(chosen) as service, local(create_app(service)) as client:
        service.ingest([add("ann", 0), erasure("bob")])
        service.close(day(0))
        shown += [repr(service.vitals()), client.get("/metrics").text, client.get("/config").text]
    shown += [repr(one) for one in examine(chosen, clock, lambda folder: 2**40)]
    for wrong in (
        url.replace("/test_", "/missing_"), url.replace("127.0.0.1:", "127.0.0.1:1"), url + "?sslmode=nonsense",
        url + f"?password={secret}&nonsense=1", url.replace("keeper:", "nobody:"),
    ):  # fmt: skip
        with pytest.raises(StoreError) as refused:
            open_store(settings_in(tmp_path, store=wrong, key=tmp_path / "no").store_place, tmp_path / "no")
        with pytest.raises(LedgerError) as refused_too, open_ledger(wrong):
            pass
        shown += [str(refused.value), str(refused_too.value)]
    assert len(shown) > 20
    assert [text for text in shown if secret in text] == []


def test_a_ledger_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot be reached"), open_ledger("postgresql://127.0.0.1:1/x"):
        pass


@pytest.mark.parametrize("replaced", [True, False])
def test_a_ledger_that_is_replaced_while_the_service_runs_is_noticed(replaced: bool, settings: Settings) -> None:
    with opened(settings) as service:
        rows = service.close(day(0))
        with postgres.connected(settings.ledger_place) as connection:
            names = ("states", "releases", "charges", "budgets", "identity")
            connection.execute("CREATE SCHEMA elsewhere")
            for name in names:
                connection.execute(f"ALTER TABLE {name} SET SCHEMA elsewhere")
            connection.execute("ALTER FUNCTION dpdau_refuse SET SCHEMA elsewhere")
        if replaced:
            with open_ledger(settings.ledger_place):
                pass
        for use in (lambda: service.releases("mau"), service.budget, service.charges, lambda: service.close(day(1))):
            with pytest.raises((Refused, LedgerUnavailable)) as refused:
                use()
            assert unavailable(refused.value)
        with postgres.connected(settings.ledger_place) as connection:
            if replaced:
                connection.execute("DROP TABLE states, releases, charges, budgets, identity")
                connection.execute("DROP FUNCTION dpdau_refuse")
            for name in names:
                connection.execute(f"ALTER TABLE elsewhere.{name} SET SCHEMA public")
        assert service.close(day(0)) == rows
        assert len(service.charges()) == len(METRICS)


def test_operations_that_wait_are_read_beside_who_writes(settings: Settings) -> None:
    """A reader sees one moment, whatever is committed meanwhile."""
    with opened(settings) as service:
        service.ingest([Operation("ann", START)])
        with service.access.reading() as reader:
            before = [batch.first for batch in reader.waiting()]
            service.ingest([Operation("bob", START)])
            assert [batch.first for batch in reader.waiting()] == before
            assert reader.last_seq() == 1


def test_a_new_store_is_stamped_and_one_of_another_version_is_left_alone(settings: Settings) -> None:
    with opened(settings):
        pass
    with postgres.connected(settings.store_place) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(str(VERSION),)]
        connection.execute("UPDATE alembic_version SET version_num = '999'")
    with pytest.raises(StoreError, match="is not a store of version 1 to"), opened(settings):
        pass
    found = {one.check: one for one in examine(settings, clock, lambda folder: 2**40)}
    assert "is of version 999" in found["store content"].text
