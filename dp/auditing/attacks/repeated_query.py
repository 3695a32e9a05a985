"""Somebody may ask for the same release as often as they like, under its own name or others and across restarts.

They win if averaging the answers removes noise, or if more was drawn than was charged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.attacks.logs import FIRST
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.ledger import BudgetExhausted, open_ledger
from dp.mechanisms import EMPTY_STATE
from dp.release import Plan, Request, plan_release, publish, stated_counts
from dp.release.drawing import seeded_source

CRITERION = "every answer is the first one byte for byte, at one charge, and averaging removes none of its noise"

TICKS = 24
COUNTS = np.arange(500, 500 + TICKS)
GUARANTEE = Guarantee(1.0, 1e-6)
AFFORDABLE_RELEASES = 4
"""Releases that the budget has room for."""
RESTARTS = 10

Ask = Callable[[str], list[str]]
Server = Callable[[], AbstractContextManager[Ask]]
"""Starts the server; what it answers to the name of a stream, row by row, until it stops."""


def attack(setting: Setting, server: Server) -> tuple[Observation, ...]:
    """Ask one question many times, restarting in between, and then under other names."""
    questions = setting.trials(200, 1000)
    answers: list[list[str]] = []
    for _ in range(RESTARTS):
        with server() as ask:
            answers += [ask("stream") for _ in range(questions // RESTARTS)]
    others = 0
    with server() as ask:
        for number in range(questions):
            try:
                ask(f"stream {number}")
            except BudgetExhausted:
                break
            others += 1
    errors = np.array([[json.loads(row)["estimate"] for row in answer] for answer in answers]) - COUNTS
    left = float(np.linalg.norm(errors.mean(axis=0)) / np.linalg.norm(errors[0]))
    return (
        Observation("different answers to one question", len({tuple(answer) for answer in answers}), 1),
        # The mean of equal floats may differ from them in the last digit.
        Observation("share of the noise that averaging removes", round(1 - left, 9), 0),
        Observation("further answers under other names, without a charge that fits", others, AFFORDABLE_RELEASES - 1),
    )


def _plan() -> Plan:
    return plan_release(Request({"dau": 1}, "user-day", 2, GUARANTEE, "damped-square-root", FIRST, TICKS, {"dau": 1.0}))


def ours(setting: Setting) -> tuple[Observation, ...]:
    """`publish` with the noise of OpenDP, on a ledger that is opened again after every hundred questions."""
    plan, path = _plan(), setting.new_folder() / "ledger.db"
    counts = stated_counts(plan, {"dau": COUNTS})
    _open_budget(path)

    @contextmanager
    def server() -> Iterator[Ask]:
        with open_ledger(path) as ledger:
            yield lambda stream: publish(ledger, stream, "team", plan, counts, setting.now)

    readings = attack(setting, server)
    with open_ledger(path) as ledger:
        charged = sum(charge.stream == "stream" for charge in ledger.charges())
        spent = ledger.budget("team").spent.epsilon
    return (
        *readings,
        Observation("charges for one question", charged, 1),
        Observation("ε spent on all questions", spent, AFFORDABLE_RELEASES * GUARANTEE.epsilon),
    )


def draw_anew(setting: Setting) -> tuple[Observation, ...]:
    """A server that keeps no releases and draws anew for every answer."""
    plan, source = _plan(), seeded_source(setting.generator)

    def ask(stream: str) -> list[str]:
        _, released = plan.series[0].mechanism.run(EMPTY_STATE, COUNTS, source, 0.95)
        return [json.dumps({"estimate": estimate}) for estimate in released.estimates.tolist()]

    @contextmanager
    def server() -> Iterator[Ask]:
        yield ask

    return attack(setting, server)


def _open_budget(path: Path) -> None:
    with open_ledger(path) as ledger:
        cap = Guarantee(AFFORDABLE_RELEASES * GUARANTEE.epsilon, AFFORDABLE_RELEASES * GUARANTEE.delta)
        ledger.create_budget("team", cap, FIRST, None)


TARGETS: dict[str, Target] = {OURS: ours, "noise drawn anew for every answer": draw_anew}
