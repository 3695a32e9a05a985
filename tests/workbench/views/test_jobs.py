"""The process that computes: it supersedes, remembers, dies and refuses as it should."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.engine.population import Population
from experiments.kinds.mechanisms.tasks import open_source
from tests.patience import PATIENCE_SECONDS
from tests.workbench.views.questions import TRADEOFF
from workbench.views.axes import EPSILONS, W_BOUNDS
from workbench.views.jobs.job import JobState, Memory, Superseded, key_of
from workbench.views.jobs.process import Inbox, answer, answer_lines
from workbench.views.jobs.registry import decode_question
from workbench.views.jobs.workshop import LEFT_SECONDS, Workshop

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]

LARGE = msgspec.structs.replace(TRADEOFF, users=50_000, days=365)
BAD = msgspec.structs.replace(TRADEOFF, epsilon=-1.0)


def wait_for(look: Callable[[], JobState]) -> JobState:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (state := look()).finished:
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    return state


def line(*questions: msgspec.Struct) -> bytes:
    return msgspec.json.encode([msgspec.Raw(key_of(question)) for question in questions])


def test_a_newer_question_supersedes_and_an_answer_is_remembered(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    try:
        assert not workshop.ask("me", LARGE).finished
        other = wait_for(lambda: workshop.ask("me", TRADEOFF))
        assert [row["epsilon"] for row in other.tables["by-epsilon"]] == list(EPSILONS) * 2
        assert [row["w_bound"] for row in other.tables["by-w-bound"]][::2] == list(W_BOUNDS)
        assert not workshop.ask("you", LARGE).finished
    finally:
        workshop.stop()
    assert workshop.ask("me", TRADEOFF) == other


def test_a_cancelled_question_makes_room_for_others(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    try:
        workshop.ask("me", LARGE)
        workshop.ask("you", TRADEOFF)
        workshop.cancel("me")
        assert wait_for(lambda: workshop.ask("you", TRADEOFF)).error is None
        assert not workshop.ask("them", LARGE).finished
    finally:
        workshop.stop()


def test_who_has_left_wants_nothing(tmp_path: Path) -> None:
    now = 0.0
    workshop = Workshop(tmp_path, clock=lambda: now)
    try:
        workshop.ask("gone", LARGE)
        now = LEFT_SECONDS / 2
        workshop.ask("me", TRADEOFF)
        assert set(workshop._wanted) == {"gone", "me"}
        now = LEFT_SECONDS + 1
        assert wait_for(lambda: workshop.ask("me", TRADEOFF)).error is None
        assert workshop._wanted == {}
    finally:
        workshop.stop()


def test_a_computation_that_dies_is_an_error_and_can_be_asked_again(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    try:
        workshop.ask("me", TRADEOFF)
        child = workshop._child
        assert child is not None
        child.kill()
        state = wait_for(lambda: workshop.ask("me", TRADEOFF))
        assert state.error == "the computation ended unexpectedly"
        workshop.forget(TRADEOFF)
        assert wait_for(lambda: workshop.ask("me", TRADEOFF)).error is None
    finally:
        workshop.stop()


def test_nobody_computes_what_nobody_wants(tmp_path: Path) -> None:
    told: list[JobState] = []
    with pytest.raises(Superseded):
        answer(TRADEOFF, tmp_path, told.append, lambda: len(told) < 4)
    shards = {path.name for path in tmp_path.glob("*.json")}
    assert 0 < len(shards) < len(EPSILONS) * 2
    done = answer(TRADEOFF, tmp_path, told.append, lambda: True)
    assert done.finished
    assert shards < {path.name for path in tmp_path.glob("*.json")}
    fractions = [state.fraction for state in told[4:]]
    assert fractions == sorted(fractions)


def test_a_rough_answer_comes_first_and_the_tables_are_refined(tmp_path: Path) -> None:
    told: list[JobState] = []
    done = answer(TRADEOFF, tmp_path, told.append, lambda: True)
    rough = next(state for state in told if state.tables)
    assert rough.fraction < 0.2
    assert {row["trials"] for rows in rough.tables.values() for row in rows} == {20}
    assert {row["trials"] for rows in done.tables.values() for row in rows} == {200}
    assert done.revision > max(state.revision for state in told)


def test_what_cannot_be_computed_says_why(tmp_path: Path) -> None:
    state = answer(BAD, tmp_path, lambda state: None, lambda: True)
    assert state.finished
    assert state.error is not None
    assert "epsilon" in state.error
    only = msgspec.structs.replace(TRADEOFF, mechanisms=("guesswork",))
    error = answer(only, tmp_path, lambda state: None, lambda: True).error
    assert error is not None
    assert "guesswork" in error


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({}, "page"),
        ({"page": "weather"}, "weather"),
        ({"page": "tradeoff"}, "metric"),
        ({**msgspec.to_builtins(TRADEOFF), "epsilon": "much"}, "epsilon"),
        ({**msgspec.to_builtins(TRADEOFF), "shoe_size": 1}, "shoe_size"),
    ],
)
def test_what_is_no_question_is_refused_by_its_field(content: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        decode_question(content)


def test_the_child_answers_the_newest_line(tmp_path: Path) -> None:
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    told: list[JobState] = []
    worse = msgspec.structs.replace(TRADEOFF, epsilon=-2.0)

    def tell(state: JobState) -> None:
        told.append(state)
        if state.error:
            lines.put(line(worse) if bytes(state.question) == key_of(BAD) else None)

    lines.put(line(BAD))
    thread = threading.Thread(target=answer_lines, args=(tmp_path, iter(lines.get, None), tell))
    thread.start()
    thread.join(timeout=PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert [bytes(state.question) for state in told if state.error] == [key_of(BAD), key_of(worse)]


def test_the_inbox_forgets_what_a_newer_line_does_not_name() -> None:
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    inbox = Inbox(iter(lines.get, None))
    lines.put(line(TRADEOFF, LARGE))
    assert inbox.next() == key_of(TRADEOFF)
    inbox.drop(key_of(TRADEOFF))
    assert inbox.next() == key_of(LARGE)
    assert not inbox.wants(key_of(TRADEOFF))
    lines.put(None)
    while inbox.wants(key_of(LARGE)):
        time.sleep(0.001)
    assert inbox.next() is None


@given(asked=st.lists(st.integers(0, 6)), most=st.integers(1, 4))
def test_memory_keeps_what_was_asked_for_last(asked: list[int], most: int) -> None:
    memory, kept = Memory(most), list[int]()
    for key in asked:
        found: list[int] = []
        assert memory.recall(key, lambda key=key, found=found: found.append(key) or -key) == -key
        assert bool(found) is (key not in kept)
        kept = [*(old for old in kept if old != key), key][-most:]


def test_users_are_counted_once_for_all_that_is_asked_about_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Population] = []

    @contextmanager
    def counting(source: Population, folder: Path) -> Iterator[object]:
        counted.append(source)
        with open_source(source, folder) as opened:
            yield opened

    monkeypatch.setattr("workbench.views.counting.open_source", counting)
    memory = Memory()

    def ask(number: int, **changes: object) -> int:
        question = msgspec.structs.replace(TRADEOFF, **changes)
        state = answer(question, tmp_path / str(number), lambda state: None, lambda: True, tmp_path, memory)
        assert state.error is None
        return len(counted)

    assert ask(0) == 1
    for number, same in enumerate(({"epsilon": 0.5}, {"w_bound": 16}, {"mechanisms": ("laplace",)}, {}), start=1):
        assert ask(number, **same) == 1
    assert ask(5, metric="dau") == 2
    assert ask(6, users=1_001) == 3
    fresh = answer(TRADEOFF, tmp_path / "fresh", lambda state: None, lambda: True)
    again = answer(TRADEOFF, tmp_path / "again", lambda state: None, lambda: True, tmp_path, memory)
    assert fresh.tables == again.tables
