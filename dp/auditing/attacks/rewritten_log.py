"""Somebody sees a release, and the same release again after a user-day was put into its log or the file was saved anew.

They win if names of streams, published bytes or the budget tell that the log is another, or tell two logs apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dp.accounting.composition import Guarantee
from dp.auditing.attacks.logs import FIRST, LogRow, crowd, csv_text, day
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.ledger import open_ledger
from dp.log import arrived_fingerprint, fingerprint, read_log
from dp.release import Plan, Request, count_log, default_stream, log_name, plan_release, publish, recall

CRITERION = (
    "the name and the charge of a release are those of its request, whatever the log holds; repeated, it is the same "
    "byte for byte and is charged nothing"
)

USERS = 20
TICKS = 8
GUARANTEE = Guarantee(1.0, 1e-6)

Rewriting = Callable[[Sequence[LogRow], int], str]
"""The text of another log, from the rows of one and a day of the release."""
StreamName = Callable[[Plan, Path, Path], str]
"""What the release of a plan is called; from the files of log and ledger."""


def _with_day(rows: Sequence[LogRow], number: int) -> str:
    return csv_text([*rows, LogRow("stranger", number, "+", number)])


REWRITINGS: dict[str, tuple[Rewriting, ...]] = {
    "a user-day outside": (
        lambda rows, number: _with_day(rows, -1 - number),
        lambda rows, number: _with_day(rows, TICKS + number),
    ),
    "a user-day within": (
        _with_day,
        lambda rows, number: csv_text([row for place, row in enumerate(rows) if place != number]),
    ),
    "the same rows": (
        lambda rows, number: csv_text(rows).replace("\n", "\r\n"),
        lambda rows, number: f"\ufeff{csv_text(rows)}",
        lambda rows, number: csv_text([*rows[number:], *rows[:number]]),
    ),
}
"""By what of them is new."""


class Seen(NamedTuple):
    """What a release shows: its stream, its rows, and what the budget has spent."""

    stream: str
    rows: list[str]
    epsilon: float

    @property
    def charge(self) -> tuple[str, float]:
        """To whom how much is charged."""
        return self.stream, self.epsilon


def attack(setting: Setting, name: StreamName) -> tuple[Observation, ...]:
    """Release, rewrite the log, release again; and release the other log elsewhere for the first time."""
    plan = plan_release(Request({"dau": 1}, "user-day", 2, GUARANTEE, "damped-square-root", FIRST, TICKS, {"dau": 1.0}))
    release = partial(_release, plan, name, setting)
    shown: Counter[tuple[str, str]] = Counter()
    for _ in range(setting.trials(1, 5)):
        rows, number = crowd(USERS, TICKS, setting.generator), int(setting.generator.integers(1, TICKS))
        for what, rewritings in REWRITINGS.items():
            for rewrite in rewritings:
                here, elsewhere = setting.new_folder(), setting.new_folder()
                first, again = release(csv_text(rows), here), release(rewrite(rows, number), here)
                other = release(rewrite(rows, number), elsewhere)
                shown[what, "another name or charge of a first release"] += first.charge != other.charge
                shown[what, "other bytes of a repeated release"] += first.rows != again.rows
                shown[what, "another charge after it"] += first.epsilon != again.epsilon
    return tuple(Observation(f"{what}: rewritings with {other}", times, 0) for (what, other), times in shown.items())


def _release(plan: Plan, name: StreamName, setting: Setting, text: str, folder: Path) -> Seen:
    """Put a log into a folder and release it as `dpdau release` does, from the ledger that is there."""
    log, path = folder / "log.csv", folder / "ledger.db"
    log.write_bytes(text.encode())
    stream = name(plan, log, path)
    with open_ledger(path) as ledger:
        if not ledger.budgets():
            ledger.create_budget("team", Guarantee(2 * GUARANTEE.epsilon, 2 * GUARANTEE.delta), FIRST, None)
        rows = recall(ledger, stream, "team", plan, TICKS, setting.now)
        if rows is None:
            with read_log(log) as opened:
                counts, arrived = count_log(opened, plan, day(TICKS - 1)), partial(arrived_fingerprint, opened)
                rows = publish(ledger, stream, "team", plan, counts, setting.now, arrived=arrived)
        return Seen(stream, rows, ledger.budget("team").spent.epsilon)


def ours(setting: Setting) -> tuple[Observation, ...]:
    """A stream is named by its request and by what the log is called."""
    return attack(setting, lambda plan, log, ledger: default_stream(plan.request, log_name([str(log)], ledger)))


def name_by_bytes(setting: Setting) -> tuple[Observation, ...]:
    """A stream is named by the bytes of the log, so that another log is another stream."""
    return attack(setting, lambda plan, log, ledger: default_stream(plan.request, fingerprint(log)))


TARGETS: dict[str, Target] = {OURS: ours, "a stream named by the bytes of the log": name_by_bytes}
