"""Answers to questions, slowly and obviously: replay the operations, look at every user at every tick."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import NamedTuple

from dp.questions import OTHER, PRODUCT, Breakdown, Cell, Question

EPOCH = date(1970, 1, 1)

Label = tuple[str | None, ...]
"""What an operation says of the segment columns, in their order; None where it says nothing."""
Attributes = Mapping[str, Mapping[str, str]]
"""User -> column -> value, from the table of users."""


class Written(NamedTuple):
    """One row of a log; its place in the list is its arrival sequence number. Days are integers."""

    user: str
    day: int | None
    op: str
    at: int
    label: Label = ()


class Active(NamedTuple):
    """That a user was active on a day under a label; `place` is that of the last operation that said so."""

    day: int
    label: Label
    place: int


Presence = list[set[str | None]]
"""Segments in which one user is present, at each day of a cell; None stands for the total."""


def answer(
    operations: Sequence[Written],
    question: Question,
    first: int,
    last: int,
    *,
    columns: Sequence[str] = (),
    attributes: Attributes | None = None,
    w_bound: int | None = None,
) -> list[list[int]]:
    """The counts of every series of a question, at each of its days among first .. last.

    Args:
        columns: what the labels are of.
        w_bound: each user is frozen after so many flips; of a breakdown by what users do, over all segments together.
    """
    days = cell_days(question.cell, first, last)
    counts = {name: [0] * len(days) for name in question.series}
    for user in sorted({operation.user for operation in operations}):
        own = [operation for operation in operations if operation.user == user]
        present = presence(own, question, days, columns, (attributes or {}).get(user, {}))
        for segment, runs in kept_runs(present, question, w_bound).items():
            for name in question.series:
                if name.segment == segment:
                    for tick, amount in enumerate(counted(runs, name.question, len(days))):
                        counts[name][tick] += amount
    return list(counts.values())


def cell_days(cell: Cell, first: int, last: int) -> list[int]:
    """The ticks at which a cell is published."""
    return [(day - EPOCH).days for day in cell.days(EPOCH + timedelta(days=first), EPOCH + timedelta(days=last))]


def presence(
    operations: Sequence[Written],
    question: Question,
    days: Sequence[int],
    columns: Sequence[str],
    attributes: Mapping[str, str],
) -> Presence:
    """Where one user, whose operations these are, is present on each of the days."""
    return [present_at(operations, question, day, columns, attributes) for day in days]


def present_at(
    operations: Sequence[Written],
    question: Question,
    tick: int,
    columns: Sequence[str],
    attributes: Mapping[str, str],
) -> set[str | None]:
    """The segments in which one user is present at a tick."""
    breakdown = question.breakdown
    seen = [one for one in active_at(operations, tick) if in_cell(question.cell, one.day, tick)]
    if not seen:
        return set()
    if breakdown is None:
        return {None}
    if breakdown.kind == "fixed":
        return {segment_of(breakdown, tuple(attributes.get(column) for column in breakdown.columns))}
    at = [columns.index(column) for column in breakdown.columns]

    def segment(label: Label) -> str:
        return segment_of(breakdown, tuple(label[place] for place in at))

    if breakdown.kind == "last":
        return {segment(max(seen, key=lambda one: (one.day, one.place)).label)}
    return {
        segment(one.label)
        for one in seen
        if segment(one.label)
        in admitted([segment(row.label) for row in additions(operations, one.day, tick)], breakdown)
    }


def active_at(operations: Sequence[Written], tick: int) -> list[Active]:
    """What is in state present at a tick, for one user: the last write wins, day by day and label by label."""
    state: dict[tuple[int, Label], int] = {}
    for place, (_, day, op, _, label) in arrived(operations, tick):
        if op == "erase":
            state.clear()
        elif day is not None and op == "+":
            state[day, label] = place
        else:
            for written in [key for key in state if key[0] == day and covers(label, key[1])]:
                del state[written]
    return [Active(day, label, place) for (day, label), place in state.items()]


def arrived(operations: Sequence[Written], tick: int) -> list[tuple[int, Written]]:
    """What has arrived by a tick, in the order of arrival, with its place in it."""
    in_order = sorted(operations, key=lambda operation: operation.at)  # stable: ties stay in list order
    return list(enumerate(operation for operation in in_order if operation.at <= tick))


def covers(pattern: Label, label: Label) -> bool:
    """Whether a retraction under a label takes back what was written under another: what it does not say, it covers."""
    return all(wanted is None or wanted == value for wanted, value in zip(pattern, label, strict=True))


def additions(operations: Sequence[Written], day: int, tick: int) -> list[Written]:
    """All additions to a day that have arrived by a tick, taken back or not."""
    return [one for _, one in arrived(operations, tick) if one.op == "+" and one.day == day]


def admitted(segments: Sequence[str], breakdown: Breakdown) -> list[str]:
    """The first segments to arrive, as many as a user-day may count in."""
    return list(dict.fromkeys(segments))[: breakdown.most]


def segment_of(breakdown: Breakdown, values: Sequence[str | None]) -> str:
    """The segment of the values of its columns."""
    if all(value in listed for value, listed in zip(values, breakdown.listed, strict=True)):
        return PRODUCT.join(str(value) for value in values)
    return OTHER


def in_cell(cell: Cell, day: int, tick: int) -> bool:
    """Whether activity on a day counts at a tick."""
    if cell.window is not None:
        return tick - cell.window < day <= tick
    return cell.last_day(EPOCH + timedelta(days=day)) == EPOCH + timedelta(days=tick)


def kept_runs(
    present: Presence, question: Question, w_bound: int | None
) -> dict[str | None, list[tuple[int, int, int]]]:
    """Segment -> (start, end, number of the run in its segment) of the runs of presence, each cut as the bound says.

    Without a breakdown, or by an attribute, a user is frozen after w_bound flips. By what users do, a run counts if
    the bound covers its start and its end, over all segments in the order in which runs start.
    """
    breakdown = question.breakdown
    segments: list[str | None] = [None] if breakdown is None else list(breakdown.segments)
    runs = sorted(
        (start, place, end)
        for place, segment in enumerate(segments)
        for start, end in runs_of([segment in there for there in present])
    )
    kept: dict[str | None, list[tuple[int, int, int]]] = {segment: [] for segment in segments}
    shared = breakdown is not None and breakdown.kind != "fixed"
    for number, (start, place, end) in enumerate(runs, 1):
        if w_bound is not None and (2 * number if shared else 2 * number - 1) > w_bound:
            break
        # Frozen while present: an odd bound lets nobody leave.
        until = end if w_bound is None or 2 * number <= w_bound else len(present)
        own = kept[segments[place]]
        own.append((start, until, len(own) + 1))
    return kept


def runs_of(series: Sequence[bool]) -> list[tuple[int, int]]:
    """Where a series is true, as [start, end)."""
    runs, tick = [], 0
    for value, together in groupby(series):
        length = len(list(together))
        if value:
            runs.append((tick, tick + length))
        tick += length
    return runs


def counted(runs: Sequence[tuple[int, int, int]], question: str, ticks: int) -> list[int]:
    """What the runs of one user in one segment add to a series, at each tick."""
    match question.rpartition("/")[2]:
        case "new":
            return [sum(start == tick and number == 1 for start, _, number in runs) for tick in range(ticks)]
        case "returning":
            return [sum(start == tick and number > 1 for start, _, number in runs) for tick in range(ticks)]
        case "gone":
            return [sum(end == tick for _, end, _ in runs) for tick in range(ticks)]
    return [sum(start <= tick < end for start, end, _ in runs) for tick in range(ticks)]
