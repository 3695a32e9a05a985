"""Synthetic activity logs with deletions, for demonstrations and experiments."""

import gzip
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.log.files import LogFile
from dp.log.formats import format_named
from dp.names import LOG_FORMATS, PACKED_SUFFIXES

WEEKDAYS = np.array([1.0, 1.05, 1.05, 1.0, 0.95, 0.7, 0.65])  # Monday first: activity relative to the user's rate
MEAN_STAY = 150.0  # days from joining to churn
MEAN_RETRACTION_DELAY = 5.0
MEAN_LATENESS = 3.0
MEAN_ABSENCE = 14.0  # days from an erase to coming back
NEVER = np.iinfo(np.int64).max
CHUNK = 1_000_000  # user-days decided at once: bounds the memory


def generate(
    users: int,
    days: int,
    *,
    delete_rate: float = 0.0,
    erase_rate: float = 0.0,
    late_rate: float = 0.0,
    rejoin_rate: float = 0.3,
    seed: int,
    start: date = date(2024, 1, 1),
) -> pa.Table:
    """A log of `users` users over `days` days from `start`: columns user (string), day, op, at; sorted by arrival.

    A few users come nearly every day and most rarely, all of them less often at weekends. Up to 40 % are there from
    the start, the others join over the period, and everybody leaves at some time. Every user comes at least once (a
    late arrival may be dropped).

    Args:
        users: number of users, at least 1.
        days: length of the period, at least 1; every `day` and `at` lies in it.
        delete_rate: probability that an active day is retracted later, on average 5 days after it arrived; a
            retraction that would arrive after the period is dropped.
        erase_rate: share of the users who send one erase, on a random day after joining. They leave; what they did
            before and would have arrived on that day or later is dropped.
        late_rate: probability that an active day arrives late, on average by 3 days; dropped after the period.
        rejoin_rate: share of the erased users who come back, on average 14 days later.
        seed: the same seed gives the same table.
        start: the first day.

    Raises:
        ValueError: an argument out of range.
    """
    rates = {"delete_rate": delete_rate, "erase_rate": erase_rate, "late_rate": late_rate, "rejoin_rate": rejoin_rate}
    _validate(users, days, rates, seed)
    rng = np.random.default_rng(seed)
    members = _members(rng, users, days, erase_rate, rejoin_rate)
    who, day = _active(rng, members, days, start.weekday())
    arrived = day + np.where(rng.random(len(day)) < late_rate, rng.geometric(1 / MEAN_LATENESS, len(day)), 0)
    retracted = np.flatnonzero(rng.random(len(day)) < delete_rate)
    withdrawn = arrived[retracted] + rng.geometric(1 / MEAN_RETRACTION_DELAY, len(retracted))
    eraser, erased = np.flatnonzero(members.erases), members.erased

    user = np.concatenate([who, who[retracted], eraser])
    about = np.concatenate([day, day[retracted], erased[eraser]])
    at = np.concatenate([arrived, withdrawn, erased[eraser]])
    op = np.repeat([0, 1, 2], [len(who), len(retracted), len(eraser)])
    # An erased user sends nothing more about the time before.
    kept = np.flatnonzero((at < days) & ((about >= erased[user]) | (at < erased[user])))
    kept = kept[np.lexsort((rng.random(len(kept)), at[kept]))]
    return _table(users, start, user[kept], about[kept], at[kept], op[kept])


def write_log(table: pa.Table, path: str | Path) -> None:
    """Write a log as CSV, JSON Lines or Parquet, by the suffix; .csv.gz and .jsonl.zst are packed.

    The same table gives the same bytes. An empty day is left out of JSON and is an empty field in CSV, where nothing
    is quoted: user ids with a comma, a quote or a line break are refused by the writer.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    chosen, packed = format_named("auto", LogFile(path)), path.suffix.lower() in PACKED_SUFFIXES
    if chosen is None or (packed and chosen.name == "parquet"):
        suffixes = ", ".join(itertools.chain(*LOG_FORMATS.values()))
        raise ValueError(f"path = {path}: the name must end in {suffixes}; text also in {', '.join(PACKED_SUFFIXES)}")
    _WRITERS[chosen.name](table, path)


def _write_parquet(table: pa.Table, path: Path) -> None:
    pyarrow.parquet.write_table(table, path)


def _write_csv(table: pa.Table, path: Path) -> None:
    delimiter = "\t" if LogFile(path).unpacked_name.endswith(".tsv") else ","
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none", delimiter=delimiter)
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, options)
    header = delimiter.join(table.column_names) + "\n"
    _write_text(path, header.encode() + sink.getvalue().to_pybytes())


def _write_jsonl(table: pa.Table, path: Path) -> None:
    lines = msgspec.json.Encoder().encode_lines(
        [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    )
    _write_text(path, lines)


_WRITERS = {"csv": _write_csv, "jsonl": _write_jsonl, "parquet": _write_parquet}


def _validate(users: int, days: int, rates: Mapping[str, float], seed: int) -> None:
    for name, value in (("users", users), ("days", days)):
        if value < 1:
            raise ValueError(f"{name} = {value}: must be at least 1")
    for name, share in rates.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} = {share}: must be between 0 and 1")
    if seed < 0:
        raise ValueError(f"seed = {seed}: must be 0 or a positive integer")


@dataclass(frozen=True)
class _Members:
    """When each user is a member; days are counted from 0, all shapes are (users,).

    Attributes:
        rate: the share of days on which the user comes.
        joined: the first day.
        left: the day of leaving for good.
        erases: whether the user sends an erase.
        erased: the day of the erase, or `NEVER`.
        back: the day of coming back after it, or `NEVER`.
    """

    rate: NDArray[np.float64]
    joined: Integers
    left: Integers
    erases: NDArray[np.bool_]
    erased: Integers
    back: Integers


def _members(rng: np.random.Generator, users: int, days: int, erase_rate: float, rejoin_rate: float) -> _Members:
    rate = rng.beta(0.5, 1.5, users)
    # Users who are there from the start appear when their rate says so, not all on the first day.
    first_visit = rng.geometric(np.maximum(rate, 1 / days)) - 1
    there_from_the_start = (rng.random(users) < 0.4) & (first_visit < days)
    joined = np.where(there_from_the_start, first_visit, rng.integers(0, days, users))
    left = joined + rng.geometric(1 / MEAN_STAY, users)
    erases = (rng.random(users) < erase_rate) & (joined < days - 1)
    erased = np.where(erases, rng.integers(joined + 1, np.maximum(days, joined + 2)), NEVER)
    returns = erases & (rng.random(users) < rejoin_rate)
    back = np.where(returns, np.minimum(erased, days) + rng.geometric(1 / MEAN_ABSENCE, users), NEVER)
    left = np.where(returns, back + rng.geometric(1 / MEAN_STAY, users), left)
    return _Members(rate, joined, left, erases, erased, back)


def _active(rng: np.random.Generator, members: _Members, days: int, weekday: int) -> tuple[Integers, Integers]:
    """(user, day) of every active user-day, a block of users at a time."""
    calendar = np.arange(days)
    rhythm = WEEKDAYS[(calendar + weekday) % 7]
    users = len(members.joined)
    block = max(1, CHUNK // days)
    found: list[tuple[Integers, Integers]] = []
    for begin in range(0, users, block):
        part = slice(begin, begin + block)
        times = (members.joined, members.left, members.erased, members.back)
        joined, left, erased, back = (time[part, None] for time in times)
        member = (calendar >= joined) & (calendar < left) & ((calendar < erased) | (calendar >= back))
        comes = rng.random(member.shape) < members.rate[part, None] * rhythm
        who, day = np.nonzero(member & (comes | (calendar == joined)))
        found.append((who + begin, day))
    return np.concatenate([who for who, _ in found]), np.concatenate([day for _, day in found])


def _table(users: int, start: date, user: Integers, about: Integers, at: Integers, op: Integers) -> pa.Table:
    """Numbers of users, days from `start` and operations (0 add, 1 retract, 2 erase), as the columns of a log."""
    digits = pc.utf8_lpad(_numbers(np.arange(users)).cast(pa.string()), len(str(users - 1)), "0")
    names = pc.utf8_replace_slice(digits, 0, 0, "u")
    ops = pa.StringArray.from_buffers(3, pa.py_buffer(np.array([0, 1, 2, 7], np.int32)), pa.py_buffer(b"+-erase"))
    origin = np.datetime64(start, "D").astype(np.int64)
    return pa.table(
        {
            "user": names.take(_numbers(user)),
            "day": _numbers(origin + about, op != 2).cast(pa.int32()).cast(pa.date32()),
            "op": ops.take(_numbers(op)),
            "at": _numbers(origin + at).cast(pa.int32()).cast(pa.date32()),
        }
    )


def _numbers(values: Integers, valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of 64-bit numbers. `pa.array` would import pandas to look at them, which takes longer than the log."""
    present = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    content = pa.py_buffer(np.ascontiguousarray(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [present, content])


def _write_text(path: Path, content: bytes) -> None:
    """Gzip without a time or a name in it, so that equal logs are equal files."""
    match path.suffix.lower():
        case ".gz":
            content = gzip.compress(content, compresslevel=6, mtime=0)
        case ".zst":
            content = pa.compress(content, codec="zstd", asbytes=True)
    path.write_bytes(content)
