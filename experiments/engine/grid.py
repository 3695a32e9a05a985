"""Grids: checks of their values, and the seed of a point, which derives from its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.engine.config import Point


def point_seed(seed: int, point: Point) -> int:
    """A seed of the point's own, from the experiment's seed and the point's identity."""
    return int.from_bytes(hashlib.sha256(f"{seed} {point.identity}".encode()).digest()[:16])


def words_of(point: Point) -> dict[str, str]:
    """The values of a point's identity, by name."""
    return dict(word.split("=", 1) for word in point.identity.split(" "))


def refuse_unknown(key: str, values: Iterable[str], known: Iterable[str]) -> None:
    """Raise ValueError, which names the key, if a value is none of the known ones."""
    known = list(known)
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{key} has {', '.join(unknown)}; choose from {', '.join(known)}")


def refuse_empty(grid: Mapping[str, Sequence[Any]]) -> None:
    """Raise ValueError, which names the key, if a list of a grid is empty."""
    for name, values in grid.items():
        if not values:
            raise ValueError(f"grid.{name} needs at least one value")
