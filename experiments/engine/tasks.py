"""Tasks of kinds whose rows depend on a config and a point alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

C = TypeVar("C")
P = TypeVar("P")


@dataclass(frozen=True)
class PointTask(Generic[C, P]):
    """All that the row of a point depends on: a config and the point."""

    config: C
    point: P


def point_tasks(config: C, wanted: Sequence[P], folder: Path) -> list[PointTask[C, P]]:
    """A task for each point that is wanted; the folder is left empty."""
    return [PointTask(config, point) for point in wanted]
