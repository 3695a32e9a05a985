"""The ledger: budgets that cannot be overspent, and releases that cannot be drawn twice.

One SQLite file of its own, or tables of a PostgreSQL database. Charges and releases are append-only (triggers refuse
anything else), check-and-charge is one conditional UPDATE inside one write transaction, of which there is one at a
time, every charge has an idempotent key, and a release is committed together with the state of its stream before anyone
sees it.

The ledger also keeps each stream's state, which holds true counts: it is as secret as the log. A file is created
readable by its owner only.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, Protocol

from dp.accounting.composition import Guarantee
from dp.database_url import DatabaseUrl, Place, place_of
from dp.ledger import postgres, postgres_schema
from dp.ledger.schema import prepare
from dp.ledger.sqlite import create_private
from dp.ledger.values import (
    DELTA_UNITS,
    EPSILON_UNITS,
    Budget,
    BudgetExhausted,
    Charge,
    LedgerError,
    LedgerUnavailable,
    OtherParameters,
    guarantee_of,
    whole_units,
)

_SELECT_CHARGE = "SELECT sequence, stream, budget, epsilon, delta, specification, charged_at FROM charges"
_BEGIN = ("BEGIN IMMEDIATE",)
# Before the first snapshot: who waited for the lock sees what the one before has committed. Under REPEATABLE READ a
# lock that a SELECT takes comes too late, because that SELECT has chosen the snapshot before it waits; under READ
# COMMITTED without a lock, what was looked at may have changed before the next statement.
_BEGIN_POSTGRES = ("BEGIN ISOLATION LEVEL READ COMMITTED", "LOCK TABLE budgets IN EXCLUSIVE MODE")


class LedgerConnection(Protocol):
    """What a ledger needs of a connection; parameters are written as ?."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Any:
        """Run a statement; returns its rows."""

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]], /) -> Any:
        """Run a statement for each row."""


class Ledger:
    """An open ledger; use `open_ledger`.

    Attributes:
        place: where it lies.
    """

    def __init__(self, connection: LedgerConnection, place: Place) -> None:
        self._connection = connection
        self.place = place

    @property
    def name(self) -> str:
        """A random name, given when the ledger was made, that tells two ledgers apart."""
        return str(self._connection.execute("SELECT name FROM identity").fetchone()[0])

    def create_budget(self, name: str, cap: Guarantee, starts: date, ends: date | None) -> Budget:
        """Open a budget for a period. Nothing resets: a new period is a new budget.

        Raises:
            ValueError: the cap or the period is out of range.
            LedgerError: a budget of that name exists.
        """
        if not (0 < cap.epsilon <= 1e9 and 0 <= cap.delta < 1):
            raise ValueError(
                f"cap is epsilon {cap.epsilon}, delta {cap.delta}; it needs epsilon > 0 and 0 <= delta < 1"
            )
        if ends is not None and ends < starts:
            raise ValueError(f"the period ends on {ends}, before it starts on {starts}")
        with self.transaction():
            if self._connection.execute("SELECT 1 FROM budgets WHERE name = ?", (name,)).fetchone():
                raise LedgerError(f"budget {name!r} exists already; budgets never reset, choose another name")
            self._connection.execute(
                "INSERT INTO budgets (name, starts, ends, epsilon_cap, delta_cap) VALUES (?, ?, ?, ?, ?)",
                (
                    name,
                    starts.isoformat(),
                    ends.isoformat() if ends else None,
                    whole_units(cap.epsilon, EPSILON_UNITS),
                    whole_units(cap.delta, DELTA_UNITS),
                ),
            )
        return self.budget(name)

    def budget(self, name: str) -> Budget:
        """The budget of that name, as it stands.

        Raises:
            LedgerError: there is none.
        """
        found = [budget for budget in self.budgets() if budget.name == name]
        if not found:
            names = ", ".join(budget.name for budget in self.budgets()) or "none yet"
            raise LedgerError(f"budget {name!r} does not exist; the ledger has: {names}")
        return found[0]

    def budgets(self) -> list[Budget]:
        """All budgets, by name."""
        rows = self._connection.execute(
            "SELECT name, starts, ends, epsilon_cap, delta_cap, epsilon_spent, delta_spent FROM budgets ORDER BY name"
        )
        return [
            Budget(
                name,
                date.fromisoformat(starts),
                date.fromisoformat(ends) if ends else None,
                guarantee_of(epsilon_cap, delta_cap),
                guarantee_of(epsilon_spent, delta_spent),
                guarantee_of(epsilon_cap - epsilon_spent, delta_cap - delta_spent),
            )
            for name, starts, ends, epsilon_cap, delta_cap, epsilon_spent, delta_spent in rows
        ]

    def charges(self) -> list[Charge]:
        """All charges, oldest first."""
        return [self._charge_of(row) for row in self._connection.execute(f"{_SELECT_CHARGE} ORDER BY sequence")]

    def find_charge(self, stream: str) -> Charge | None:
        """The charge of a stream, or None."""
        row = self._connection.execute(f"{_SELECT_CHARGE} WHERE stream = ?", (stream,)).fetchone()
        return self._charge_of(row) if row else None

    def charge(
        self, stream: str, budget: str, guarantee: Guarantee, specification: Mapping[str, Any], now: datetime
    ) -> Charge:
        """Check and charge in one atomic step; for a stream that was charged before, return that charge at no cost.

        Raises:
            BudgetExhausted: the charge does not fit.
            LedgerError: the budget does not exist or its period is not running.
            OtherParameters: the stream was opened with another specification, budget or charge.
            ValueError: ε is not positive and finite, or δ not in [0, 1).
        """
        if not (0 < guarantee.epsilon < 1e9 and 0 <= guarantee.delta < 1):
            raise ValueError(f"a charge of {guarantee} is not a guarantee: epsilon must be positive, delta in [0, 1)")
        epsilon, delta = whole_units(guarantee.epsilon, EPSILON_UNITS), whole_units(guarantee.delta, DELTA_UNITS)
        wanted = json.loads(json.dumps(specification))
        with self.transaction():
            if earlier := self.find_charge(stream):
                asked = {**wanted, "budget": budget, "charge": list(guarantee_of(epsilon, delta))}
                opened = {**earlier.specification, "budget": earlier.budget, "charge": list(earlier.guarantee)}
                if opened != asked:
                    raise OtherParameters(stream, opened, asked)
                return earlier
            standing = self.budget(budget)
            if now.date() < standing.starts or (standing.ends and now.date() > standing.ends):
                raise LedgerError(
                    f"budget {budget!r} covers {standing.period}, not {now.date()}; "
                    "open a budget for this period (nothing resets by itself)"
                )
            changed = self._connection.execute(
                "UPDATE budgets SET epsilon_spent = epsilon_spent + ?, delta_spent = delta_spent + ? "
                "WHERE name = ? AND epsilon_spent + ? <= epsilon_cap AND delta_spent + ? <= delta_cap",
                (epsilon, delta, budget, epsilon, delta),
            ).rowcount
            if changed != 1:
                raise BudgetExhausted(standing, guarantee)
            self._connection.execute(
                "INSERT INTO charges (stream, budget, epsilon, delta, specification, charged_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    stream,
                    budget,
                    epsilon,
                    delta,
                    json.dumps(wanted, sort_keys=True),
                    now.isoformat(timespec="seconds"),
                ),
            )
            made = self.find_charge(stream)
        assert made is not None
        return made

    def validate_room(self, budget: str, guarantee: Guarantee) -> None:
        """Refuse early what `charge`, which alone decides, would refuse.

        Raises:
            BudgetExhausted: a charge does not fit.
            LedgerError: the budget does not exist.
        """
        standing = self.budget(budget)
        for wanted, left, units in zip(guarantee, standing.remaining, (EPSILON_UNITS, DELTA_UNITS), strict=True):
            if whole_units(wanted, units) > whole_units(left, units):
                raise BudgetExhausted(standing, guarantee)

    def append(self, stream: str, series: str, first_tick: int, contents: Sequence[str], state: str) -> None:
        """Store releases of consecutive ticks and the stream's state after them.

        Raises:
            LedgerError: there is no open `transaction`, which makes the two one step.
        """
        if not self._connection.in_transaction:
            raise LedgerError("releases and state are stored inside one transaction; open it first")
        self._connection.executemany(
            "INSERT INTO releases (stream, series, tick, content) VALUES (?, ?, ?, ?)",
            [(stream, series, first_tick + index, content) for index, content in enumerate(contents)],
        )
        self._connection.execute(
            "INSERT INTO states (stream, series, content) VALUES (?, ?, ?) "
            "ON CONFLICT (stream, series) DO UPDATE SET content = excluded.content",
            (stream, series, state),
        )

    def state(self, stream: str, series: str) -> str | None:
        """The state stored last for a series, or None before the first release."""
        row = self._connection.execute(
            "SELECT content FROM states WHERE stream = ? AND series = ?", (stream, series)
        ).fetchone()
        return row[0] if row else None

    def releases(self, stream: str, series: str) -> list[str]:
        """All releases of a series, in the order of their ticks, exactly as they were stored."""
        rows = self._connection.execute(
            "SELECT content FROM releases WHERE stream = ? AND series = ? ORDER BY tick", (stream, series)
        )
        return [content for (content,) in rows]

    def releases_at(self, stream: str, tick: int) -> dict[str, str]:
        """The releases of all series of a stream at one of their ticks, by series, exactly as they were stored."""
        rows = self._connection.execute(
            "SELECT series, content FROM releases WHERE stream = ? AND tick = ?", (stream, tick)
        )
        return {series: content for series, content in rows}

    def count_releases(self, stream: str, series: str) -> int:
        """The number of releases of a series."""
        (count,) = self._connection.execute(
            "SELECT count(*) FROM releases WHERE stream = ? AND series = ?", (stream, series)
        ).fetchone()
        return int(count)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction: when the block ends, all of it is durable, or nothing has changed.

        Inside another transaction of this ledger it is part of that one.
        """
        if self._connection.in_transaction:
            yield
            return
        try:
            for statement in _BEGIN_POSTGRES if isinstance(self.place, DatabaseUrl) else _BEGIN:
                self._connection.execute(statement)
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A failed COMMIT may have rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _charge_of(self, row: tuple[Any, ...]) -> Charge:
        sequence, stream, budget, epsilon, delta, specification, charged_at = row
        return Charge(sequence, stream, budget, guarantee_of(epsilon, delta), json.loads(specification), charged_at)


@contextmanager
def open_ledger(place: Place | str, *, make: bool = True) -> Iterator[Ledger]:
    """Open a ledger, creating it where there is none (a file with mode 0600).

    Args:
        place: a file, or the URL of a PostgreSQL database.
        make: whether to create it.

    Raises:
        LedgerError: what is there is no ledger, or one of another version.
        LedgerUnavailable: its database cannot be used now, or it is missing and not to be created.

    Examples:
        >>> import tempfile
        >>> from datetime import date
        >>> with tempfile.TemporaryDirectory() as folder, open_ledger(f"{folder}/dpdau.ledger") as ledger:
        ...     ledger.create_budget("2024", Guarantee(1.5, 2e-6), date(2024, 1, 1), date(2024, 12, 31)).remaining
        Guarantee(epsilon=1.5, delta=2e-06)
    """
    place = _place(place)
    if isinstance(place, DatabaseUrl):
        with _connected(place) as connection:
            if not make and not postgres_schema.is_made(connection):
                raise _missing(place)
            postgres_schema.prepare(connection, place)
            yield Ledger(connection, place)
        return
    if not place.resolve().parent.is_dir():
        raise LedgerError(f"the folder of the ledger {place} does not exist")
    if not make and not place.exists():
        raise _missing(place)
    try:
        create_private(place)
        file = sqlite3.connect(place, isolation_level=None, timeout=60)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"{place} cannot be opened as a ledger: {error}") from error
    try:
        prepare(file, place)
        yield Ledger(file, place.resolve())
    finally:
        file.close()


def has_ledger(place: Place | str) -> bool:
    """Whether there is a ledger at a place; of a file only whether it is there.

    Raises:
        LedgerError: the place is a URL that cannot be used.
        LedgerUnavailable: its database cannot be used now.
    """
    place = _place(place)
    if not isinstance(place, DatabaseUrl):
        return place.exists()
    with _connected(place) as connection:
        return postgres_schema.is_made(connection)


def _missing(place: Place) -> LedgerUnavailable:
    return LedgerUnavailable(f"the ledger {place} is missing: put it back")


def _place(given: Place | str) -> Place:
    try:
        return place_of(given)
    except ValueError as error:
        raise LedgerError(f"the ledger cannot be opened: {error}") from None


@contextmanager
def _connected(url: DatabaseUrl) -> Iterator[postgres.PostgresConnection]:
    with postgres.unavailable_errors():
        connection = postgres.PostgresConnection(postgres.connect(url))
    try:
        yield connection
    finally:
        connection.close()
