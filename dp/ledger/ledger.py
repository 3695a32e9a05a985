"""The ledger: budgets that cannot be overspent, and releases that cannot be drawn twice.

One SQLite file of its own. Charges and releases are append-only (triggers refuse anything else), check-and-charge is
one conditional UPDATE inside one write transaction, every charge has an idempotent key, and a release is committed
together with the state of its stream before anyone sees it. Amounts are whole nano-units of ε and atto-units of δ,
rounded up, so that a tiny charge is never lost and sums are exact.

The file also keeps each stream's state, which holds true counts: it is as secret as the log. It is created readable by
its owner only.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from dp.accounting.composition import Guarantee
from dp.ledger.sqlite import create_private, statements, switch_to_wal

EPSILON_UNITS = 10**9
DELTA_UNITS = 10**18
SCHEMA_VERSION = 2

_IDENTITY = """
CREATE TABLE identity (
    name TEXT NOT NULL
) STRICT;
CREATE TRIGGER identity_stays BEFORE UPDATE ON identity BEGIN SELECT RAISE(ABORT, 'a ledger keeps its name'); END;
CREATE TRIGGER identity_remains BEFORE DELETE ON identity BEGIN SELECT RAISE(ABORT, 'a ledger keeps its name'); END;
"""

_SCHEMA = """
CREATE TABLE budgets (
    name TEXT PRIMARY KEY,
    starts TEXT NOT NULL,
    ends TEXT,
    epsilon_cap INTEGER NOT NULL CHECK (epsilon_cap > 0),
    delta_cap INTEGER NOT NULL CHECK (delta_cap >= 0),
    epsilon_spent INTEGER NOT NULL DEFAULT 0 CHECK (epsilon_spent BETWEEN 0 AND epsilon_cap),
    delta_spent INTEGER NOT NULL DEFAULT 0 CHECK (delta_spent BETWEEN 0 AND delta_cap)
) STRICT;
CREATE TABLE charges (
    sequence INTEGER PRIMARY KEY,
    stream TEXT NOT NULL UNIQUE,
    budget TEXT NOT NULL REFERENCES budgets (name),
    epsilon INTEGER NOT NULL CHECK (epsilon > 0),
    delta INTEGER NOT NULL CHECK (delta >= 0),
    specification TEXT NOT NULL,
    charged_at TEXT NOT NULL
) STRICT;
CREATE TABLE releases (
    stream TEXT NOT NULL REFERENCES charges (stream),
    series TEXT NOT NULL,
    tick INTEGER NOT NULL CHECK (tick >= 0),
    content TEXT NOT NULL,
    PRIMARY KEY (stream, series, tick)
) STRICT, WITHOUT ROWID;
CREATE TABLE states (
    stream TEXT NOT NULL REFERENCES charges (stream),
    series TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (stream, series)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER charges_stay BEFORE UPDATE ON charges BEGIN SELECT RAISE(ABORT, 'charges are append-only'); END;
CREATE TRIGGER charges_remain BEFORE DELETE ON charges BEGIN SELECT RAISE(ABORT, 'charges are append-only'); END;
CREATE TRIGGER releases_stay BEFORE UPDATE ON releases BEGIN SELECT RAISE(ABORT, 'releases are append-only'); END;
CREATE TRIGGER releases_remain BEFORE DELETE ON releases BEGIN SELECT RAISE(ABORT, 'releases are append-only'); END;
CREATE TRIGGER budgets_remain BEFORE DELETE ON budgets BEGIN SELECT RAISE(ABORT, 'budgets are never removed'); END;
CREATE TRIGGER charges_once BEFORE INSERT ON charges
WHEN EXISTS (SELECT 1 FROM charges WHERE sequence = NEW.sequence OR stream = NEW.stream)
BEGIN SELECT RAISE(ABORT, 'charges are append-only'); END;
CREATE TRIGGER releases_once BEFORE INSERT ON releases
WHEN EXISTS (SELECT 1 FROM releases WHERE stream = NEW.stream AND series = NEW.series AND tick = NEW.tick)
BEGIN SELECT RAISE(ABORT, 'releases are append-only'); END;
CREATE TRIGGER budgets_once BEFORE INSERT ON budgets
WHEN EXISTS (SELECT 1 FROM budgets WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'budgets are never replaced'); END;
CREATE TRIGGER budgets_stay BEFORE UPDATE OF name, starts, ends, epsilon_cap, delta_cap ON budgets
BEGIN SELECT RAISE(ABORT, 'the cap and the period of a budget never change'); END;
CREATE TRIGGER no_refunds BEFORE UPDATE ON budgets
WHEN NEW.epsilon_spent < OLD.epsilon_spent OR NEW.delta_spent < OLD.delta_spent
BEGIN SELECT RAISE(ABORT, 'spent budget is never given back'); END;
"""


class LedgerError(Exception):
    """The ledger refuses a request; nothing was changed."""


class OtherParameters(LedgerError):  # noqa: N818 - the name says what happened
    """A stream exists, and was opened with other parameters.

    Attributes:
        differences: what was asked and what it was, in words.
    """

    def __init__(self, stream: str, differences: str) -> None:
        self.differences = differences
        super().__init__(f"stream {stream!r} was opened with other parameters ({differences}); choose another --stream")


class BudgetExhausted(LedgerError):  # noqa: N818 - the name says what happened
    """A charge does not fit into what is left of its budget.

    Attributes:
        budget: the budget as it stands.
        requested: what was asked for.
    """

    def __init__(self, budget: Budget, requested: Guarantee) -> None:
        self.budget = budget
        self.requested = requested
        super().__init__(
            f"budget {budget.name!r} is exhausted: requested epsilon {requested.epsilon:g}, delta {requested.delta:g}; "
            f"spent epsilon {budget.spent.epsilon:g} of {budget.cap.epsilon:g}, "
            f"delta {budget.spent.delta:g} of {budget.cap.delta:g}; "
            f"remaining epsilon {budget.remaining.epsilon:g}, delta {budget.remaining.delta:g}"
        )


@dataclass(frozen=True)
class Budget:
    """A budget as it stands: what may be spent between two days (inclusive, `ends` None: for ever) and what was."""

    name: str
    starts: date
    ends: date | None
    cap: Guarantee
    spent: Guarantee
    remaining: Guarantee

    @property
    def period(self) -> str:
        """The period in words."""
        return f"from {self.starts} on, never reset" if self.ends is None else f"{self.starts} to {self.ends}"


@dataclass(frozen=True)
class Charge:
    """One entry of the ledger: a stream, what it was charged, and what it is a charge for."""

    sequence: int
    stream: str
    budget: str
    guarantee: Guarantee
    specification: dict[str, Any]
    charged_at: str


class Ledger:
    """An open ledger file; use `open_ledger`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def name(self) -> str:
        """A random name, given when the ledger was made: two ledgers are told apart by it."""
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
                    _units(cap.epsilon, EPSILON_UNITS),
                    _units(cap.delta, DELTA_UNITS),
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
                _guarantee(epsilon_cap, delta_cap),
                _guarantee(epsilon_spent, delta_spent),
                _guarantee(epsilon_cap - epsilon_spent, delta_cap - delta_spent),
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
        """Check and charge in one atomic step; a stream that is charged already is returned and costs nothing.

        Raises:
            BudgetExhausted: the charge does not fit.
            LedgerError: the budget does not exist or its period is not running.
            OtherParameters: the stream was opened with another specification, budget or charge.
            ValueError: ε is not positive and finite, or δ not in [0, 1).
        """
        if not (0 < guarantee.epsilon < 1e9 and 0 <= guarantee.delta < 1):
            raise ValueError(f"a charge of {guarantee} is not a guarantee: epsilon must be positive, delta in [0, 1)")
        epsilon, delta = _units(guarantee.epsilon, EPSILON_UNITS), _units(guarantee.delta, DELTA_UNITS)
        wanted = json.loads(json.dumps(specification))
        with self.transaction():
            if earlier := self.find_charge(stream):
                asked = {**wanted, "budget": budget, "charge": list(_guarantee(epsilon, delta))}
                opened = {**earlier.specification, "budget": earlier.budget, "charge": list(earlier.guarantee)}
                if opened != asked:
                    raise OtherParameters(stream, _differences(opened, asked))
                return earlier
            standing = self.budget(budget)
            if now.date() < standing.starts or (standing.ends and now.date() > standing.ends):
                raise LedgerError(
                    f"budget {budget!r} covers {standing.period}, not {now.date()}; "
                    "open a budget for this period (nothing resets by itself)"
                )
            changed = self._connection.execute(
                "UPDATE budgets SET epsilon_spent = epsilon_spent + :epsilon, delta_spent = delta_spent + :delta "
                "WHERE name = :name AND epsilon_spent + :epsilon <= epsilon_cap AND delta_spent + :delta <= delta_cap",
                {"epsilon": epsilon, "delta": delta, "name": budget},
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

    def append(self, stream: str, series: str, first_tick: int, contents: Sequence[str], state: str) -> None:
        """Store releases of consecutive ticks and the stream's state after them.

        Raises:
            LedgerError: it is not called inside `transaction`, which alone makes the two one step.
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
        """The state stored last for a series, or None before its first release."""
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

    def count_releases(self, stream: str, series: str) -> int:
        """How many releases of a series there are."""
        (count,) = self._connection.execute(
            "SELECT count(*) FROM releases WHERE stream = ? AND series = ?", (stream, series)
        ).fetchone()
        return int(count)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction: all of it is durable when the block ends, or none of it happened.

        Inside another transaction of this ledger it is part of that one.
        """
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A failed COMMIT may have rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _charge_of(self, row: tuple[Any, ...]) -> Charge:
        sequence, stream, budget, epsilon, delta, specification, charged_at = row
        return Charge(sequence, stream, budget, _guarantee(epsilon, delta), json.loads(specification), charged_at)


_SELECT_CHARGE = "SELECT sequence, stream, budget, epsilon, delta, specification, charged_at FROM charges"


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """Open a ledger file, creating it (mode 0600) where there is none.

    Raises:
        LedgerError: the file is not a ledger, or one of another version.
    """
    if not path.resolve().parent.is_dir():
        raise LedgerError(f"the folder of the ledger {path} does not exist")
    try:
        create_private(path)
        connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"{path} cannot be opened as a ledger: {error}") from error
    try:
        _prepare(connection, path)
        yield Ledger(connection)
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        # FULL makes a commit durable before it returns; with recursive triggers INSERT OR REPLACE cannot walk around
        # the append-only ones.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA recursive_triggers = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        named = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'budgets'").fetchone()[0]
        if (version == 0 and tables == 0) or (version == 1 and named):
            # A ledger of version 1 had no name.
            for statement in statements(_IDENTITY if version == 1 else _SCHEMA + _IDENTITY):
                connection.execute(statement)
            connection.execute("INSERT INTO identity (name) VALUES (?)", (secrets.token_hex(8),))
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise LedgerError(f"{path} is not a ledger of version {SCHEMA_VERSION}; choose another --ledger file")
        connection.execute("COMMIT")
        # Only now is it known to be a ledger.
        switch_to_wal(connection)
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{path} cannot be used as a ledger: {error}") from error


def _units(amount: float, units: int) -> int:
    """Whole units, rounded up from the shortest decimal that means this float: ten charges of 0.1 are exactly 1."""
    return int((Decimal(repr(float(amount))) * units).to_integral_value(ROUND_CEILING))


def _guarantee(epsilon: int, delta: int) -> Guarantee:
    return Guarantee(float(Decimal(epsilon) / EPSILON_UNITS), float(Decimal(delta) / DELTA_UNITS))


def _differences(earlier: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{key} is {wanted.get(key, 'missing')!r} now and was {earlier.get(key, 'missing')!r}"
        for key in sorted({*earlier, *wanted})
        if earlier.get(key, "missing") != wanted.get(key, "missing")
    )
