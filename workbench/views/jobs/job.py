"""What a research page declares, and what passes between it and the process that computes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from workbench.rows import TableRow

if TYPE_CHECKING:
    from workbench.views.charts import Chart

Found = TypeVar("Found")

Tables = dict[str, list[TableRow]]
"""Name → rows, oldest or smallest first. A name becomes the name of a file."""


class Superseded(Exception):  # noqa: N818 - the name says what happened
    """Nobody wants the answer any more."""


Tell = Callable[[str, float, Tables | None], None]
"""Is given what is being done, the share done, and the tables as far as they are; raises `Superseded`."""


class Memory:
    """What earlier answers of one process have found; it forgets what was asked for longest ago.

    Args:
        most: findings that are kept.
    """

    def __init__(self, most: int = 24) -> None:
        self._most = most
        self._found: dict[Hashable, Any] = {}

    def recall(self, key: Hashable, find: Callable[[], Found]) -> Found:
        """What was found under a key, or else what `find` finds now. It must depend on the key alone."""
        # Put back as the newest.
        found: Found = self._found.pop(key) if key in self._found else find()
        self._found[key] = found
        for oldest in list(self._found)[: -self._most]:
            del self._found[oldest]
        return found


@dataclass(frozen=True)
class Job:
    """What answering a question may use.

    Attributes:
        cache: folder of the experiments' shards.
        folder: where files lie that a question names; see `workbench.views.given_log`.
        tell: to be called at least once a second; see `Tell`.
        memory: of the process that answers.
    """

    cache: Path
    folder: Path
    tell: Tell
    memory: Memory = field(default_factory=Memory)


class JobState(msgspec.Struct, frozen=True):
    """How far a question is answered.

    Attributes:
        question: as JSON.
        stage: what is being done, in words.
        fraction: share done.
        tables: what there is of the answer; refined until the state is finished.
        revision: how often the tables have changed.
        error: why there will be no answer.
        finished: whether nothing more is to come.
    """

    question: msgspec.Raw
    stage: str = "waiting"
    fraction: float = 0.0
    tables: Tables = msgspec.field(default_factory=dict)
    revision: int = 0
    error: str | None = None
    finished: bool = False


def needs_nothing(question: msgspec.Struct) -> Mapping[str, str]:
    """No file: the question says everything."""
    return {}


def no_inputs(question: msgspec.Struct) -> tuple[str, ...]:
    """No file in the zip but the question."""
    return ()


@dataclass(frozen=True)
class ResearchPage:
    """What can be asked on a page, how it is answered and how the answer is drawn.

    Attributes:
        question: a frozen struct of plain fields with `tag_field="page"` and the page's name as its tag.
        answer: from a question and a job to the tables. The same question has the same answer, bit for bit.
        charts: from a question and its tables to charts by name.
        experiment: from a question and its tables to the config with which `dpdau experiment run` computes the same
            rows, as TOML; None where no experiment does.
        needed: from a question to the files that must lie beside it, by name with their SHA-256 in hex.
        inputs: from a question to the files in its zip that the answer is made from; they hold tables of the answer,
            so that they are written as they were read.
        note: what a zip's README must say besides.
    """

    question: type[msgspec.Struct]
    answer: Callable[[Any, Job], Tables]
    charts: Callable[[Any, Tables], Mapping[str, Chart]]
    experiment: Callable[[Any, Tables], str] | None = None
    needed: Callable[[Any], Mapping[str, str]] = needs_nothing
    inputs: Callable[[Any], tuple[str, ...]] = no_inputs
    note: str = ""


def key_of(question: msgspec.Struct) -> bytes:
    """A question as JSON; equal questions have equal keys."""
    return msgspec.json.encode(question)
