"""The process that computes: `python -m workbench.views.jobs.process CACHE FOLDER`, started by the workshop.

It works on the first question that it has not answered, and whenever it tells how far it is, it looks whether the
question is wanted still. Shards that are computed stay, so that a question asked again goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from workbench.views.jobs.job import Job, JobState, Memory, Superseded, Tables, key_of
from workbench.views.jobs.registry import decode_question, page_name, research_page

NICENESS = 10
"""The service beside it goes first."""


class Inbox:
    """The questions that are wanted, as the newest line said; a thread reads the lines."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._changed = threading.Condition()
        self._wanted: list[bytes] = []
        self._ended = False
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def next(self) -> bytes | None:
        """The question to be answered next, waiting for one; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._ended)
            return None if self._ended else self._wanted[0]

    def wants(self, question: bytes) -> bool:
        """Whether a question is wanted still."""
        with self._changed:
            return question in self._wanted and not self._ended

    def drop(self, question: bytes) -> None:
        """Put a question aside until a line names it again."""
        with self._changed:
            self._wanted = [wanted for wanted in self._wanted if wanted != question]

    def _read(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._set([bytes(raw) for raw in msgspec.json.decode(line, type=list[msgspec.Raw])], ended=False)
        self._set([], ended=True)

    def _set(self, wanted: list[bytes], *, ended: bool) -> None:
        with self._changed:
            self._wanted, self._ended = wanted, ended
            self._changed.notify_all()


def answer(
    question: msgspec.Struct,
    cache: Path,
    tell: Callable[[JobState], None],
    wanted: Callable[[], bool],
    folder: Path | None = None,
    memory: Memory | None = None,
) -> JobState:
    """The answer to a question; refused questions have their error in it.

    Args:
        cache: folder of the experiments' shards.
        tell: is given the progress.
        wanted: asked whenever there is progress.
        folder: where files lie that the question names; the working directory by default.
        memory: of the process; without one nothing is remembered.

    Raises:
        Superseded: it is not wanted any more.
    """
    key = msgspec.Raw(key_of(question))
    told: Tables = {}
    revision = 0

    def progress(stage: str, fraction: float, tables: Tables | None) -> None:
        nonlocal told, revision
        if not wanted():
            raise Superseded
        if tables is not None:
            told, revision = tables, revision + 1
        tell(JobState(key, stage, fraction, told, revision))

    try:
        progress("starting", 0.0, None)
        page = research_page(page_name(question))
        tables = page.answer(question, Job(cache, folder or Path(), progress, memory or Memory()))
    except (ValueError, OSError) as error:
        return JobState(key, error=str(error), finished=True)
    return JobState(key, "done", 1.0, tables, revision + 1, finished=True)


def answer_lines(
    cache: Path, lines: Iterable[bytes], tell: Callable[[JobState], None], folder: Path | None = None
) -> None:
    """Answer the questions on `lines`, until they end.

    Args:
        cache: folder of the experiments' shards.
        tell: is given the progress.
        folder: see `answer`.
    """
    inbox, memory = Inbox(lines), Memory()
    while (asked := inbox.next()) is not None:
        with contextlib.suppress(Superseded):
            tell(
                _answer_one(
                    asked, inbox, lambda question, wanted: answer(question, cache, tell, wanted, folder, memory)
                )
            )
        inbox.drop(asked)


def _answer_one(
    asked: bytes, inbox: Inbox, reply: Callable[[msgspec.Struct, Callable[[], bool]], JobState]
) -> JobState:
    try:
        question = decode_question(msgspec.json.decode(asked))
    except ValueError as error:
        return JobState(msgspec.Raw(asked), error=str(error), finished=True)
    return reply(question, lambda: inbox.wants(asked))


def _preload() -> None:
    """Import what most questions need, while nobody asks."""
    from experiments.engine.code_fingerprint import code_fingerprint
    from experiments.kinds.mechanisms import tasks

    code_fingerprint(tasks.__name__)


def main() -> None:
    """The child: questions on standard input, states on standard output."""
    os.nice(NICENESS)
    _preload()

    def tell(state: JobState) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(state) + b"\n")
        sys.stdout.buffer.flush()

    cache, folder = map(Path, sys.argv[1:])
    answer_lines(cache, sys.stdin.buffer, tell, folder)


if __name__ == "__main__":
    main()
