"""Configs of experiments with questions. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from experiments.engine.config import ExperimentConfig
from experiments.engine.grid import refuse_empty, refuse_unknown
from experiments.engine.kind import Kind

SHARINGS = ("apart", "even", "equal-error")
"""How a budget is divided: over releases of one question each, whose ε and δ add up; in one release, in equal shares;
in one release, with the shares that give all questions the same error."""


@dataclass(frozen=True)
class QuestionPoint:
    """One question of a dashboard that is published with an ε."""

    question: str
    sharing: str
    epsilon: float

    @property
    def identity(self) -> str:
        """The point in words; shards derive from it."""
        return f"question={self.question} sharing={self.sharing} epsilon={self.epsilon}"


class QuestionGrid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values to combine; every combination is one point of each question.

    Attributes:
        sharing: among `SHARINGS`.
        epsilon: of all questions together.
    """

    sharing: list[str]
    epsilon: list[float]


class QuestionConfig(ExperimentConfig, frozen=True, kw_only=True):
    """One experiment with questions (`kind = "questions"`): the error of each, for an ε of the whole dashboard.

    See `ExperimentConfig` for what all configs have.

    Attributes:
        metrics: rolling windows.
        flows: metrics whose flows are asked for.
        calendar: calendar cells.
        breakdowns: by name, a kind: fixed, last, any or any:k.
        segments: values of each breakdown; the error does not depend on them.
        delta: of all questions together.
    """

    kind: ClassVar[Kind] = Kind("questions", "experiments.kinds.questions", "trials.evaluate_question")

    metrics: list[str]
    flows: list[str]
    calendar: list[str]
    breakdowns: dict[str, str]
    segments: int
    unit: str
    w_bound: int
    horizon: int
    mechanism: str
    delta: float
    grid: QuestionGrid

    def points(self) -> Iterator[QuestionPoint]:
        """All points: questions, then the grid in its order."""
        from experiments.kinds.questions.trials import names_of

        for values in itertools.product(names_of(self), self.grid.sharing, self.grid.epsilon):
            yield QuestionPoint(*values)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from experiments.kinds.questions.trials import planned

        refuse_empty(msgspec.to_builtins(self.grid))
        refuse_unknown("grid.sharing", self.grid.sharing, SHARINGS)
        if self.segments < 1:
            raise ValueError(f"segments is {self.segments}; a breakdown has at least 1 value")
        for epsilon in self.grid.epsilon:
            planned(self, epsilon)
