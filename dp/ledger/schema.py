"""The tables of a ledger, what refuses to rewrite them, and how a file becomes or stays a ledger."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from dp.ledger.sqlite import statements, switch_to_wal
from dp.ledger.values import LedgerError

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


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a ledger of an empty file, bring an older one up to date, and set what protects it.

    Raises:
        LedgerError: the file is not a ledger, or one of another version.
    """
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
