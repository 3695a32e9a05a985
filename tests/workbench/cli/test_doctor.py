"""`dpdau doctor`: every check, its three answers, and that nothing is made or changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import Run
from tests.oracles.service_model import FIRST, NOW, add, day, settings_in
from tests.places import ROOT
from workbench.service import Settings, open_service
from workbench.service.account import Account
from workbench.service.doctor import Finding, examine
from workbench.service.place_checks import NEEDED_BYTES, WISHED_BYTES

PLENTY = 2**40
DATA = ROOT / "tests/workbench/service/data"


def findings(settings: Settings, now: datetime = NOW, free: int = PLENTY) -> dict[str, Finding]:
    return {one.check: one for one in examine(settings, lambda: now, lambda folder: free)}


def levels(settings: Settings, now: datetime = NOW, free: int = PLENTY) -> dict[str, str]:
    """The checks that are not in order."""
    return {name: one.level for name, one in findings(settings, now, free).items() if one.level != "ok"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service of which one day is closed, yesterday."""
    chosen = settings_in(tmp_path)
    with open_service(chosen, lambda: NOW) as service:
        service.ingest([add("ann", 150)])
        service.close(day(150))
    return chosen


def test_a_healthy_service_is_in_order(settings: Settings) -> None:
    found = findings(settings)
    assert {one.level for one in found.values()} == {"ok"}
    assert list(found) == [
        "store", "key", "ledger", "disk", "store content", "ledger content", "key content", "store and ledger",
        "clock", "days", "horizon", "budget live",
    ]  # fmt: skip
    assert "364 of 365 days are left" in found["horizon"].text


def test_looking_makes_and_changes_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert levels(settings) == {}
    assert list(tmp_path.iterdir()) == []
    with open_service(settings, lambda: NOW) as service:
        service.ingest([add("ann", 150)])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert levels(settings) == {}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("older", ["store", "ledger"])
def test_what_an_older_version_made_is_named_and_left_as_it_is(settings: Settings, older: str) -> None:
    if older == "store":
        settings.store_path.unlink()
        script = (DATA / "store_version_1.sql").read_text("utf-8")
        settings.key_path.write_bytes(bytes.fromhex(json.loads((DATA / "store_version_1.json").read_text())["key"]))
    else:
        script = (
            "DROP TRIGGER identity_stays; DROP TRIGGER identity_remains; DROP TABLE identity; PRAGMA user_version = 1"
        )
    with closing(sqlite3.connect(getattr(settings, f"{older}_path"))) as connection:
        connection.executescript(script)
    settings.store_path.chmod(0o600)
    before = [path.read_bytes() for path in (settings.store_path, settings.ledger_path)]
    assert levels(settings) == {f"{older} content": "warning"}
    assert "is of version 1" in findings(settings)[f"{older} content"].text
    assert [path.read_bytes() for path in (settings.store_path, settings.ledger_path)] == before


def test_it_looks_while_a_server_runs(settings: Settings) -> None:
    with open_service(settings, lambda: NOW) as service:
        assert levels(settings) == {}
        assert service.ingest([add("bob", 151)]).accepted == 1


def take(name: str) -> Callable[[Settings], None]:
    def away(settings: Settings) -> None:
        getattr(settings, f"{name}_path").unlink()

    return away


def damage(name: str) -> Callable[[Settings], None]:
    def scribble(settings: Settings) -> None:
        path: Path = getattr(settings, f"{name}_path")
        content = bytearray(path.read_bytes())
        content[4096 : 4096 + 64] = b"\xff" * 64
        path.write_bytes(content)

    return scribble


def other_key(settings: Settings) -> None:
    settings.key_path.write_bytes(b"x" * 32)


def older_ledger(settings: Settings) -> None:
    content = settings.ledger_path.read_bytes()
    with open_service(settings, lambda: NOW) as service:
        service.close(day(151))
    settings.ledger_path.write_bytes(content)


def other_ledger(settings: Settings) -> None:
    settings.ledger_path.unlink()
    shutil.copy(settings.store_path, settings.store_path.with_name("copy"))
    with open_service(
        msgspec.structs.replace(settings, store=settings.store + ".new", key=settings.store + ".k"), lambda: NOW
    ) as service:
        service.close(day(150))


def readable(name: str, mode: int) -> Callable[[Settings], None]:
    return lambda settings: getattr(settings, f"{name}_path").chmod(mode)


@pytest.mark.parametrize(
    ("happens", "found", "advice"),
    [
        (take("store"), {"store": "error"}, "put the newest copy back"),
        (take("key"), {"key": "error"}, "put it back"),
        (take("ledger"), {"store and ledger": "error"}, "put the newest copy back"),
        (damage("store"), {"store content": "error"}, "restore the newest copies"),
        (damage("ledger"), {"ledger content": "error"}, "restore the newest copies"),
        (other_key, {"key content": "error"}, "put the files of one backup back together"),
        (older_ledger, {"store and ledger": "error"}, "put the newest one back"),
        (other_ledger, {"store and ledger": "error"}, "put it back"),
        (readable("store", 0o644), {"store": "warning"}, "chmod 600"),
        (readable("key", 0o640), {"key": "warning"}, "chmod 600"),
        (readable("ledger", 0o604), {"ledger": "warning"}, "chmod 600"),
        (readable("store", 0o400), {"store": "error"}, "chmod 600"),
    ],
)
def test_what_is_wrong_is_found(
    settings: Settings, happens: Callable[[Settings], None], found: dict[str, str], advice: str
) -> None:
    happens(settings)
    assert levels(settings) == found
    (name,) = found
    assert advice in findings(settings)[name].text


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (NOW - timedelta(days=5), {"clock": "error"}),
        (NOW - timedelta(hours=1), {"clock": "error"}),
        (NOW + timedelta(days=2), {}),
        (NOW + timedelta(days=3), {"days": "warning"}),
    ],
)
def test_the_clock_and_the_open_day(settings: Settings, now: datetime, found: dict[str, str]) -> None:
    assert levels(settings, now) == found


@pytest.mark.parametrize(("free", "level"), [(NEEDED_BYTES - 1, "error"), (WISHED_BYTES - 1, "warning")])
def test_a_disk_that_fills(settings: Settings, free: int, level: str) -> None:
    assert levels(settings, free=free) == {"disk": level}


@pytest.mark.slow
def test_a_horizon_that_ends(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, horizon=2)
    with open_service(settings, lambda: NOW) as service:
        service.close(day(149))
        assert levels(settings) == {"horizon": "warning"}
        service.close(day(150))
    assert levels(settings) == {"horizon": "error"}
    assert findings(settings_in(tmp_path / "other", horizon="unlimited")) is not None


def test_a_budget_that_is_too_small_or_spent(tmp_path: Path) -> None:
    small = settings_in(tmp_path, budget_epsilon=1)
    with open_service(small, lambda: NOW):
        pass
    assert levels(small) == {"budget live": "error"}
    exact = settings_in(tmp_path, budget_epsilon=1.2)
    with open_service(exact, lambda: NOW) as service:
        assert levels(exact) == {}
        service.close(day(150))
    assert levels(exact) == {"budget live": "warning"}


@pytest.mark.parametrize("first", [date(1950, 1, 1), FIRST])
def test_a_first_day_in_the_settings_that_looks_like_a_mistake(tmp_path: Path, first: date) -> None:
    settings = settings_in(tmp_path, first_day=str(first))
    with open_service(settings, lambda: NOW) as service:
        service.ingest([add("ann", 150)])
    assert levels(settings) == {"days": "warning"}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert levels(settings_in(tmp_path / "nowhere")) == {"store": "error", "key": "error", "ledger": "error"}


@pytest.mark.slow
def test_the_command_says_a_line_a_check_and_its_exit_code(run: Run, tmp_path: Path) -> None:
    assert all(line.startswith("ok") for line in run("doctor").stdout.splitlines())
    run("close", "--day", "2024-01-01", "--yes")
    assert "warning  days: 2024-01-02 is open" in run("doctor").stdout
    rows: list[dict[str, Any]] = json.loads(run("doctor", "--json").stdout)
    assert all(set(row) == {"check", "level", "text"} for row in rows)
    Path("dpdau.store.key").unlink()
    assert "error    key: dpdau.store.key is missing" in run("doctor", code=1).stdout
    assert json.loads(run("doctor", "--json", code=1).stdout)[1]["level"] == "error"


def test_a_locked_ledger_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(self: Account, ledger: object, store: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Account, "check", locked)
    assert levels(settings) == {"store and ledger": "error"}
