"""Files that are loaded: checked as a whole, stored in parts, and taken up again where a load stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.service.access import StoreAccess
from workbench.service.errors import Refused, bad_events
from workbench.service.operations import EARLIEST, ERASE, LATEST, Ingested, Operation
from workbench.service.packing import NAME, NEVER, Arriving, Names
from workbench.service.settings import Settings
from workbench.service.store import Store


@dataclass(frozen=True)
class Loading:
    """The way of a file into a store.

    Attributes:
        faults: (index, reason) of every operation that cannot be right.
    """

    access: StoreAccess
    settings: Settings
    faults: Callable[[Iterable[Operation]], list[tuple[int, str]]]

    def resume(self, file: str) -> int:
        """How many rows of a file (named by its fingerprint) are stored already."""
        with self.access.reading() as store:
            return store.loaded(file)

    def check(self, operations: Iterable[Operation], start: int = 0) -> None:
        """Refuse a file of which a row cannot be right, before any of it is stored.

        Args:
            start: how many rows of the file there are before these.

        Raises:
            Refused: it names rows by their number in the order of arrival, from 1.
        """
        if found := self.faults(operations):
            raise bad_events(found, "row", start + 1)

    def store(self, file: str, start: int, operations: Sequence[Operation]) -> Ingested:
        """Store rows of a file from number `start` on and remember how far it got, in one transaction.

        Raises:
            Refused: a bad row; or somebody else loads this file, and is not where this load is.
        """
        self.check(operations, start)
        return self._store(file, start, len(operations), lambda store: store.append(operations, self.settings.earliest))

    def store_columns(self, file: str, start: int, columns: Arriving) -> Ingested:
        """`store` for columns in which `plain` finds nothing odd.

        Raises:
            Refused: somebody else loads this file, and is not where this load is.
        """
        earliest = self.settings.earliest
        return self._store(file, start, len(columns.op), lambda store: store.append_columns(columns, earliest))

    def names(self, users: Sequence[str]) -> Names | None:
        """The pseudonyms of users, in their order; None if one of them is no user id."""
        if self.faults(Operation(user, None, ERASE) for user in users):
            return None
        return np.frombuffer(b"".join(self.access.submit(lambda store: list(map(store.hide, users))).result()), NAME)

    def plain(self, columns: Arriving, today: int) -> bool:
        """Whether no row of the columns can be wrong. `check` says of others what is."""
        latest = LATEST if self.settings.future_days else today
        day, at, erasing = columns.day, columns.at, columns.op == ERASE
        dated = np.where(erasing, day == NEVER, (day >= EARLIEST) & (day <= latest))
        timed = (at == NEVER) | ((at >= EARLIEST) & (at <= LATEST))
        return bool((dated & timed & (np.abs(columns.op) <= 1)).all())

    def _store(self, file: str, start: int, rows: int, append: Callable[[Store], Ingested]) -> Ingested:
        def stored(store: Store) -> Ingested:
            if store.loaded(file) != start:
                raise Refused("not-next", "another process is loading this file; wait for it and start again")
            ingested = append(store)
            store.note_loaded(file, start + rows)
            return ingested

        return self.access.submit(stored).result()
