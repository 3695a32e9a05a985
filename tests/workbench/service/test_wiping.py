"""What an erasure removed leaves no copy where the database keeps copies, as far as that is in its power."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from tests.oracles import postgres
from tests.oracles.service_model import add, day, erasure, settings_in
from tests.oracles.store_contents import rows_naming
from tests.patience import PATIENCE_SECONDS
from tests.workbench.service.common import opened

GONE = {"arrived": 0, "days": 0, "spent": 0, "leaving": 0}


@pytest.mark.parametrize("way", ["at once", "as an operation"])
def test_an_erasure_leaves_no_row_and_an_empty_write_ahead_log(way: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log = settings.store_path.with_name(settings.store_path.name + "-wal")
    with opened(settings) as service:
        service.ingest([add("ann", 0), add("bob", 0)])
        service.close(day(0))
        service.settled()
        service.ingest([add("ann", 1)])
        if not log.stat().st_size:
            # Somebody read when the close wiped, so that this was done again after the next write.
            service.ingest([add("ann", 1)])
        assert log.stat().st_size > 0
        if way == "at once":
            service.erase("ann")
        else:
            service.ingest([add("bob", 1), erasure("ann")])
        service.settled()
        # Before the next close already.
        assert log.stat().st_size == 0
        assert rows_naming(settings, "ann") == GONE
        assert service.preview(day(1))["mau"].truth == 1


def test_a_reader_puts_the_wiping_off_and_holds_nobody_up(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log = settings.store_path.with_name(settings.store_path.name + "-wal")
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        reader = sqlite3.connect(settings.store_path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM batches").fetchone()
        service.erase("ann")
        service.settled()
        assert log.stat().st_size > 0
        reader.execute("COMMIT")
        reader.close()
        service.ingest([add("bob", 0)])
        assert log.stat().st_size == 0


@pytest.mark.postgres
@pytest.mark.slow
def test_what_was_removed_is_no_dead_row_of_a_database_but_for_who_reads(
    tmp_path: Path, postgres_server: postgres.Server
) -> None:
    settings = settings_in(tmp_path, **postgres.places_on(postgres_server.port, tmp_path))
    url = settings.store_place

    def dead() -> int:
        with postgres.connected(url) as connection:
            tables = ("batches", "erasures", "parts")
            query = "SELECT dead_tuple_count FROM pgstattuple(%s)"
            return sum(connection.execute(query, (table,)).fetchone()[0] for table in tables)

    def waited_for(wanted: bool) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (dead() == 0) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        return (dead() == 0) == wanted

    with postgres.connected(url) as connection:
        connection.execute("CREATE EXTENSION pgstattuple")
    with opened(settings) as service:
        service.ingest([add("ann", 0), add("bob", 0)])
        service.close(day(0))
        service.ingest([add("ann", 1)])
        with service.access.reading() as reader:
            assert len(list(reader.waiting())) == 1
            service.erase("ann")
            service.settled()
            assert dead() > 0
            assert len(list(reader.waiting())) == 1
        assert waited_for(True)
        assert rows_naming(settings, "ann") == GONE
