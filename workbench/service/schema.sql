-- The store. Days are whole numbers since 1970-01-01. It knows users by keyed pseudonyms only: an id that was never
-- written needs no wiping. With its key it tells who was active when, so it is as secret as the log it is.

CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value ANY
) STRICT, WITHOUT ROWID;

-- What arrived, in the order of arrival. No secondary index and no check that costs: this is the table that fast ingest
-- writes. Numbers are given out from the fact `arrived`, because one must never come back after its row was erased. An
-- erasure that was carried out names nobody.
CREATE TABLE operations (
    seq INTEGER PRIMARY KEY,
    pseudonym BLOB,
    day INTEGER,
    at INTEGER NOT NULL,
    op INTEGER NOT NULL CHECK (op BETWEEN -1 AND 1)
) STRICT;

-- Operations that the cells do not show yet, by the tick from which they count.
CREATE TABLE pending (
    at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (at, seq)
) STRICT, WITHOUT ROWID;

-- User-days in state present.
CREATE TABLE cells (
    pseudonym BLOB NOT NULL,
    day INTEGER NOT NULL,
    PRIMARY KEY (pseudonym, day)
) STRICT, WITHOUT ROWID;

-- Users whose cells changed since the last closed tick.
CREATE TABLE touched (
    pseudonym BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- The latest present day of each user as of the last closed tick. Whoever is not touched leaves a window exactly when
-- it passes that day, so closing a day looks at those users only.
CREATE TABLE latest (
    pseudonym BLOB PRIMARY KEY,
    day INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX latest_by_day ON latest (day);

-- Flips of presence spent by each user in each trailing window; odd means present at the last closed tick. From the
-- next close on, all that survives an erasure.
CREATE TABLE flips (
    window INTEGER NOT NULL,
    pseudonym BLOB NOT NULL,
    spent INTEGER NOT NULL,
    PRIMARY KEY (window, pseudonym)
) STRICT, WITHOUT ROWID;

-- True counts of closed days; NOT PRIVATE.
CREATE TABLE closed (
    day INTEGER NOT NULL,
    window INTEGER NOT NULL,
    truth INTEGER NOT NULL,
    bounded INTEGER NOT NULL,
    PRIMARY KEY (day, window)
) STRICT, WITHOUT ROWID;

-- Rows of files that were loaded, so that a load goes on where it stopped.
CREATE TABLE loads (
    file TEXT PRIMARY KEY,
    rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
