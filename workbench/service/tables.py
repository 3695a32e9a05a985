"""The tables of a store, in SQLite and in PostgreSQL. Days are whole numbers since 1970-01-01.

A store knows users by keyed pseudonyms only: an id that was never written needs no wiping. With its key it tells who
was active when, so it is as secret as the log it is.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text

tables = MetaData()

standing = Table(
    "standing", tables,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("key_check", LargeBinary, nullable=False),
    Column("ledger", Text),
    Column("arrived", BigInteger, nullable=False, comment="seq of the last operation; one never comes back"),
    Column("published", Integer, nullable=False),
    Column("charged", Integer, nullable=False),
    Column("first", Integer, comment="the first closed day"),
    Column("last", Integer, comment="the last closed day, which the users stand at"),
    Column("sealed", Integer, comment="the day that is being counted; what arrives counts from the next one"),
    Column("known_since", Integer, comment="the first day of which everything is remembered"),
    Column("part_bits", Integer, nullable=False, comment="users lie in 2^part_bits parts by their pseudonyms"),
    Column("layout", Text, comment="what a user's record holds"),
    comment="One row: how the store stands.",
)  # fmt: skip

batches = Table(
    "batches", tables,
    Column("first", BigInteger, primary_key=True, autoincrement=False, comment="seq of its first operation"),
    Column("last", BigInteger, nullable=False),
    Column("at", Integer, nullable=False, index=True, comment="the tick from which they count"),
    Column("records", LargeBinary, nullable=False),
    Column("labels", Integer, comment="by which codes they name segments; none where they name none"),
    comment="What arrived and is not counted yet, in the order of arrival, packed.",
)  # fmt: skip

erasures = Table(
    "erasures", tables,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Integer, nullable=False),
    Column("name", LargeBinary, nullable=False),
    comment="Users who are to leave at once; a row goes when everything of the user is gone.",
)  # fmt: skip

parts = Table(
    "parts", tables,
    Column("tick", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("users", Integer, nullable=False),
    Column("records", LargeBinary, nullable=False),
    Column("labelled", LargeBinary, comment="under which labels they were active on which days"),
    Column("flips", LargeBinary, comment="how often their presence changed, by segment"),
    comment="Users as they stood at the end of a tick, sorted by pseudonym, packed; all but the last closed day's are "
    "left over from a close.",
)  # fmt: skip

closed = Table(
    "closed", tables,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("window", Integer, primary_key=True, autoincrement=False),
    Column("truth", Integer, nullable=False),
    Column("bounded", Integer, nullable=False),
    comment="Counts of closed days; NOT PRIVATE.",
)  # fmt: skip

answers = Table(
    "answers", tables,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("question", Text, primary_key=True),
    Column("counts", LargeBinary, nullable=False),
    comment="Counts of closed days for questions other than how many are present in a window; NOT PRIVATE.",
)  # fmt: skip

label_codes = Table(
    "label_codes", tables,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("codes", Text, nullable=False),
    comment="What numbers of labels mean: public names of columns and values.",
)  # fmt: skip

loads = Table(
    "loads", tables,
    Column("file", Text, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    comment="Rows of files that were loaded, so that a load goes on where it stopped.",
)  # fmt: skip

requests = Table(
    "requests", tables,
    Column("key", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("day", Integer, nullable=False, index=True, comment="the day on which it came"),
    Column("answer", LargeBinary, nullable=False),
    comment="Requests that carried an idempotency key, and what they were answered.",
)  # fmt: skip
