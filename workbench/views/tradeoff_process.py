"""What accuracy costs, computed in a process of its own: questions go in, progress and curves come out.

The parent sends the list of all questions that are wanted, in their order, as one JSON line. The child works on the
first that it has not answered, and between two points looks whether it is wanted still. Shards that are computed stay,
so that a question asked again goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from experiments.engine.population import Population
from experiments.kinds.mechanisms.config import MechanismConfig, MechanismGrid
from workbench.rows import TableRow

EPSILONS = (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
W_BOUNDS = (2, 4, 6, 8, 12, 16, 24, 36)
TRIALS = 200
SEED = 20260101
POPULATION_SEED = 7
MOST_REMEMBERED = 64


class Question(msgspec.Struct, frozen=True):
    """What error against ε and against W_BOUND is to be shown for."""

    metric: str
    unit: str
    mechanisms: tuple[str, ...]
    epsilon: float
    w_bound: int
    delta: float
    users: int
    days: int
    delete_rate: float

    def config(self, epsilons: Sequence[float], w_bounds: Sequence[int]) -> MechanismConfig:
        """The experiment over these values of ε and W_BOUND."""
        return MechanismConfig(
            name="tradeoff",
            question="",
            figure="",
            delta=self.delta,
            trials=TRIALS,
            seed=SEED,
            population=Population(users=self.users, days=self.days, seed=POPULATION_SEED, delete_rate=self.delete_rate),
            grid=MechanismGrid(
                metric=[self.metric],
                unit=[self.unit],
                w_bound=list(w_bounds),
                mechanism=list(self.mechanisms),
                epsilon=list(epsilons),
            ),
        )


class QuestionState(msgspec.Struct, frozen=True):
    """How far a question is answered.

    Attributes:
        stage: what is being done, in words.
        fraction: share done.
        by_epsilon: rows of the experiment's table at the question's W_BOUND; empty until the answer is there.
        by_w_bound: the rows at the question's ε; empty until the answer is there.
        error: why there will be no answer.
    """

    question: Question
    stage: str = "waiting"
    fraction: float = 0.0
    by_epsilon: list[TableRow] = msgspec.field(default_factory=list)
    by_w_bound: list[TableRow] = msgspec.field(default_factory=list)
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more is to come."""
        return bool(self.by_w_bound) or self.error is not None


class Workshop:
    """A process that answers questions, started by the first one. Its methods may be called from any thread.

    Args:
        cache: folder of the experiments' shards.
    """

    def __init__(self, cache: Path) -> None:
        self._command = [sys.executable, "-m", "workbench.views.tradeoff_process", str(cache)]
        self._lock = threading.Lock()
        self._wanted: dict[str, Question] = {}
        self._states: dict[Question, QuestionState] = {}
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, asker: str, question: Question) -> QuestionState:
        """How far a question is answered; returns at once. An asker's newer question supersedes the older one."""
        with self._lock:
            state = self._states.get(question, QuestionState(question))
            if state.finished:
                self._wanted.pop(asker, None)
            elif self._wanted.get(asker) != question or not self._running:
                self._wanted[asker] = question
                self._send()
            return state

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.terminate()
            _bury(child)

    @property
    def _running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def _send(self) -> None:
        if not self._running:
            # In a session of its own: an interrupt is for the parent, and the end of its input ends the child.
            self._child = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            threading.Thread(target=self._listen, args=(self._child,), daemon=True).start()
        assert self._child is not None
        assert self._child.stdin is not None
        # A child that has just ended is noticed by whoever asks next.
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(msgspec.json.encode(list(self._wanted.values())) + b"\n")
            self._child.stdin.flush()

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self._note([msgspec.json.decode(line, type=QuestionState)])
        with self._lock:
            died, wanted = self._child is child, list(self._wanted.values())
        if died:
            _bury(child)
            self._note(QuestionState(question, error="the computation ended unexpectedly") for question in wanted)

    def _note(self, states: Iterable[QuestionState]) -> None:
        with self._lock:
            for state in states:
                self._states[state.question] = state
            for old in list(self._states)[:-MOST_REMEMBERED]:
                del self._states[old]


class Superseded(Exception):  # noqa: N818 - the name says what happened
    """Nobody wants the answer any more."""


class Inbox:
    """The questions that are wanted, as the newest line said; a thread reads the lines."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._changed = threading.Condition()
        self._wanted: list[Question] = []
        self._ended = False
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def next(self) -> Question | None:
        """The question to be answered next, waiting for one; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._ended)
            return None if self._ended else self._wanted[0]

    def wants(self, question: Question) -> bool:
        """Whether a question is wanted still."""
        with self._changed:
            return question in self._wanted and not self._ended

    def drop(self, question: Question) -> None:
        """Put a question aside until a line names it again."""
        with self._changed:
            self._wanted = [wanted for wanted in self._wanted if wanted != question]

    def _read(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._set(msgspec.json.decode(line, type=list[Question]), ended=False)
        self._set([], ended=True)

    def _set(self, wanted: list[Question], *, ended: bool) -> None:
        with self._changed:
            self._wanted, self._ended = wanted, ended
            self._changed.notify_all()


def answer(
    question: Question, cache: Path, tell: Callable[[QuestionState], None], wanted: Callable[[], bool]
) -> QuestionState:
    """The answer to a question, from the shards in `cache` where they exist.

    Args:
        tell: is given the progress.
        wanted: asked between two points.

    Raises:
        Superseded: it is not wanted any more.
    """
    # Not at import: the parent needs none of it.
    from experiments.engine.runner import tabulate

    def reporter(base: float, share: float) -> Callable[[str, float | None], None]:
        def report(stage: str, fraction: float | None) -> None:
            if not wanted():
                raise Superseded
            shown = stage if fraction is None else "simulating releases"
            tell(QuestionState(question, shown, base + share * (fraction or 0.0)))

        return report

    parts = (question.config(EPSILONS, [question.w_bound]), question.config([question.epsilon], W_BOUNDS))
    share = len(EPSILONS) / (len(EPSILONS) + len(W_BOUNDS))
    try:
        by_epsilon = tabulate(parts[0], cache, jobs=1, report=reporter(0.0, share)).rows
        by_w_bound = tabulate(parts[1], cache, jobs=1, report=reporter(share, 1.0 - share)).rows
    except (ValueError, OSError) as error:
        return QuestionState(question, error=str(error))
    return QuestionState(question, "done", 1.0, list(by_epsilon), list(by_w_bound))


def answer_lines(cache: Path, lines: Iterable[bytes], tell: Callable[[QuestionState], None]) -> None:
    """Answer the questions on `lines`, until they end."""
    inbox = Inbox(lines)
    while (question := inbox.next()) is not None:
        with contextlib.suppress(Superseded):
            tell(answer(question, cache, tell, lambda asked=question: inbox.wants(asked)))  # type: ignore[misc]
        inbox.drop(question)


def _bury(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    for pipe in (child.stdin, child.stdout):
        # What was written to a child that is gone cannot be flushed.
        with contextlib.suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()


def main() -> None:
    """The child: questions on standard input, states on standard output."""

    def tell(state: QuestionState) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(state) + b"\n")
        sys.stdout.buffer.flush()

    answer_lines(Path(sys.argv[1]), sys.stdin.buffer, tell)


if __name__ == "__main__":
    main()
