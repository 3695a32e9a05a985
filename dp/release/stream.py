"""Streams: charged once, drawn once, continued day by day; the only way from a plan to what is published."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from dp.arrays import Integers
from dp.counts import Counts, Sample
from dp.database_url import DatabaseUrl, Place
from dp.ledger import Budget, Ledger, LedgerError
from dp.mechanisms import EMPTY_STATE, Mechanism, State
from dp.names import BEST_MECHANISM, LOG_FORMATS, PACKED_SUFFIXES
from dp.release.drawing import Block, blocks, draw, row_parts, secure_source
from dp.release.own_counts import own_counts
from dp.release.plan import Plan
from dp.release.request import Request, charged

_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DATE = re.compile(
    rf"(?<!\d)(?:{_YEAR}(?P<gap>[-_./ ])?{_MONTH}(?(gap)(?P=gap)){_DAY}(?=(?:\d\d)*(?:\D|$))"
    rf"|{_DAY}[-_. ]{_DAY}[-_. ]{_YEAR}(?!\d)|{_YEAR}[-_./ ]{_MONTH}(?!\d)|{_YEAR}-?[Ww][0-5]\d(?!\d))"
)
"""Year, month and day, written one after the other or parted alike, perhaps with a time behind; day, month and year;
year and month; year and week."""

_PIPE = re.compile(r"/dev/(?:stdin|fd/[0-9]+)|/proc/[^/]+/fd/[0-9]+")
"""What a shell calls a pipe; every shell has its own of that name. A file in /dev/shm is a file like any other."""


def publish(
    ledger: Ledger,
    stream: str,
    budget: str,
    plan: Plan,
    counts: Mapping[str, Counts],
    now: datetime,
    data: str = "",
    arrived: Callable[[date], str] | None = None,
) -> list[str]:
    """Charge, draw, commit, and only then return the release, one JSON row per series and tick.

    Ticks that the stream has published before come back byte for byte; only later ones are drawn. The charge is for
    the whole horizon and happens once, before any noise exists.

    Args:
        stream: idempotent key.
        counts: metric → counts from the first tick on, counted as the plan says; may reach further than in earlier
            calls.
        data: a public name of the store that the stream is bound to, where it is bound to one.
        arrived: names the operations that had arrived by the end of a day. A stream can be continued only where the
            past is as it was: this name, where it is given, and in any case the true counts.

    Raises:
        BudgetExhausted: nothing was charged or released.
        LedgerError: the stream exists with other parameters, noise or past.
        ValueError: counts are missing, no whole numbers, or longer than the horizon; nothing was charged.
    """
    return published(ledger, stream, charge_and_draw(ledger, stream, budget, plan, counts, now, data, arrived))


def charge_and_draw(
    ledger: Ledger,
    stream: str,
    budget: str,
    plan: Plan,
    counts: Mapping[str, Counts],
    now: datetime,
    data: str = "",
    arrived: Callable[[date], str] | None = None,
) -> dict[str, int]:
    """`publish` without its rows, which are in the ledger then, and need not be in memory.

    Returns:
        metric → how many ticks of it are now published; what `each_published` takes.
    """
    checked = own_counts(plan, counts)
    ledger.charge(stream, budget, charged(plan.request), {**plan.request.specification(), "data": data}, now)
    # All series of a call ask for the same days.
    arrived = arrived and functools.cache(arrived)
    with ledger.transaction():
        remaining = ledger.budget(budget)
        before = {metric: _state_from(text) for metric in checked if (text := ledger.state(stream, metric))}
        starts = {metric: before[metric].state.tick if metric in before else 0 for metric in checked}
        ticks = {metric: len(values) for metric, values in checked.items()}
        for block in blocks(plan.series, starts, ticks):
            _publish_block(ledger, stream, plan, block, checked, before, remaining, arrived)
    return ticks


def published(ledger: Ledger, stream: str, ticks: Mapping[str, int]) -> list[str]:
    """The first rows of every metric, as many as `ticks` says, as they were published, fewer where fewer exist."""
    return list(each_published(ledger, stream, ticks))


def each_published(ledger: Ledger, stream: str, ticks: Mapping[str, int]) -> Iterator[str]:
    """The rows of `published`, read from the open ledger as they are taken."""
    return (row for metric, number in ticks.items() for row in ledger.releases(stream, metric)[:number])


def recall(ledger: Ledger, stream: str, budget: str, plan: Plan, ticks: int, now: datetime) -> list[str] | None:
    """The release again, where all of its ticks are published; the data are not looked at.

    So what a repeated call returns, how long it takes, and whether a first one is refused for want of budget, depends
    on nothing that is protected.

    Returns:
        The rows as `publish` returned them; None where some tick is not published yet.

    Raises:
        BudgetExhausted: the stream is new, and there is no room for its charge.
        LedgerError: the stream exists with other parameters.
    """
    wanted = recallable(ledger, stream, budget, plan, ticks, now)
    return None if wanted is None else published(ledger, stream, wanted)


def recallable(
    ledger: Ledger, stream: str, budget: str, plan: Plan, ticks: int, now: datetime
) -> dict[str, int] | None:
    """Which rows `recall` returns, for `each_published`, or None; it raises what `recall` raises."""
    if ledger.find_charge(stream) is None:
        # Without any budget, the caller may be about to open one.
        if ledger.budgets():
            ledger.validate_room(budget, charged(plan.request))
        return None
    # Refuses other parameters, and costs nothing.
    ledger.charge(stream, budget, charged(plan.request), {**plan.request.specification(), "data": ""}, now)
    wanted = {series.metric: series.question.cell.number(plan.request.first, ticks) for series in plan.series}
    if any(ledger.count_releases(stream, metric) < number for metric, number in wanted.items()):
        return None
    return wanted


def log_name(paths: Sequence[str], ledger: Place) -> str:
    """What a log is called: its path as seen from the ledger's file, without the suffix of its format; or its address.

    So it is the same from every working folder, and two logs of one name in two folders are told apart. Seen from a
    database, it is the whole path. Several files are called by the folder that they have in common, so that a log may
    grow by files.

    Raises:
        ValueError: the log comes from standard input or a pipe of the shell, which have no name.
    """
    if any(path == "-" or _PIPE.fullmatch(path) for path in paths):
        raise ValueError(
            "a log from standard input or a pipe has no name of which a stream's could be made: name the stream "
            "(--stream)"
        )
    if any("://" in path for path in paths):
        return " ".join(paths)
    whole = [os.path.normpath(Path(path).absolute()) for path in paths]
    one = whole[0] if len(whole) == 1 else str(Path(os.path.commonpath(whole), "several"))
    path = Path(os.path.relpath(one, os.sep if isinstance(ledger, DatabaseUrl) else ledger.absolute().parent))
    name = path.name
    for suffix in (*PACKED_SUFFIXES, *(one for known in LOG_FORMATS.values() for one in known)):
        name = name.removesuffix(suffix)
    return path.with_name(name or path.name).as_posix()


def date_in(name: str) -> str | None:
    """The date or month in the name of a log, such as 2024-05-01, 20240501, 01.05.2024, 2024-W18 or day=2024-05-01.

    Such a log is probably one of many, each of which makes a default stream of its own.
    """
    found = _DATE.search(re.sub(r"[A-Za-z_]+=", "", name))
    return None if found is None else found.group()


def default_stream(request: Request, name: str = "", read_as: str = "") -> str:
    """The key of a series whose owner names none, made of public parameters alone.

    The same request means the same stream, whatever the log holds. Horizon and level of the intervals are left out: who
    asks for others is told that the stream has them already, and is not charged again by surprise. So is what was
    chosen for the best mechanism: a later version that would choose another finds the stream, and not a new one.

    In what order metrics are named, in what unit their shares are given, and what has no effect (δ under pure noise)
    makes no difference.

    Args:
        name: of the log (`log_name`), so that two logs in one ledger are two series.
        read_as: how its rows are read (`dp.log.read_as`), so that two columns of one log are two series.
    """
    public = request.specification()
    for left_out in ("horizon", "ci_level", "chosen"):
        public.pop(left_out, None)
    whole = sum(request.shares.values())
    public["shares"] = {metric: round(share / whole, 9) for metric, share in request.shares.items()}
    if request.mechanism != BEST_MECHANISM:
        public["guarantee"] = list(charged(request))
    text = json.dumps({**public, "name": name, "read_as": read_as}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return "-".join(
        [
            *filter(None, [PurePosixPath(name).name]),
            *sorted({question.cell.metric for question in request.asked}),
            digest,
        ]
    )


class Past(NamedTuple):
    """What a stream was counted from.

    Attributes:
        counts: metric → true counts of all published ticks.
        operations: names the operations.
    """

    counts: Mapping[str, Integers]
    operations: str


def rename_past(ledger: Ledger, stream: str, plan: Plan, old: Past, new: Past) -> None:
    """Let a stream go on from another log that stands for the one it was counted from; see `dp.release.compacting`.

    Raises:
        LedgerError: the stream was not counted from the old one.
    """
    with ledger.transaction():
        for series in plan.series:
            stored = ledger.state(stream, series.metric)
            if stored is None:
                continue
            state, name = _state_from(stored), functools.partial(_name_counts, sample=plan.request.sample)
            if (name(old.counts[series.metric]), old.operations) != (state.counts, state.operations):
                raise _changed(stream, state.state.tick, sampled=False)
            renamed = replace(state, counts=name(new.counts[series.metric]), operations=new.operations)
            ledger.append(stream, series.metric, state.state.tick, [], renamed.text())


@dataclass(frozen=True)
class _StreamState:
    """What a stream keeps between calls: how to go on, and what must not have changed.

    Attributes:
        state: what the mechanism needs of the past.
        mechanism: names strategy and noise; a stream drawn with two of them is covered by no certificate.
        counts: names the true counts of all published ticks, and the salts of a sample.
        operations: names the operations they were counted from, where the caller can tell.
    """

    state: State
    mechanism: str
    counts: str
    operations: str | None

    def text(self) -> str:
        tick, secret, public = self.state
        return json.dumps([tick, secret.tolist(), public.tolist(), self.mechanism, self.counts, self.operations])


def _state_from(text: str) -> _StreamState:
    tick, secret, public, mechanism, counts_name, operations = json.loads(text)
    state = State(tick, np.array(secret, dtype=np.int64), np.array(public, dtype=np.float64))
    return _StreamState(state, mechanism, counts_name, operations)


def _publish_block(
    ledger: Ledger,
    stream: str,
    plan: Plan,
    block: Block,
    counts: Mapping[str, Integers],
    before: Mapping[str, _StreamState],
    budget: Budget,
    arrived: Callable[[date], str] | None,
) -> None:
    days, sample = block.days(plan), plan.request.sample
    mechanism = _name_mechanism(block.mechanism)

    @functools.cache
    def name_arrived(ticks: int) -> str | None:
        going_on = block.series[0].question.cell.days_from(plan.request.first)
        return arrived(next(itertools.islice(going_on, ticks - 1, None))) if arrived else None

    own = [counts[series.metric] for series in block.series]
    for series, values in zip(block.series, own, strict=True):
        if series.metric in before:
            counted = _name_counts(values[: block.start], sample)
            _validate_continuation(stream, before[series.metric], mechanism, counted, name_arrived, sample is not None)
    states = [before[series.metric].state if series.metric in before else EMPTY_STATE for series in block.series]
    fresh = np.stack([values[block.start :] for values in own])
    drawn = draw(block.mechanism, states, fresh, secure_source, plan.request)
    for series, values, (after, released) in zip(block.series, own, drawn, strict=True):
        rows = row_parts(plan, series, days, released, remaining=budget)
        state = _StreamState(after, mechanism, _name_counts(values, sample), name_arrived(block.stop))
        ledger.append(stream, series.metric, block.start, list(rows.texts()), state.text())


def _validate_continuation(
    stream: str,
    before: _StreamState,
    mechanism: str,
    counts: str,
    name_arrived: Callable[[int], str | None],
    sampled: bool,
) -> None:
    """Refuse to go on where the guarantee would not carry over.

    W_BOUND is enforced, and a change's hull is what it is, over one log that only grows; noise is certified for one
    strategy.
    """
    if mechanism != before.mechanism:
        raise LedgerError(
            f"stream {stream!r} was drawn with another strategy or noise than this version computes; "
            "continue it with the version that opened it, or open another --stream"
        )
    changed = counts != before.counts
    if not changed and before.operations is not None:
        operations = name_arrived(before.state.tick)
        if operations is None:
            raise LedgerError(
                f"stream {stream!r} is bound to the operations of a log: continue it from the log, not from counts"
            )
        changed = operations != before.operations
    if changed:
        raise _changed(stream, before.state.tick, sampled=sampled)


def _changed(stream: str, ticks: int, *, sampled: bool) -> LedgerError:
    return LedgerError(
        f"stream {stream!r} cannot be continued: the log's past is not what it was when its {ticks} published ticks "
        "were counted. Rows that arrive late need their arrival in the column 'at', taking activity back is a row "
        "('-' or 'erase'), and rows of erased users leave by 'dpdau compact', whose --tombstones then go with the log"
        + ("; and no salt may come into force on a day that is published already" if sampled else "")
    )


def _name_mechanism(mechanism: Mechanism) -> str:
    return _digest(list(mechanism.describe().values()))


def _name_counts(counts: Integers, sample: Sample | None) -> str:
    """Names the counts of all ticks so far and, of a sample, the salts that chose it."""
    if sample is None:
        return _digest(counts.tolist())
    return _digest([counts.tolist(), sample.salt, sample.before(len(counts)).rotations])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
