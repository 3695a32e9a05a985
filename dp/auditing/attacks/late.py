"""Somebody reports activity late, out of order and ahead of its day, and retracts days long past.

They win if a published day changes, if an operation moves a count before it arrived, or if one user-day moves
the counts more often than its class says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np

from dp.accounting.composition import Guarantee
from dp.arrays import Integers
from dp.auditing.attacks.change import measured_over_certified
from dp.auditing.attacks.logs import FIRST, LogRow, crowd, day, log_of_rows
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.counts import Counts
from dp.ledger import LedgerError, open_ledger
from dp.log import Log, LogError, arrived_fingerprint
from dp.mechanisms import LinearDesign, linear_design
from dp.presence import NumpyEngine, user_flips
from dp.release import Request, plan_release, publish
from dp.units import protected_class

CRITERION = (
    "published days stay, nothing counts before it arrived, and a user-day whose user retracts or is late k times "
    "moves the counts in at most 1 + k runs, within the certificate for W_BOUND = 2(1 + k)"
)

TICKS = 40
LAST = day(TICKS - 1)
WINDOW = 7
USERS = 30
TARGET_MECHANISMS = ("binary-tree", "damped-square-root", "optimal")
DISTURBANCES = (0, 1, 2)
PROTECTED = 12
"""The day whose activity is protected."""

LogView = Callable[[Log], Log]
"""What an engine sees of a log."""


def by_arrival(log: Log) -> Log:
    """The log as it is: an operation counts from its arrival on."""
    return log


def by_day(log: Log) -> Log:
    """Every operation as if it had arrived on its day."""
    log.connection.execute('UPDATE operations SET "at" = day WHERE day IS NOT NULL')
    return log


def revisions(setting: Setting, look: LogView) -> tuple[Observation, ...]:
    """Publish a log week after week as it grows, and compare with what the whole log says of the same days."""
    operations = crowd(USERS, TICKS, setting.generator) + _out_of_order(setting)
    path = setting.new_folder() / "ledger.db"
    guarantee = Guarantee(1.0, 1e-6)
    plan = plan_release(
        Request({"wau": WINDOW}, "user-day", 2, guarantee, "damped-square-root", FIRST, TICKS, {"wau": 1.0})
    )
    refused, rows, counted, changed = 0, [list[str]()], [np.empty(0, dtype=np.int64)], 0
    with open_ledger(path) as ledger:
        ledger.create_budget("team", guarantee, FIRST, None)
        for ticks in (*range(WINDOW, TICKS, WINDOW), TICKS):
            so_far = [operation for operation in operations if operation.at < ticks]
            with look(log_of_rows(so_far, setting.new_folder())) as log:
                counts = _counts(log).until(ticks)
                changed += int(np.count_nonzero(counts.values[: len(counted[-1])] != counted[-1]))
                counted.append(counts.values)
                arrived = partial(arrived_fingerprint, log)
                try:
                    shown = publish(ledger, "stream", "team", plan, {"wau": counts}, setting.now, arrived=arrived)
                except LedgerError:
                    refused += 1
                else:
                    rows.append(shown)
        charged = len(ledger.charges())
    rewritten = sum(later[: len(earlier)] != earlier for earlier, later in pairwise(rows))
    return (
        Observation("counts of published days that later operations changed", changed, 0),
        Observation("published rows that were not what they had been", rewritten, 0),
        Observation("weeks in which the stream had to be refused", refused, 0),
        Observation("charges for all weeks", charged, 1),
    )


def _out_of_order(setting: Setting) -> list[LogRow]:
    """On each day an operation that adds or retracts an earlier user-day, and an erasure now and then."""
    draw = setting.generator.integers
    operations = []
    for arrival in range(TICKS):
        active = int(draw(max(arrival - 2 * WINDOW, 0), arrival + 1))
        operations.append(LogRow(f"user {draw(USERS)}", active, "+-"[int(draw(2))], arrival))
        if arrival % 8 == 7:
            operations.append(LogRow(f"user {draw(USERS)}", arrival, "erase", arrival))
    return operations


def _counts(log: Log) -> Counts:
    return NumpyEngine(log.connection).daily_flips((WINDOW,), FIRST, LAST)[WINDOW].counts


def protected_day_changes(setting: Setting, look: LogView) -> tuple[Observation, ...]:
    """What one protected day changes for users who retract other days of its window or report them late, k times."""
    readings: list[Observation] = []
    users = setting.trials(300, 3_000)
    for disturbances in DISTURBANCES:
        runs = 1 + disturbances
        arrivals = PROTECTED + setting.generator.integers(0, 3, users)
        protected, others = _users(arrivals, disturbances, setting.generator)
        with look(log_of_rows(protected + others, setting.new_folder())) as log:
            with_day = _presence(log, users)
        with look(log_of_rows(others, setting.new_folder())) as log:
            without_day = _presence(log, users)
        changes = with_day - without_day
        early = np.count_nonzero(changes[np.arange(TICKS) < arrivals[:, np.newaxis]])
        most = (np.diff(changes, prepend=0) > 0).sum(axis=1).max()
        readings += [
            Observation(f"k = {disturbances}: changes before the arrival", float(early), 0),
            Observation(f"k = {disturbances}: most runs of a change", float(most), runs),
        ]
        _, distinct = np.unique(changes, axis=0, return_index=True)
        for name in TARGET_MECHANISMS:
            enough, assumed = _design(name, runs), _design(name, 1)
            worst = max(measured_over_certified(enough, with_day[user], without_day[user]) for user in distinct)
            # What is measured and its bound may be sums of the same floats in another order.
            readings.append(Observation(f"k = {disturbances}: change over the certificate, {name}", round(worst, 9), 1))
            if disturbances:
                what = f"k = {disturbances}: change over the certificate of W_BOUND = 2, {name}"
                readings.append(Observation(what, worst * enough.sensitivity / assumed.sensitivity))
    return tuple(readings)


def _users(arrivals: Integers, disturbances: int, generator: np.random.Generator) -> tuple[list[LogRow], list[LogRow]]:
    """The protected day of every user, half of them with a later retraction, and the user's other days.

    Some of the others are on time and stay; `disturbances` of them are taken back again, or come after PROTECTED
    although they lie before it.
    """
    protected, others = [], []
    for number, arrival in enumerate(arrivals.tolist()):
        user = f"user {number}"
        protected.append(LogRow(user, PROTECTED, "+", arrival))
        if generator.random() < 0.5:
            retracted = int(generator.integers(arrival + 1, PROTECTED + WINDOW + 1))
            protected.append(LogRow(user, PROTECTED, "-", retracted))
        on_time = PROTECTED + int(generator.choice([-3, 4, 2 * WINDOW]))
        others.append(LogRow(user, on_time, "+", on_time))
        for disturbed in generator.choice(np.arange(1, WINDOW - 1), disturbances, replace=False).tolist():
            begin = PROTECTED + disturbed
            if generator.random() < 0.5:
                others.append(LogRow(user, begin, "+", begin))
                others.append(LogRow(user, begin, "-", begin + 1))
            else:
                # It is in the window up to begin alone.
                others.append(LogRow(user, begin + 1 - WINDOW, "+", begin))
    return protected, others


def _presence(log: Log, users: int) -> Integers:
    """Who is present when, shape (users, TICKS)."""
    flips = user_flips(log.connection, WINDOW, FIRST, LAST)
    names = np.array([int(name.removeprefix("user ")) for name in flips.ids.to_pylist()])
    steps = np.zeros((users, TICKS), dtype=np.int64)
    np.add.at(steps, (names[flips.users], flips.ticks), flips.steps)
    return np.cumsum(steps, axis=1)


def _design(name: str, runs: int) -> LinearDesign:
    return linear_design(name, protected_class("user-day", WINDOW, 2 * runs, TICKS))


def ours(setting: Setting) -> tuple[Observation, ...]:
    """The presence query, by arrival."""
    return (*revisions(setting, by_arrival), *protected_day_changes(setting, by_arrival), _early_arrivals(setting))


def _early_arrivals(setting: Setting) -> Observation:
    try:
        log_of_rows([LogRow("user 0", PROTECTED, "+", PROTECTED - 1)], setting.new_folder()).close()
    except LogError:
        return Observation("operations that arrived before their day and were let through", 0, 0)
    return Observation("operations that arrived before their day and were let through", 1, 0)


def count_by_day(setting: Setting) -> tuple[Observation, ...]:
    """Counts by day: what arrives late changes days that are published, and the stream cannot go on."""
    return (*revisions(setting, by_day), *protected_day_changes(setting, by_day))


TARGETS: dict[str, Target] = {OURS: ours, "counting by day and not by arrival": count_by_day}
