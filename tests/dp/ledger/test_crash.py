"""Real processes, really killed: kill -9 at every step of a release, at random instants, and races on one budget.

This file is also the script of those processes: `python -m tests.dp.ledger.test_crash SCENARIO FOLDER` imports
everything once and forks its children, so that a kill costs milliseconds. A child wraps the objects that it hands
to `publish` (the ledger's connection, the plan's noise); nothing in `dp` is patched. The tests look at what is left on
disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp.accounting.composition import Guarantee
from dp.ledger import BudgetExhausted, Ledger, LedgerError, open_ledger
from dp.noise import Noise
from dp.release import Plan, Request, plan_release
from tests.oracles import postgres
from tests.oracles.scenarios import at_once, forked, run_scenario, wait
from tests.oracles.stated import publish

NOW = datetime(2026, 6, 1)
METRICS = {"dau": 1, "mau": 30}
TICKS = 12
STAGES = (3, 4, 9, TICKS)
COUNTS = {"dau": np.arange(50, 50 + TICKS), "mau": np.arange(400, 400 + TICKS)}
PLAN = plan_release(
    Request(
        windows=METRICS,
        unit="user-day",
        w_bound=2,
        guarantee=Guarantee(1.0, 1e-6),
        mechanism="damped-square-root",
        first=date(2026, 1, 1),
        horizon=TICKS,
        shares={"dau": 1.0, "mau": 1.0},
    )
)
pytestmark = pytest.mark.usefixtures("database")

PROCESSES = 8
RANDOM_KILLS = int(os.environ.get("DPDAU_KILLS", "40"))


# --- What runs in the child processes --------------------------------------------------------------------------------


def ledger_in(folder: Path) -> Path | str:
    """Where the ledger of a folder lies."""
    port = postgres.chosen()
    return folder / "ledger.db" if port is None else postgres.database_of(folder, port)


class Clock:
    """Counts the steps of a child and kills it, with SIGKILL and from the inside, at one of them."""

    def __init__(self, fatal: int | None, journal: Path | None = None) -> None:
        self.fatal, self.journal, self.step = fatal, journal, 0

    def tick(self, what: str) -> None:
        if self.journal:
            with self.journal.open("a") as file:
                file.write(what + "\n")
        if self.step == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.step += 1


class WatchedConnection:
    """A connection that ticks before and after every statement; `early` sees rows before they are committed."""

    def __init__(self, inner: sqlite3.Connection, clock: Clock, early: Callable[[str], None] | None = None) -> None:
        self.inner, self.clock, self.early = inner, clock, early

    @property
    def in_transaction(self) -> bool:
        return self.inner.in_transaction

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        self.clock.tick(f"before {statement[:32]}")
        cursor = self.inner.execute(statement, *arguments)
        self.clock.tick(f"after {statement[:32]}")
        return cursor

    def executemany(self, statement: str, rows: list[tuple[Any, ...]]) -> sqlite3.Cursor:
        self.clock.tick(f"before {statement[:32]}")
        cursor = self.inner.executemany(statement, rows)
        if self.early:
            for row in rows:
                self.early(row[3])
        self.clock.tick(f"after {statement[:32]}")
        return cursor


class WatchedNoise:
    """Noise that ticks before and after a secure draw."""

    def __init__(self, inner: Noise, clock: Clock) -> None:
        self.inner, self.clock = inner, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def secure(self, size: int) -> np.ndarray:
        self.clock.tick("before the draw")
        draws = self.inner.secure(size)
        self.clock.tick("after the draw")
        return draws


def watched_plan(clock: Clock) -> Plan:
    series = tuple(
        replace(one, mechanism=replace(one.mechanism, noise=WatchedNoise(one.mechanism.noise, clock)))
        for one in PLAN.series
    )
    return replace(PLAN, series=series)


def show(folder: Path, row: str) -> None:
    """Print one row to where a reader could see it."""
    descriptor = os.open(folder / "printed", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(descriptor, (row + "\n").encode())
    os.close(descriptor)


def release_in_stages(folder: Path, clock: Clock, stream: str = "stream", *, show_early: bool = False) -> None:
    """Publish a little more at every stage and show what came back; a broken twin shows it before the commit."""
    with open_ledger(ledger_in(folder)) as ledger:
        early = (lambda row: show(folder, row)) if show_early else None
        watched = Ledger(WatchedConnection(ledger._connection, clock, early), ledger.place)  # type: ignore[arg-type]
        plan = watched_plan(clock)
        for ticks in STAGES:
            rows = publish(watched, stream, "team", plan, {m: COUNTS[m][:ticks] for m in METRICS}, NOW)
            if not show_early:
                for row in rows:
                    show(folder, row)
            clock.tick(f"shown {ticks} ticks")


def prepared(folder: Path) -> Path:
    folder.mkdir()
    with open_ledger(ledger_in(folder)) as ledger:
        ledger.create_budget("team", Guarantee(5.0, 1e-5), date(2026, 1, 1), None)
    return folder


def kill_at_every_step(root: Path, *, show_early: bool = False) -> None:
    journal = root / "journal"
    whole = prepared(root / "undisturbed")
    wait(forked(lambda: release_in_stages(whole, Clock(None, journal), show_early=show_early)))
    for step, what in enumerate(journal.read_text().splitlines()):
        folder = prepared(root / f"case {step}")
        (folder / "killed").write_text(what)
        clock = Clock(step)
        ended_by = wait(forked(lambda: release_in_stages(folder, clock, show_early=show_early)))  # noqa: B023
        assert ended_by == signal.SIGKILL


def kill_at_random(root: Path) -> None:
    whole = prepared(root / "undisturbed")
    started = time.perf_counter()
    wait(forked(lambda: release_in_stages(whole, Clock(None))))
    lasts = time.perf_counter() - started
    generator, killed, attempt = random.Random(20260601), 0, 0
    while killed < RANDOM_KILLS:
        attempt += 1
        folder = prepared(root / f"case {attempt}")
        process = forked(lambda: release_in_stages(folder, Clock(None)))  # noqa: B023
        time.sleep(generator.uniform(0, lasts))
        os.kill(process, signal.SIGKILL)
        if wait(process) == signal.SIGKILL:
            (folder / "killed").write_text(f"attempt {attempt}")
            killed += 1


def charge_until_refused(folder: Path, worker: int) -> None:
    granted = refused = 0
    with open_ledger(ledger_in(folder)) as ledger:
        for number in range(25):
            try:
                ledger.charge(f"{worker}-{number}", "team", Guarantee(0.05, 0.0), {}, NOW)
                granted += 1
            except BudgetExhausted:
                refused += 1
    (folder / f"outcome {worker}").write_text(json.dumps([granted, refused]))


def charge_by_check_then_write(folder: Path, worker: int) -> None:
    """The broken twin: it looks, and then it writes."""
    connection = sqlite3.connect(folder / "naive.db", isolation_level=None, timeout=60)
    for _ in range(25):
        (spent,) = connection.execute("SELECT sum(amount) FROM charges").fetchone()
        if (spent or 0) + 1 <= 100:
            time.sleep(0.001)
            connection.execute("INSERT INTO charges VALUES (1)")
    connection.close()


def race_for_a_budget(root: Path) -> None:
    folder = prepared(root / "race")
    at_once([lambda worker=worker: charge_until_refused(folder, worker) for worker in range(PROCESSES)])


def race_of_the_twin(root: Path) -> None:
    connection = sqlite3.connect(root / "naive.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE charges (amount)")
    connection.close()
    at_once([lambda worker=worker: charge_by_check_then_write(root, worker) for worker in range(PROCESSES)])


def publish_all(folder: Path, worker: int) -> None:
    with open_ledger(ledger_in(folder)) as ledger:
        rows = publish(ledger, "stream", "team", PLAN, COUNTS, NOW)
    (folder / f"rows {worker}").write_text("\n".join(rows))


def race_for_a_stream(root: Path) -> None:
    for number in range(5):
        folder = prepared(root / f"race {number}")
        at_once([lambda worker=worker: publish_all(folder, worker) for worker in range(PROCESSES)])  # noqa: B023


def create(folder: Path, worker: int) -> None:
    with open_ledger(ledger_in(folder)) as ledger, contextlib.suppress(LedgerError):
        ledger.create_budget(f"budget {worker % 2}", Guarantee(1.0, 0.0), date(2026, 1, 1), None)


def race_for_a_new_file(root: Path) -> None:
    for number in range(30):
        folder = root / f"new {number}"
        folder.mkdir()
        ledger_in(folder)
        at_once([lambda worker=worker: create(folder, worker) for worker in range(PROCESSES)])  # noqa: B023


SCENARIOS: dict[str, Callable[[Path], None]] = {
    "every-step": kill_at_every_step,
    "every-step-shown-early": lambda root: kill_at_every_step(root, show_early=True),
    "random": kill_at_random,
    "budget": race_for_a_budget,
    "twin": race_of_the_twin,
    "stream": race_for_a_stream,
    "new-file": race_for_a_new_file,
}


# --- What the tests look at ------------------------------------------------------------------------------------------


def key(row: str) -> tuple[str, str]:
    content = json.loads(row)
    return content["metric"], content["day"]


def violations(folder: Path, stream: str = "stream") -> list[str]:
    """What a killed release broke: read the ledger as it was left, publish again, and compare."""
    found = []
    printed_file = folder / "printed"
    printed = printed_file.read_text().split("\n")[:-1] if printed_file.exists() else []
    with open_ledger(ledger_in(folder)) as ledger:
        before = ledger.charges()
        if len(before) > 1:
            found.append(f"{len(before)} charges before the rerun")
        if printed and not before:
            found.append("rows were shown that nobody paid for")
        if ledger.budget("team").spent.epsilon != sum(entry.guarantee.epsilon for entry in before):
            found.append("spent is not the sum of the charges")
        stored = [row for metric in METRICS for row in ledger.releases(stream, metric)]
        final = publish(ledger, stream, "team", PLAN, COUNTS, NOW)
        if len(final) != 2 * TICKS or publish(ledger, stream, "team", PLAN, COUNTS, NOW) != final:
            found.append("the release is not complete and stable")
        if len(ledger.charges()) != 1 or ledger.budget("team").spent != Guarantee(1.0, 1e-6):
            found.append(f"{len(ledger.charges())} charges after the rerun, spent {ledger.budget('team').spent}")
        if before and ledger.charges()[0] != before[0]:
            found.append("the charge changed")
    by_key = {key(row): row for row in final}
    if any(by_key[key(row)] != row for row in stored):
        found.append("a stored row changed")
    if any(by_key[key(row)] != row for row in printed):
        found.append("a printed row changed")
    return found


def cases(root: Path) -> dict[str, Path]:
    """What killed each case → its folder."""
    return {
        f"{path.name}, {(path / 'killed').read_text()}": path
        for path in root.glob("case *")
        if (path / "killed").exists()
    }


@pytest.mark.slow
def test_kill_at_every_step_of_a_release(tmp_path):
    run_scenario("tests.dp.ledger.test_crash", "every-step", tmp_path)
    steps = (tmp_path / "journal").read_text()
    for needed in (
        "before the draw",
        "after the draw",
        "before BEGIN",
        "before COMMIT",
        "after COMMIT",
        "before UPDATE",
    ):
        assert needed in steps
    killed = cases(tmp_path)
    assert len(killed) == len(steps.splitlines()) >= 60
    charged = []
    for path in killed.values():
        with open_ledger(ledger_in(path)) as ledger:
            charged.append(len(ledger.charges()) + len(ledger.releases("stream", "mau")))
    assert set(charged) == {0, 1, 4, 5, 10, 13}, "the kills fell before, at and after every commit"
    broken = {what: found for what, path in killed.items() if (found := violations(path))}
    assert broken == {}
    assert violations(tmp_path / "undisturbed") == []


@pytest.mark.slow
def test_a_release_that_is_shown_before_its_commit_is_caught(tmp_path):
    run_scenario("tests.dp.ledger.test_crash", "every-step-shown-early", tmp_path)
    broken = {what: found for what, path in cases(tmp_path).items() if (found := violations(path))}
    assert any("before COMMIT" in what for what in broken)
    assert all(found == ["a printed row changed"] for found in broken.values())


@pytest.mark.slow
def test_kill_at_random_instants(tmp_path):
    run_scenario("tests.dp.ledger.test_crash", "random", tmp_path)
    killed = cases(tmp_path)
    assert len(killed) == RANDOM_KILLS
    broken = {what: found for what, path in killed.items() if (found := violations(path))}
    assert broken == {}


def test_a_key_that_changes_with_every_attempt_is_caught(tmp_path):
    folder = prepared(tmp_path / "twin")
    for attempt in range(2):
        release_in_stages(folder, Clock(None), f"attempt {attempt}")
    found = violations(folder)
    assert "2 charges before the rerun" in found
    assert "a printed row changed" in found


@pytest.mark.slow
def test_eight_processes_never_overspend_one_budget(tmp_path):
    run_scenario("tests.dp.ledger.test_crash", "budget", tmp_path)
    folder = tmp_path / "race"
    outcomes = [json.loads(path.read_text()) for path in folder.glob("outcome *")]
    assert len(outcomes) == PROCESSES
    assert sum(granted for granted, _ in outcomes) == 100
    assert sum(refused for _, refused in outcomes) == 25 * PROCESSES - 100
    with open_ledger(ledger_in(folder)) as ledger:
        assert len(ledger.charges()) == 100
        assert ledger.budget("team").spent.epsilon == 5.0


@pytest.mark.slow
def test_the_same_race_overspends_a_budget_that_is_checked_and_then_charged(tmp_path):
    run_scenario("tests.dp.ledger.test_crash", "twin", tmp_path)
    connection = sqlite3.connect(tmp_path / "naive.db")
    (charged,) = connection.execute("SELECT count(*) FROM charges").fetchone()
    connection.close()
    assert charged > 100


@pytest.mark.slow
def test_eight_processes_publish_one_stream_once(tmp_path):
    run_scenario("tests.dp.ledger.test_crash", "stream", tmp_path)
    for folder in tmp_path.glob("race *"):
        results = [path.read_text() for path in folder.glob("rows *")]
        assert len(results) == PROCESSES
        assert len(set(results)) == 1
        assert violations(folder) == []


@pytest.mark.slow
def test_eight_processes_create_one_ledger(tmp_path):
    run_scenario("tests.dp.ledger.test_crash", "new-file", tmp_path)
    folders = list(tmp_path.glob("new *"))
    assert len(folders) == 30
    for folder in folders:
        with open_ledger(ledger_in(folder)) as ledger:
            assert [budget.name for budget in ledger.budgets()] == ["budget 0", "budget 1"]


if __name__ == "__main__":
    PLAN.series[0].mechanism.noise.secure(1)  # OpenDP's first call takes half a second; the children inherit it
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
