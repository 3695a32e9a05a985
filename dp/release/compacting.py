"""Rows of erased users leave the log for good, and the streams that were counted from it go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from dp.ledger import Ledger, LedgerError
from dp.log import Log, arrived_fingerprint, takes_back_segments
from dp.presence import compact
from dp.presence.tombstone_file import Compaction, past_name
from dp.release.counting import count_log
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
        through: a day that all streams have published, or at which they have not begun.
        streams: those that are to go on. They count all users; first days, windows and bounds may differ.
        key: of the pseudonyms; that of `earlier` if there is one.
        earlier: of the compaction that this log came from.

    Raises:
        LedgerError: a stream does not exist.
        ValueError: a stream does not count all users, or has not published `through`; or the log was read with
            segments that a retraction names, so that flips are not those that the streams counted.
    """
    if takes_back_segments(log):
        raise ValueError(
            f"log takes back days in one segment ({', '.join(log.segments)}), and its streams of metrics counted that "
            "as the whole day: compact it without these columns"
        )
    before = None if earlier is None else earlier.tombstones
    going_on = _going_on(ledger, streams)
    for stream, plan in going_on.items():
        first, ticks = plan.request.first, _ticks(ledger, stream, plan)
        last = first + timedelta(days=ticks - 1)
        if through > last:
            days = f"has published the days {first} to {last}" if ticks else f"begins on {first} and has published none"
            raise ValueError(
                f"through is {through}; stream {stream!r} {days}. Publish it up to there before, or give a day "
                "that no stream lags behind"
            )
    windows: dict[date, set[int]] = {}
    for stream in streams:
        plan = _plan_of(ledger, stream)
        first, own = plan.request.first, set(plan.request.windows.values())
        # A stream that freezes nobody, or that has ended, needs no tombstones; it has them where they can be had.
        needs = stream in going_on and plan.freeze is not None
        if needs or before is None or before.holds(first, own):
            windows.setdefault(first, set()).update(own)
    small, tombstones = compact(log, through, windows, key, before)
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
        for stream, plan in _going_on(ledger, streams).items():
            ticks = _ticks(ledger, stream, plan)
            if not ticks:
                continue
            old, new = (_past(plan, ticks, log, compaction) for log, compaction in (before, after))
            rename_past(ledger, stream, plan, old, new)


def _going_on(ledger: Ledger, streams: Sequence[str]) -> dict[str, Plan]:
    """Streams that have days to come; those whose horizon is over need no log any more."""
    plans = {stream: _plan_of(ledger, stream) for stream in streams}
    return {stream: plan for stream, plan in plans.items() if _ticks(ledger, stream, plan) != plan.request.horizon}


def _past(plan: Plan, ticks: int, log: Log, compaction: Compaction | None) -> Past:
    last = plan.request.first + timedelta(days=ticks - 1)
    counts = count_log(log, plan, last, compaction=compaction)
    return Past({metric: one.values for metric, one in counts.items()}, past_name(log, last, compaction))


def _plan_of(ledger: Ledger, stream: str) -> Plan:
    charge = ledger.find_charge(stream)
    if charge is None:
        raise LedgerError(f"stream {stream!r} does not exist in this ledger")
    request = request_of(charge.specification)
    if request.sketch != "exact":
        raise ValueError(f"stream {stream!r} is counted by the sketch {request.sketch!r}; only exact ones can go on")
    if request.questions:
        raise ValueError(
            f"stream {stream!r} publishes {request.questions[0].name}; only streams of metrics can go on from a "
            "smaller log"
        )
    return plan_release(request)


def _ticks(ledger: Ledger, stream: str, plan: Plan) -> int:
    return min(ledger.count_releases(stream, metric) for metric in plan.request.windows)
