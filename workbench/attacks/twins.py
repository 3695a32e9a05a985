"""Services that are broken in one way each; every attack must find its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from uuid import uuid4

import msgspec
import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.attacks.ledger import CAP
from dp.presence.tombstones import pseudonyms
from workbench.attacks.asking import make_budget
from workbench.service import Service, Settings
from workbench.service.account import Account, Clock
from workbench.service.opening import open_store
from workbench.service.roster import Roster
from workbench.service.store import Store


@contextmanager
def open_with(
    settings: Settings, clock: Clock, *, store: type[Store] = Store, account: type[Account] = Account
) -> Iterator[Service]:
    """`open_service`, with parts of other kinds."""
    whole = open_store(settings.store_path, settings.key_path)
    broken = store(whole.database, whole.connection, pseudonyms(settings.key_path.read_bytes()))
    service = Service(settings, clock, broken, account(settings, clock, whole.name))
    try:
        service.finish()
        yield service
    finally:
        service.stop()


class Trusting(Account):
    """Goes on with whatever ledger it finds."""

    def check(self, ledger: object, store: object) -> None:
        """Compare nothing."""

    def check_bound(self, bound: str | None, name: str) -> None:
        """Compare nothing."""


class Forgetful(Account):
    """Forgets the keys of requests: every one is new."""

    def fresh_stream(self, metric: str, day: date, request_id: str) -> str:
        """A new stream every time."""
        return f"{super().fresh_stream(metric, day, request_id)}/{uuid4().hex}"


class Monthly(Account):
    """Charges fresh releases to a budget of the month that its clock shows, opened when it is first needed."""

    @property
    def fresh_budget(self) -> str:
        """The budget of the month."""
        name = f"fresh {self.today():%Y-%m}"
        with self.open() as ledger:
            if name not in [budget.name for budget in ledger.budgets()]:
                ledger.create_budget(name, Guarantee(CAP, 1e-4), self.today(), None)
        return name


class Resetting(Store):
    """Whose erasures take the flips away, too."""

    def put_parts(self, tick: int, rosters: Mapping[int, Roster]) -> None:
        """Forget what users have spent who leave."""
        if tick == self.progress().last:
            rosters = {part: some.some(np.any(some.users["days"], axis=1)) for part, some in rosters.items()}
        super().put_parts(tick, rosters)


@contextmanager
def open_with_own_ledger(settings: Settings, clock: Clock) -> Iterator[Service]:
    """Every process and every start keeps a ledger of its own, and nobody compares names."""
    alone = msgspec.structs.replace(settings, ledger=f"{settings.ledger}.{uuid4().hex}")
    make_budget(alone, clock)
    with open_with(alone, clock, account=Trusting) as service:
        yield service
