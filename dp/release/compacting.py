"""Rows of erased users leave the log for good, and the streams that were counted from it go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from dp.ledger import Ledger, LedgerError
from dp.log import Log, arrived_fingerprint
from dp.presence import NumpyEngine, compact
from dp.presence.tombstone_file import Compaction, past_name
from dp.release.counting import engine_counts
from dp.release.plan import Plan, plan_release
from dp.release.request import request_of
from dp.release.stream import Past, rename_past


def compacted(
    log: Log, through: date, ledger: Ledger, streams: Sequence[str], key: bytes, earlier: Compaction | None = None
) -> tuple[Log, Compaction]:
    """The log without the rows of users who are erased as of `through`, and what their flips leave behind.

    The ledger is not touched: write both to disk, and then call `adopt`.

    Args:
        log: from which the streams were counted; stays open and unchanged.
        through: a day that all streams have published.
        streams: those that are to go on. They share the first tick and count all users.
        key: of the pseudonyms; that of `earlier` if there is one.
        earlier: of the compaction that this log came from.

    Raises:
        LedgerError: a stream does not exist.
        ValueError: the streams do not go together, or have not published `through`.
    """
    plans = [_plan_of(ledger, stream) for stream in streams]
    firsts = {plan.request.first for plan in plans}
    if len(firsts) != 1:
        raise ValueError(f"streams begin on {sorted(map(str, firsts))}; compact for streams of one first day at a time")
    (first,) = firsts
    for stream, plan in _going_on(ledger, streams):
        last = first + timedelta(days=_ticks(ledger, stream, plan) - 1)
        if not first <= through <= last:
            raise ValueError(f"through is {through}; stream {stream!r} has published the days {first} to {last}")
    windows = {window for plan in plans for window in plan.request.windows.values()}
    if earlier is not None:
        windows |= set(earlier.tombstones.spent)
    small, tombstones = compact(
        log, through, sorted(windows), first, key, None if earlier is None else earlier.tombstones
    )
    return small, Compaction(tombstones, key, arrived_fingerprint(small, through))


def adopt(
    ledger: Ledger, streams: Sequence[str], before: tuple[Log, Compaction | None], after: tuple[Log, Compaction]
) -> None:
    """Bind streams to the compacted log, all or none; from now on they are continued from it alone.

    Args:
        before: the log that they were counted from, and its tombstones.
        after: what `compacted` made of it.

    Raises:
        LedgerError: the log before is not the one that a stream was counted from.
    """
    with ledger.transaction():
        for stream, plan in _going_on(ledger, streams):
            ticks = _ticks(ledger, stream, plan)
            old, new = (_past(plan, ticks, log, compaction) for log, compaction in (before, after))
            rename_past(ledger, stream, plan, old, new)


def _going_on(ledger: Ledger, streams: Sequence[str]) -> list[tuple[str, Plan]]:
    """Streams that have days to come; those whose horizon is over need no log any more."""
    plans = [(stream, _plan_of(ledger, stream)) for stream in streams]
    return [(stream, plan) for stream, plan in plans if _ticks(ledger, stream, plan) != plan.request.horizon]


def _past(plan: Plan, ticks: int, log: Log, compaction: Compaction | None) -> Past:
    request = plan.request
    last = request.first + timedelta(days=ticks - 1)
    tombstones, key = (compaction.tombstones, compaction.key) if compaction else (None, None)
    engine = NumpyEngine(log.connection, tombstones, key)
    counts = engine_counts(engine, request.windows, request.first, last, plan.freeze)
    return Past({metric: one.values for metric, one in counts.items()}, past_name(log, last, compaction))


def _plan_of(ledger: Ledger, stream: str) -> Plan:
    charge = ledger.find_charge(stream)
    if charge is None:
        raise LedgerError(f"stream {stream!r} does not exist in this ledger")
    request = request_of(charge.specification)
    if request.sketch != "exact":
        raise ValueError(f"stream {stream!r} is counted by the sketch {request.sketch!r}; only exact ones can go on")
    return plan_release(request)


def _ticks(ledger: Ledger, stream: str, plan: Plan) -> int:
    return min(ledger.count_releases(stream, metric) for metric in plan.request.windows)
