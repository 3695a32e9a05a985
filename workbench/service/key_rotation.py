"""A new key for the pseudonyms of a store, while no service runs.

The store has no ids, so that a new name is a keyed function of the old one. The key file grows by the new key, and all
of it is needed to hide an id (`key_file.hidden_by`). Everything that was hidden follows in one transaction. The file
with the new key lies beside the old one before, and takes its place afterwards: whoever opens the store meanwhile, or
after a crash, finds by `key_check` which of the two it is (docs/guarantees.md, section 9.6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Table, select, update

from dp.database_url import Place
from workbench.service.counting import split
from workbench.service.database import driver_errors, writing
from workbench.service.errors import StoreError
from workbench.service.key_file import adopt_key, hidden_again, new_key
from workbench.service.opening import checked_key, open_store
from workbench.service.packing import NAME, RECORD, UNLABELLED, Names, put_names
from workbench.service.store import PROBE, Store
from workbench.service.tables import batches, erasures, parts, requests, standing

Rename = Callable[[bytes], bytes]
"""From 16 bytes under the old key to as many under the new one."""


def rotate_key(place: Place, key_path: Path) -> None:
    """Hide everything in a store under a new key; durable before this returns.

    Raises:
        StoreError: a service or another command has the store open, or it cannot be used; nothing was changed.
    """
    with closing(open_store(place, key_path)) as store, driver_errors():
        if not store.database.alone(store.connection):
            raise StoreError(
                f"{place} is open in another process: stop the service, and everything else that uses the store"
            )
        with store.database.lease() as fence:
            new = new_key(key_path, checked_key(store.connection, place, key_path))
            with writing(store.database, store.connection):
                fence(store.connection)
                hide_again(store, hidden_again(new))
            adopt_key(key_path, new)
        store.look_for_remains()
        store.wipe()


def hide_again(store: Store, rename: Rename) -> None:
    """Give everything that is hidden in a store its new name, in the caller's transaction."""
    run = store.connection.execute
    check = run(select(standing.c.key_check)).scalar_one()
    run(update(standing).values(key_check=rename(bytes(check))))
    for first, content in _each(store, batches, "first", "records"):
        labels = run(select(batches.c.labels).where(batches.c.first == first)).scalar_one()
        records = np.frombuffer(content, UNLABELLED if labels is None else RECORD).copy()
        put_names(records, renamed(records, rename))
        run(update(batches).where(batches.c.first == first).values(records=records.tobytes()))
    for seq, name in _each(store, erasures, "seq", "name"):
        run(update(erasures).where(erasures.c.seq == seq).values(name=rename(name)))
    for key, digest in _each(store, requests, "key", "digest"):
        if key != PROBE:
            hidden = {"key": rename(bytes.fromhex(key)).hex(), "digest": rename(digest)}
            run(update(requests).where(requests.c.key == key).values(hidden))
    _sort_users_anew(store, rename)


def renamed(named: Names, rename: Rename) -> Names:
    """The new names of users, in their order. Nobody (all zero) stays nobody."""
    names = np.zeros(len(named), NAME)
    put_names(names, named)
    content = names.tobytes()
    size = names.dtype.itemsize
    nobody = bytes(size)
    old = (content[start : start + size] for start in range(0, len(content), size))
    return np.frombuffer(b"".join(name if name == nobody else rename(name) for name in old), NAME)


def _each(store: Store, table: Table, key: str, content: str) -> Iterator[tuple[Any, bytes]]:
    """Rows of a table one by one; they may be changed meanwhile."""
    run = store.connection.execute
    for (found,) in run(select(table.c[key]).order_by(table.c[key])).all():
        yield found, bytes(run(select(table.c[content]).where(table.c[key] == found)).scalar_one())


def _sort_users_anew(store: Store, rename: Rename) -> None:
    """Users lie in parts, and sorted, by their names. What an interrupted count has left is not read any more."""
    last, layout, bits = store.progress().last, store.layout(), store.part_bits()
    roster = None if last is None or layout is None else store.roster(layout, 0, 2**bits)
    store.connection.execute(parts.delete())
    if last is None or roster is None:
        return
    users = roster.users.copy()
    put_names(users, renamed(users, rename))
    store.put_parts(last, split(replace(roster, users=users).sorted(), bits))
