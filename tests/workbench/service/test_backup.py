"""Backups: copies that belong together, made while others write and close."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tests.laws import each
from tests.oracles.service_model import NOW, add, day, settings_in
from workbench.service import Settings, StoreError, open_service
from workbench.service.backup import NAMES, back_up
from workbench.service.doctor import examine


def restored(settings: Settings, folder: Path) -> Settings:
    return msgspec.structs.replace(
        settings, **{name: str(folder / copy) for name, copy in NAMES.items() if name not in ("key", "keys")}, key=None
    )


def test_a_backup_is_the_service_as_it_was(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    settings.keys_path.write_text("what callers may do")
    settings.keys_path.chmod(0o600)
    with open_service(settings, lambda: NOW) as service:
        service.ingest([add(f"u{index}", 0) for index in range(30)])
        rows = service.close(day(0))
        fresh = service.fresh("mau", day(0), "once")
        copies = back_up(settings, tmp_path / "backup")
        service.ingest([add("late", 0)])
    assert {stat.S_IMODE(path.stat().st_mode) for path in copies} == {0o600}
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    assert sorted(path.name for path in copies) == sorted(NAMES.values())
    assert (tmp_path / "backup" / NAMES["keys"]).read_text() == "what callers may do"
    with open_service(restored(settings, tmp_path / "backup"), lambda: NOW) as again:
        assert again.close(day(0)) == rows
        assert again.fresh("mau", day(0), "once") == fresh
        assert again.status().operations == 30
        assert len(again.close(day(1))) == 3


def test_a_backup_before_the_first_close_has_no_ledger(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with open_service(settings, lambda: NOW) as service:
        service.ingest([add("ann", 0)])
        back_up(settings, tmp_path / "backup")
    assert not settings.ledger_path.exists()
    with open_service(restored(settings, tmp_path / "backup"), lambda: NOW) as again:
        assert len(again.close(day(0))) == 3


@pytest.mark.slow
def test_backups_amid_closes_and_fresh_releases_belong_together(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, budget_epsilon=100, budget_delta=0.01)
    stop = threading.Event()
    with open_service(settings, lambda: NOW) as service, ThreadPoolExecutor(1) as pool:

        def work() -> None:
            for index in range(10_000):
                if stop.is_set():
                    return
                service.ingest([add(f"u{index}", index)])
                service.close(day(index % 150))
                service.fresh("dau", day(index % 150), str(index))

        service.close(day(0))
        working = pool.submit(work)
        for number in range(20):
            back_up(settings, tmp_path / f"backup-{number}")
        stop.set()
        working.result()
    for number in range(20):
        chosen = restored(settings, tmp_path / f"backup-{number}")
        assert "error" not in {one.level for one in examine(chosen, lambda: NOW, lambda folder: 2**40)}


@each(
    ("store", "ledger", "says"),
    [
        ("postgresql+psycopg://u:s3cret@h/d", "postgresql+psycopg://u:s3cret@h/d", "itself; run: mkdir"),
        ("postgresql+psycopg://u:s3cret@h/d", "postgresql+psycopg://u:s3cret@h/e", "stop the service meanwhile"),
        ("store", "postgresql+psycopg://u:s3cret@h/d", "cp -p store new/store"),
    ],
)
def test_a_server_copies_its_databases_itself(tmp_path: Path, store: str, ledger: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as refused:
        back_up(settings_in(tmp_path, store=store, ledger=ledger, key="k"), Path("new"))
    assert "pg_dump --format=custom --file=new/" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert str(refused.value).endswith("cp -p k new")


def test_what_cannot_be_backed_up_is_said(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with pytest.raises(StoreError, match="there is no store"):
        back_up(settings, tmp_path / "backup")
    with open_service(settings, lambda: NOW), pytest.raises(StoreError, match="cannot be made"):
        back_up(settings, tmp_path)
