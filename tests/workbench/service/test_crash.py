"""Real processes, really killed, while they take in operations and close days; and processes that race to close them.

This file is also the script of those processes: `python -m tests.workbench.service.test_crash SCENARIO FOLDER` imports
everything once and forks its children. A child writes down what it is about to do and, after each durable step,
what it was told; the tests compare that with what is left on disk.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp.ledger import Ledger, has_ledger, open_ledger
from dp.release import plan_release, simulate_rows, stated_counts
from tests.oracles import postgres
from tests.oracles.scenarios import at_once, forked, run_scenario, wait
from tests.oracles.service_model import START, History, add, clock, day, erasure, retract, settings_in
from tests.oracles.store_contents import arrived, counted
from workbench.service import Ingested, Operation, Service, Settings, open_service, publishing
from workbench.service import service as service_module
from workbench.service.account import Account
from workbench.service.key_file import hidden_by
from workbench.service.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("database")]

METRICS = {"dau": 1, "wau": 7, "mau": 30}
KILLS = int(os.environ.get("DPDAU_KILLS", "60"))
DAYS = 30
RENEWED = 2
"""Days of a period where there are several."""
PROCESSES = 4


def settings_of(folder: Path) -> Settings:
    horizon = RENEWED if folder.name.endswith("renewed") else "unlimited"
    # Markers of early days are to be found at the end.
    return settings_in(
        folder, first_day=day(0), horizon=horizon, future_days="true", budget_epsilon=10, fresh_days=2000
    )


def batch(number: int) -> list[Operation]:
    """The operations of one step; the first is of a user who appears nowhere else."""
    random_ = random.Random(number)
    open_index = number // 2
    operations = [add(f"marker-{number}", open_index)]
    for _ in range(random_.randrange(1, 30)):
        user, about = f"user-{random_.randrange(12)}", open_index + random_.choice((0, 0, -1, -8, 1))
        operations.append(random_.choice((add, add, retract))(user, about))
    if number % 9 == 5:
        operations.append(erasure(f"user-{random_.randrange(12)}"))
    return operations


# --- What runs in the child processes --------------------------------------------------------------------------------


def note(folder: Path, **what: Any) -> None:
    """Write one line to where it outlives the process; a line of its own, though a kill may have cut off the last."""
    descriptor = os.open(folder / "journal", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(descriptor, f"\n{json.dumps(what)}\n".encode())
    os.close(descriptor)


def journal(folder: Path) -> list[dict[str, Any]]:
    """The notes that were written whole. Of one that a kill cut off nothing was told: it is as if it had come before.

    A beginning of a note is never a note, so that none is taken for another.
    """
    path = folder / "journal"
    notes, torn = [], 0
    for line in filter(None, path.read_text().splitlines() if path.exists() else []):
        try:
            notes.append(json.loads(line))
        except json.JSONDecodeError:
            assert line.startswith("{"), "not even the beginning of a note"
            torn += 1
    assert torn <= KILLS, "a kill cuts off one note at most"
    return notes


def go_on(folder: Path, opened: int, worker: int, workers: int) -> None:
    """Take in two batches, close a day, and so on for ever, from where the last process was cut off.

    The batches of each worker have numbers of their own.
    """
    note_arrivals(folder)
    with open_service(settings_of(folder), clock) as service:
        os.write(opened, b"!")
        while True:
            go_on_once(folder, service, worker, workers)


def go_on_once(folder: Path, service: Service, worker: int, workers: int) -> None:
    tried = [entry["tries"] for entry in journal(folder) if "tries" in entry]
    number = max((one for one in tried if one % workers == worker), default=worker - workers) + workers
    open_day = service.status().open_day
    assert open_day is not None
    for _ in range(2):
        note(folder, tries=number)
        note(folder, stored=number, seq=service.ingest(batch(number)).seq)
        number += workers
    note(folder, rows=service.close(open_day))


def note_arrivals(folder: Path) -> None:
    """Write down of every batch, before it is committed, from which day it counts, and its place."""
    genuine = Store.append

    def append(store: Store, operations: Sequence[Operation], earliest: int | None = None) -> Ingested:
        at = store.progress().counts_from(earliest)
        ingested = genuine(store, operations, earliest)
        number = int(operations[0].user.removeprefix("marker-"))
        note(folder, takes=number, at=at - START, last=ingested.seq)
        return ingested

    Store.append = append  # type: ignore[method-assign]


def kill_at_random(root: Path, goes_on: Callable[[Path, int, int, int], None] = go_on, most: int = 2) -> None:
    """One process is killed and begins again, while the others go on.

    Every fourth kill falls anywhere in a process's life, the others after it has opened the service. A busy machine
    gives each life more time, so that as much happens in it.
    """
    workers = 1 if postgres.chosen() is None else most
    folder = root / "killed"
    folder.mkdir()
    # What a first close imports and designs is there before the children are, so that they live in their steps.
    for metric in METRICS:
        plan = plan_release(settings_of(folder).request(metric, day(0)))
        simulate_rows(plan, stated_counts(plan, {metric: np.array([1])}), seed=1)
    settings_of(folder)
    generator = random.Random(20260601)
    running: list[tuple[int, int]] = []

    def begin(number: int) -> None:
        opened, opens = os.pipe()
        running.append((forked(lambda: goes_on(folder, opens, number % workers, workers)), opened))
        os.close(opens)

    try:
        longest = 0.2
        # The first makes the store, and the second takes as long as those to come.
        for number in range(2):
            begun = time.monotonic()
            begin(number)
            os.read(running[0][1], 1)
            longest = max(0.2, 2 * (time.monotonic() - begun))
            assert killed(*running.pop(0)) == signal.SIGKILL
        for number in range(2, KILLS):
            begin(number)
            if len(running) < workers:
                continue
            if number % 4:
                os.read(running[0][1], 1)
            time.sleep(generator.uniform(0, longest))
            assert killed(*running.pop(0)) == signal.SIGKILL
    finally:
        for one in running:
            killed(*one)


def killed(process: int, opened: int) -> int | None:
    """Kill a process; the signal that ended it."""
    os.close(opened)
    os.kill(process, signal.SIGKILL)
    return wait(process)


def dies(owner: Any, name: str, *, after: bool) -> None:
    """Let this process die where it calls something: before it, or after it."""
    genuine = getattr(owner, name)

    def deadly(*arguments: Any, **named: Any) -> Any:
        if after:
            genuine(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


def dies_at_call(owner: Any, name: str, fatal: int) -> None:
    """Let this process die after so many calls."""
    genuine = getattr(owner, name)
    calls = []

    def deadly(*arguments: Any, **named: Any) -> Any:
        result = genuine(*arguments, **named)
        calls.append(1)
        if len(calls) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


POINTS: dict[str, Callable[[], None]] = {
    "before the charge": lambda: dies(Account, "charge", after=False),
    "charged, not committed": lambda: dies(Account, "charge", after=True),
    "charged": lambda: dies(Store, "seal", after=False),
    "counted, not committed": lambda: dies(Store, "commit_day", after=True),
    "sealed, not committed": lambda: dies(Store, "seal", after=True),
    "sealed": lambda: dies(Store, "clear_parts", after=False),
    "some users counted": lambda: dies(Store, "put_parts", after=True),
    "all users counted": lambda: dies(Store, "commit_day", after=False),
    "counted, not cleaned": lambda: dies(Store, "clean", after=False),
    "cleaned, not committed": lambda: dies(Store, "clean", after=True),
    "counted": lambda: dies(Service, "_finish_closes", after=False),
    "one series drawn": lambda: dies_at_call(publishing, "publish", 1),
    "all series drawn, not committed": lambda: dies_at_call(publishing, "publish", 3),
    "published": lambda: dies(Store, "note_published", after=False),
    "noted, not committed": lambda: dies(Store, "note_charged", after=True),
    "before the answer": lambda: dies(Service, "release", after=False),
}
FRESH_POINTS: dict[str, Callable[[], None]] = {
    "counted afresh, not committed": lambda: dies(service_module, "recount", after=True),
    "charged afresh, not committed": lambda: dies(Ledger, "append", after=False),
    "drawn afresh, not committed": lambda: dies(service_module, "publish", after=True),
    "drawn afresh": lambda: dies(Store, "note_charged", after=False),
}


def prepare(folder: Path, closed: int) -> None:
    folder.mkdir()
    with open_service(settings_of(folder), clock) as service:
        service.ingest([add("ann", 0), add("bob", 0), add("ann", 1)])
        for index in range(closed):
            note(folder, rows=service.close(day(index)))


def close_and_die(folder: Path, index: int, arm: Callable[[], None]) -> None:
    with open_service(settings_of(folder), clock) as service:
        arm()
        note(folder, rows=service.close(day(index)))


def fresh_and_die(folder: Path, arm: Callable[[], None]) -> None:
    with open_service(settings_of(folder), clock) as service:
        arm()
        note(folder, rows=[service.fresh("wau", day(0), "key")])


def kill_at_points(root: Path) -> None:
    for closed in (0, 1):
        for point, arm in POINTS.items():
            folder = root / f"{point}, {closed} closed"
            prepare(folder, closed)
            assert wait(forked(lambda: close_and_die(folder, closed, arm))) == signal.SIGKILL  # noqa: B023
    for point, arm in FRESH_POINTS.items():
        folder = root / f"{point}, fresh"
        prepare(folder, 1)
        assert wait(forked(lambda: fresh_and_die(folder, arm))) == signal.SIGKILL  # noqa: B023


RENEWAL_POINTS: dict[str, Callable[[], None]] = {
    "before the charge": POINTS["before the charge"],
    "one series charged, not committed": lambda: dies_at_call(Ledger, "charge", 1),
    "charged, not committed": POINTS["charged, not committed"],
    "charged": lambda: dies(Store, "note_charged", after=False),
    "noted, not committed": POINTS["noted, not committed"],
}


def renew_and_die(folder: Path, arm: Callable[[], None]) -> None:
    with open_service(settings_of(folder), clock) as service:
        arm()
        service.renewal.renew(confirmed=True)


def kill_renewals(root: Path) -> None:
    for point, arm in RENEWAL_POINTS.items():
        folder = root / f"{point}, renewed"
        prepare(folder, RENEWED)
        assert wait(forked(lambda: renew_and_die(folder, arm))) == signal.SIGKILL  # noqa: B023
    for point, arm in POINTS.items():
        folder = root / f"{point}, first close, renewed"
        prepare(folder, RENEWED)
        with open_service(settings_of(folder), clock) as service:
            service.renewal.renew(confirmed=True)
        assert wait(forked(lambda: close_and_die(folder, RENEWED, arm))) == signal.SIGKILL  # noqa: B023


def renew_all(folder: Path, worker: int) -> None:
    with open_service(settings_of(folder), clock) as service:
        for index in range(DAYS // 5):
            if index and index % RENEWED == 0:
                service.renewal.renew(day(index), confirmed=True)
            service.ingest([add(f"worker-{worker}", index)])
            note(folder, rows=service.close(day(index)))


def race_to_renew(root: Path) -> None:
    folder = root / "race, renewed"
    folder.mkdir()
    at_once([lambda worker=worker: renew_all(folder, worker) for worker in range(PROCESSES)])


def show_early(root: Path) -> None:
    """The broken twin: what is drawn is shown before it is committed."""
    folder = root / "early"
    prepare(folder, 0)

    def arm() -> None:
        genuine = publishing.publish

        def publish(*arguments: Any) -> list[str]:
            rows = genuine(*arguments)
            note(folder, rows=rows)
            return rows

        publishing.publish = publish  # type: ignore[assignment]
        dies_at_call(publishing, "publish", 3)

    assert wait(forked(lambda: close_and_die(folder, 0, arm))) == signal.SIGKILL


def close_all(folder: Path, worker: int) -> None:
    with open_service(settings_of(folder), clock) as service:
        for index in range(DAYS):
            service.ingest([add(f"worker-{worker}", index)])
            rows = service.close(day(index))
            note(folder, rows=rows)


def race(root: Path) -> None:
    folder = root / "race"
    folder.mkdir()
    settings_of(folder)
    at_once([lambda worker=worker: close_all(folder, worker) for worker in range(PROCESSES)])


def open_new(folder: Path) -> None:
    with open_service(settings_of(folder), clock) as service:
        service.ingest([add("ann", 0)])


def race_for_a_new_store(root: Path) -> None:
    # Without the lock of a store that is made, every one of them fails.
    for number in range(5):
        folder = root / f"new {number}"
        folder.mkdir()
        settings_of(folder)
        at_once([lambda: open_new(folder)] * PROCESSES)  # noqa: B023


SCENARIOS: dict[str, Callable[[Path], None]] = {
    "random": kill_at_random,
    "points": kill_at_points,
    "renewals": kill_renewals,
    "race to renew": race_to_renew,
    "early": show_early,
    "race": race,
    "new": race_for_a_new_store,
}


# --- What the tests look at ------------------------------------------------------------------------------------------


def releases(settings: Settings) -> dict[tuple[str, str, str], str]:
    """(stream, metric, day) → row, as the ledger has them."""
    if not has_ledger(settings.ledger_place):
        return {}
    with open_ledger(settings.ledger_place) as ledger:
        rows = [
            (charge.stream, row)
            for charge in ledger.charges()
            for metric in METRICS
            for row in ledger.releases(charge.stream, metric)
        ]
    return {(stream, json.loads(row)["metric"], json.loads(row)["day"]): row for stream, row in rows}


def violations(folder: Path, closed: int, charges: int) -> list[str]:
    """What was broken in a folder whose days are closed up to that number: acknowledged, or drawn, or charged twice."""
    settings, found = settings_of(folder), []
    left = releases(settings)
    with open_service(settings, clock) as service:
        for index in range(closed):
            service.close(day(index))
        if len(service.charges()) != charges:
            found.append(f"{len(service.charges())} charges instead of {charges}")
        for metric in METRICS:
            days = [json.loads(row)["day"] for row in service.releases(metric)]
            if days != [day(index).isoformat() for index in range(closed)]:
                found.append(f"{metric} has the days {days}")
            if len(service.truth(metric).counts) != closed:
                found.append(f"{len(service.truth(metric).counts)} days are counted in {metric}")
    final = releases(settings)
    if any(final[key] != row for key, row in left.items()):
        found.append("a committed row was drawn again")
    rows = set(final.values())
    if any(row not in rows for entry in journal(folder) for row in entry.get("rows", [])):
        found.append("an acknowledged row changed")
    return found


def stored_batches(settings: Settings, numbers: Sequence[int]) -> set[int]:
    """Which of the batches the log holds, by their markers."""
    hide = hidden_by(settings.key_path.read_bytes())
    names = {*arrived(settings.store_place), *counted(settings.store_place, words=settings.layout.words)}
    return {number for number in numbers if hide(f"marker-{number}") in names}


def test_a_note_that_a_kill_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    whole: list[dict[str, Any]] = [{"tries": 1, "at": 0}, {"rows": ['{"day": "2026-01-01"}', "{}"]}, {"stored": 2}]
    for cut_off in whole:
        text = json.dumps(cut_off)
        for end in range(len(text)):
            (tmp_path / "journal").unlink(missing_ok=True)
            note(tmp_path, **whole[0])
            with (tmp_path / "journal").open("a") as file:
                file.write(f"\n{text[:end]}")
            note(tmp_path, **whole[1])
            assert journal(tmp_path) == whole[:2]


def test_kill_at_random_instants(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_crash", "random", tmp_path)
    check_what_is_left(tmp_path / "killed")


def check_what_is_left(folder: Path) -> None:
    """Whatever was acknowledged is there, and days are counted from just that."""
    settings, entries = settings_of(folder), journal(folder)
    with open_service(settings, clock) as service:
        last = service.status().last
    assert last is not None
    closed = (last - day(0)).days + 1
    shown = len({tuple(entry["rows"]) for entry in entries if "rows" in entry})
    assert shown <= closed <= shown + KILLS
    assert violations(folder, closed, charges=3) == []

    tried = {entry["tries"] for entry in entries if "tries" in entry}
    acknowledged = {entry["stored"]: entry["seq"] for entry in entries if "stored" in entry}
    taken = {entry["takes"]: entry for entry in entries if "takes" in entry}
    there = stored_batches(settings, list(tried))
    assert set(acknowledged) <= there, "an acknowledged batch was lost"
    assert 0 < len(tried - set(acknowledged)) <= KILLS, "some kills cut off a batch, and each one batch at most"
    assert len(set(acknowledged.values())) == len(acknowledged)
    assert all(taken[number]["last"] == seq for number, seq in acknowledged.items())

    history = History(None)
    for number in sorted(there, key=lambda number: taken[number]["last"]):
        history.floor = START + taken[number]["at"]
        history.ingest(batch(number))
    with open_service(settings, clock) as service:
        assert service.status().operations == sum(len(batch(number)) for number in there), "a batch whole or not at all"
        for metric, window in METRICS.items():
            batch_query = history.counts([window], START, START + closed - 1, None)[window]
            assert [count.truth for count in service.truth(metric).counts] == batch_query


@pytest.mark.files_only
def test_kill_between_the_steps_of_a_close(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_crash", "points", tmp_path)
    broken = {}
    committed = {}
    for folder in sorted(tmp_path.iterdir()):
        closed, fresh = (1, 1) if folder.name.endswith("fresh") else (int(folder.name[-len("0 closed")]) + 1, 0)
        committed[folder.name] = len(releases(settings_of(folder)))
        if fresh:
            before = committed[folder.name]
            with open_service(settings_of(folder), clock) as service:
                assert service.budget().spent.epsilon == pytest.approx(1.2 + 0.4 * (before - 3))
                rows = {service.fresh("wau", day(0), "key") for _ in range(2)}
                note(folder, rows=sorted(rows))
        if found := violations(folder, closed, charges=3 + fresh):
            broken[folder.name] = found
    assert broken == {}
    assert committed["counted, 1 closed"] == committed["all series drawn, not committed, 1 closed"] == 3
    assert committed["published, 1 closed"] == committed["before the answer, 1 closed"] == 6
    assert (committed["drawn afresh, not committed, fresh"], committed["drawn afresh, fresh"]) == (3, 4)
    assert len(committed) == 2 * len(POINTS) + len(FRESH_POINTS)


@pytest.mark.files_only
def test_kill_between_the_steps_of_a_renewal_and_of_the_close_behind_it(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_crash", "renewals", tmp_path)
    broken, charged = {}, {}
    for folder in sorted(tmp_path.iterdir()):
        settings = settings_of(folder)
        with open_ledger(settings.ledger_place) as ledger:
            charged[folder.name] = len(ledger.charges())
        with open_service(settings, clock) as service:
            for _ in range(2):
                assert service.renewal.renew(day(RENEWED), confirmed=True).period.first == day(RENEWED)
        if found := violations(folder, 2 * RENEWED, charges=6):
            broken[folder.name] = found
        with open_service(settings, clock) as service:
            assert [count.truth for count in service.truth("mau").counts] == [2] * (2 * RENEWED)
    assert broken == {}
    assert charged["charged, not committed, renewed"] == charged["one series charged, not committed, renewed"] == 3
    assert charged["charged, renewed"] == charged["noted, not committed, renewed"] == 6
    assert len(charged) == len(RENEWAL_POINTS) + len(POINTS)


def test_processes_that_renew_at_once(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_crash", "race to renew", tmp_path)
    folder, days = tmp_path / "race, renewed", DAYS // 5
    assert len({tuple(entry["rows"]) for entry in journal(folder)}) == days
    assert violations(folder, days, charges=3 * days // RENEWED) == []


def test_rows_that_are_shown_before_their_commit_are_caught(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_crash", "early", tmp_path)
    assert violations(tmp_path / "early", 1, charges=3) == ["an acknowledged row changed"]


def test_processes_that_close_the_same_days_at_once(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_crash", "race", tmp_path)
    folder = tmp_path / "race"
    entries = journal(folder)
    assert len(entries) == PROCESSES * DAYS
    assert len({tuple(entry["rows"]) for entry in entries}) == DAYS
    assert violations(folder, DAYS, charges=3) == []
    with open_service(settings_of(folder), clock) as service:
        assert service.status().operations == PROCESSES * DAYS
        assert service.preview(day(DAYS))["mau"].truth == PROCESSES


def test_processes_that_make_one_store(tmp_path: Path) -> None:
    run_scenario("tests.workbench.service.test_crash", "new", tmp_path)
    for folder in tmp_path.iterdir():
        with open_service(settings_of(folder), clock) as service:
            assert service.status().operations == PROCESSES


if __name__ == "__main__":
    # OpenDP's first call takes half a second; the children inherit it.
    from dp.noise import GaussianNoise

    GaussianNoise(5).secure(1)
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
