"""The set of all keys: no error, eight bytes per user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dp.sketches.protocol import Contract, Keys, SketchFamily, around


@dataclass(frozen=True)
class Exact:
    """The set itself, without parameters."""

    def empty(self) -> ExactSketch:
        """A sketch of no users."""
        return ExactSketch(np.empty(0, dtype=np.int64))

    def from_bytes(self, data: bytes) -> ExactSketch:
        """The sketch that `to_bytes` stored."""
        return ExactSketch(keys_from(data))

    def standard_error(self, count: float) -> float:
        """Zero."""
        return 0.0


@dataclass(frozen=True, eq=False)
class ExactSketch:
    """Distinct keys in ascending order."""

    keys: Keys

    def add(self, keys: Keys) -> ExactSketch:
        """The union."""
        return ExactSketch(distinct(np.concatenate([self.keys, keys])))

    def remove(self, keys: Keys) -> ExactSketch:
        """The difference."""
        return ExactSketch(without(self.keys, keys))

    def merge(self, other: ExactSketch) -> ExactSketch:
        """The union."""
        return self.add(other.keys)

    def estimate(self) -> float:
        """The size of the set."""
        return float(len(self.keys))

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The count, twice."""
        return around(self.estimate(), 0.0, deviations)

    def to_bytes(self) -> bytes:
        """Little-endian 64-bit integers."""
        return self.keys.astype("<i8").tobytes()


Integer = TypeVar("Integer", np.int64, np.uint64)


def distinct(keys: NDArray[Integer]) -> NDArray[Integer]:
    """The distinct keys in ascending order. (NumPy's `unique` uses a hash table and takes forty times as long.)"""
    ascending = np.sort(keys)
    first = np.ones(len(ascending), dtype=np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    return ascending[first]


def without(keys: Keys, removed: Keys) -> Keys:
    """Those of the ascending keys that are not among the removed."""
    if not len(removed):
        return keys
    ascending = np.sort(removed)
    places = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    kept: NDArray[np.bool_] = ascending[places] != keys
    return keys[kept]


def keys_from(data: bytes) -> Keys:
    """Ascending keys from little-endian 64-bit integers.

    Raises:
        ValueError: the bytes are not an ascending list of such integers.
    """
    if len(data) % 8:
        raise ValueError(f"data has {len(data)} bytes; a list of keys has a multiple of 8")
    keys = np.frombuffer(data, dtype="<i8").astype(np.int64)
    if np.any(keys[1:] <= keys[:-1]):
        raise ValueError("data is no list of keys: they must be ascending, each once")
    return keys


FAMILY = SketchFamily(
    make=Exact,
    keys="hash",
    removes="yes",
    merges="union",
    contract=Contract("sensitivity", "one user moves the count by at most 1", "1"),
    error="0",
    summary="the set of all keys",
    source="—",
)
