"""Presence, slowly and obviously: replay the operations tick by tick into a plain set."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

# Gaps that fall short of, meet and exceed every window; a calendar short enough to try every tick.
DAYS = (0, 1, 2, 3, 8, 9, 27, 28, 30, 33, 38)


class Operation(NamedTuple):
    """One row of a log; its place in the list is its arrival sequence number. Days are integers."""

    user: str
    day: int | None
    op: str
    at: int


def presence(operations: Sequence[Operation], window: int, first: int, last: int) -> dict[str, list[int]]:
    """User -> 0 or 1 at each tick first .. last."""
    waiting = sorted(operations, key=lambda operation: operation.at)  # stable: ties stay in list order
    active: set[tuple[str, int]] = set()
    users = sorted({operation.user for operation in operations})
    series: dict[str, list[int]] = {user: [] for user in users}
    for tick in range(min([first, *(operation.at for operation in operations)]), last + 1):
        while waiting and waiting[0].at <= tick:
            user, day, op, _ = waiting.pop(0)
            if op == "erase":
                active = {cell for cell in active if cell[0] != user}
            elif op == "+":
                active.add((user, day))
            else:
                active.discard((user, day))
        if tick >= first:
            for user in users:
                series[user].append(int(any((user, day) in active for day in range(tick - window + 1, tick + 1))))
    return series


def frozen(series: Sequence[int], w_bound: int | None) -> list[int]:
    """The series as it is shown: every flip is copied until w_bound of them have been."""
    shown, before, now, flips = [], 0, 0, 0
    for value in series:
        if value != before:
            before = value
            flips += 1
            if w_bound is None or flips <= w_bound:
                now = value
        shown.append(now)
    return shown


def daily_flips(
    operations: Sequence[Operation], window: int, first: int, last: int, w_bound: int | None
) -> tuple[list[int], list[int]]:
    """(starts, ends) at each tick first .. last."""
    starts, ends = [0] * (last - first + 1), [0] * (last - first + 1)
    shown: Mapping[str, list[int]] = {
        user: frozen(series, w_bound) for user, series in presence(operations, window, first, last).items()
    }
    for series in shown.values():
        for tick, (before, now) in enumerate(zip([0, *series], series, strict=False)):
            starts[tick] += now > before
            ends[tick] += now < before
    return starts, ends


def bounded_counts(
    operations: Sequence[Operation], window: int, first: int, last: int, bounds: Sequence[int]
) -> list[list[int]]:
    """At each tick first .. last: for every bound the users shown present, and those with more flips than that."""
    everyone = presence(operations, window, first, last).values()
    rows: list[list[int]] = [[] for _ in range(last - first + 1)]
    for w_bound in bounds:
        for tick, row in enumerate(rows):
            pasts = [series[: tick + 1] for series in everyone]
            flips = [sum(now != before for before, now in pairwise([0, *past])) for past in pasts]
            row += [sum(frozen(past, w_bound)[-1] for past in pasts), sum(number > w_bound for number in flips)]
    return rows


@st.composite
def operations(draw: st.DrawFn, users: str = "abc", size: int = 24) -> list[Operation]:
    """Adds, retractions, erases, re-adds, late and tied arrivals, in a file order of their own."""
    rows = []
    for _ in range(draw(st.integers(1, size))):
        user, about = draw(st.sampled_from(users)), draw(st.sampled_from(DAYS))
        op = draw(st.sampled_from(("+", "+", "+", "-", "-", "erase")))
        at = about + draw(st.sampled_from((0, 0, 0, 1, 2, 7)))
        rows.append(Operation(user, None if op == "erase" else about, op, at))
    return rows
