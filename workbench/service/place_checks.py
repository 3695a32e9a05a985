"""What the doctor finds where store, key and ledger lie: files, modes, disk, a database server; all is only read."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.exc import DBAPIError

from dp.database_url import DatabaseUrl, Place
from dp.ledger import LedgerError, has_ledger
from dp.ledger.postgres import OLDEST, connect, failing
from dp.ledger.schema import SCHEMA_VERSION
from workbench.service.errors import StoreError
from workbench.service.opening import has_store
from workbench.service.places import database_at
from workbench.service.settings import Settings
from workbench.service.versions import VERSION

Level = Literal["ok", "warning", "error"]
MOST_MODE = 0o600
NEEDED_BYTES = 64 * 2**20
WISHED_BYTES = 2**30
FreeBytes = Callable[[Path], int]
SERVER = ("fsync", "full_page_writes", "autovacuum")
"""Settings of a server that have to be on."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        text: what is so, and what to do unless the level is "ok".
    """

    check: str
    level: Level
    text: str


def is_there(name: str, settings: Settings) -> bool:
    """Whether there is a store, or a ledger, of that name.

    Raises:
        StoreError: the database of the store cannot be used.
        LedgerError: that of the ledger cannot be used.
    """
    if name == "store":
        return has_store(settings.store_place, settings.key_path)
    return has_ledger(settings.ledger_place)


def places(settings: Settings) -> Iterator[Finding]:
    """Whether store, key and ledger are there, and for whom."""
    named = {"store": settings.store_place, "key": settings.key_path, "ledger": settings.ledger_place}
    there: dict[str, bool] = {}
    for name, place in named.items():
        try:
            there[name] = place.exists() if name == "key" else is_there(name, settings)  # type: ignore[union-attr]
        except (StoreError, LedgerError) as error:
            yield Finding(name, "error", f"{error}; look at the server and at the setting {name}")
            return
    known = [str(named[name]) for name in ("key", "ledger") if there[name]]
    for name, place in named.items():
        if not isinstance(place, DatabaseUrl) and not place.resolve().parent.is_dir():
            yield Finding(
                name, "error", f"the folder of {place} does not exist; make it, or set {name} to another path"
            )
        elif there[name]:
            yield Finding(name, "ok", f"{place} holds it") if isinstance(place, DatabaseUrl) else _mode(name, place)
        elif name == "store" and known:
            yield Finding(
                name, "error",
                f"{place} is missing, though there is {' and '.join(known)}; put the newest copy back: a new store "
                "would be charged and drawn a second time",
            )  # fmt: skip
        elif name == "key" and there["store"]:
            yield Finding(name, "error", f"{place} is missing; put it back: without it the store cannot be opened")
        else:
            yield Finding(name, "ok", f"{place} is not there yet; it is made when it is needed")


def _mode(name: str, path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not path.is_file():
        return Finding(name, "error", f"{path} is no file; move it away")
    if mode & ~MOST_MODE:
        return Finding(name, "warning", f"{path} has mode {mode:04o}, so others may read it: chmod 600 {path}")
    if mode & MOST_MODE != MOST_MODE and name != "key":
        return Finding(name, "error", f"{path} has mode {mode:04o}; it needs 0600: chmod 600 {path}")
    return Finding(name, "ok", f"{path} is there, for its owner only")


def disks(settings: Settings, free_bytes: FreeBytes) -> Iterator[Finding]:
    """How much room there is where files lie; that of a database server is its own affair."""
    files = [place for place in (settings.store_place, settings.ledger_place) if not isinstance(place, DatabaseUrl)]
    store = settings.store_place
    size = store.stat().st_size if not isinstance(store, DatabaseUrl) and store.exists() else 0
    for folder in sorted({path.resolve().parent for path in files}):
        if not folder.is_dir():
            continue
        free = free_bytes(folder)
        said = f"{free / 2**30:.2f} GiB free in {folder}"
        if free < NEEDED_BYTES:
            yield Finding("disk", "error", f"{said}; make room, or the service answers 503")
        elif free < max(WISHED_BYTES, size):
            yield Finding("disk", "warning", f"{said}, less than a copy of the store or 1 GiB; make room soon")
        else:
            yield Finding("disk", "ok", said)


def contents(settings: Settings) -> Iterator[Finding]:
    """Whether store and ledger are whole, and of this version."""
    yield _store_content(settings.store_place, settings.key_path)
    ledger = settings.ledger_place
    if not isinstance(ledger, DatabaseUrl) and ledger.exists():
        yield _ledger_content(ledger)


def _store_content(place: Place, key_path: Path) -> Finding:
    name = "store content"
    database = database_at(place, key_path, read_only=True)
    try:
        with closing(database), database.connect() as connection:
            version, damage = database.version(connection), database.damage(connection)
    except DBAPIError as error:
        version, damage = VERSION, str(error.orig)
    if damage:
        return _damaged(name, place, damage)
    if version == VERSION:
        return Finding(name, "ok", f"{place} is whole")
    return _of_version(name, place, version or 0, VERSION)


def _ledger_content(path: Path) -> Finding:
    name = "ledger content"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA query_only = ON")
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        return _damaged(name, path, str(error))
    if said != "ok":
        return _damaged(name, path, said)
    if version == SCHEMA_VERSION:
        return Finding(name, "ok", f"{path} is whole")
    return _of_version(name, path, version, SCHEMA_VERSION)


def _damaged(name: str, place: Place, what: str) -> Finding:
    return Finding(
        name, "error",
        f"{place} is damaged ({' '.join(what.split())}); stop the service, and restore the newest copies of store and "
        "ledger",
    )  # fmt: skip


def _of_version(name: str, place: Place, version: int, wanted: int) -> Finding:
    older = 0 < version < wanted
    said = (
        "a service that starts brings it up to date; take a backup before"
        if older
        else "install the dpdau that made it, or choose another"
    )
    level: Level = "warning" if older else "error"
    return Finding(name, level, f"{place} is of version {version}, and this dpdau needs {wanted}; {said}")


def servers(settings: Settings) -> Iterator[Finding]:
    """Whether the servers of databases keep what they acknowledge."""
    urls = [place for place in (settings.store_place, settings.ledger_place) if isinstance(place, DatabaseUrl)]
    for url in dict.fromkeys(urls):
        yield from _server(url)


def _server(url: DatabaseUrl) -> Iterator[Finding]:
    def setting(name: str) -> Any:
        return connection.execute("SELECT current_setting(%s)", (name,)).fetchall()[0][0]

    try:
        with closing(connect(url)) as connection:
            version, durable = int(setting("server_version_num")) // 10_000, setting("synchronous_commit")
            off = [name for name in SERVER if setting(name) != "on"]
    except Exception as error:
        if (why := failing(error)) is None:
            raise
        yield Finding("server", "error", f"{url}: {why}")
        return
    said = f"{url} is PostgreSQL {version}"
    yield (
        Finding("server", "ok", said)
        if version >= OLDEST
        else Finding("server", "error", f"{said}; {OLDEST} is the oldest that will do")
    )
    yield (
        Finding("synchronous_commit", "ok", f"{durable}: what is acknowledged is on the server's disk")
        if durable != "off"
        else Finding("synchronous_commit", "error", "off: set it on, or what was acknowledged may be lost")
    )
    for name in off:
        level: Level = "warning" if name == "autovacuum" else "error"
        yield Finding(name, level, f"{url} has {name} = off; set it on, or data may be lost or grow without end")
