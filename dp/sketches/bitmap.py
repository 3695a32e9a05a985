"""The set of all users as a bitmap over their numbers: no error, and a bit per user if numbers are dense.

It is a Roaring bitmap (Lemire, Ssi-Yan-Kai, Kaser 2016, "Consistently faster and smaller compressed bitmaps with
Roaring"; Lemire et al. 2018, "Roaring bitmaps: implementation of an optimized software library"): 2^16 neighbouring
numbers share a container, which is a list, a bitmap or runs, whichever is smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap, FrozenBitMap

from dp.sketches.protocol import Contract, Keys, SketchFamily, around

NUMBERS = 2**32


@dataclass(frozen=True)
class Bitmap:
    """The set itself, without parameters. Keys are not hashes but numbers of users from 0 to 2^32 − 1."""

    def empty(self) -> BitmapSketch:
        """A sketch of no users."""
        return BitmapSketch(FrozenBitMap())

    def from_bytes(self, data: bytes) -> BitmapSketch:
        """The sketch that `to_bytes` stored."""
        try:
            sketch = BitmapSketch(FrozenBitMap.deserialize(data))
        except (ValueError, IndexError) as error:
            raise ValueError(f"data has {len(data)} bytes that are no Roaring bitmap") from error
        if sketch.to_bytes() != data:
            raise ValueError(f"data has {len(data)} bytes that are no Roaring bitmap in its smallest form")
        return sketch

    def standard_error(self, count: float) -> float:
        """Zero."""
        return 0.0


@dataclass(frozen=True, eq=False)
class BitmapSketch:
    """The numbers of the users."""

    users: FrozenBitMap

    def add(self, keys: Keys) -> BitmapSketch:
        """The union; raises ValueError for a key that is not a user's number."""
        return BitmapSketch(self.users | numbered(keys))

    def remove(self, keys: Keys) -> BitmapSketch:
        """The difference; raises ValueError for a key that is not a user's number."""
        return BitmapSketch(self.users - numbered(keys))

    def merge(self, other: BitmapSketch) -> BitmapSketch:
        """The union."""
        return BitmapSketch(self.users | other.users)

    def estimate(self) -> float:
        """The size of the set."""
        return float(len(self.users))

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The count, twice."""
        return around(self.estimate(), 0.0, deviations)

    def to_bytes(self) -> bytes:
        """Roaring's portable format in its smallest form, which is the same for equal sets."""
        return bytes(BitMap(self.users, optimize=True).serialize())


def numbered(keys: Keys) -> FrozenBitMap:
    """The set of these numbers.

    Raises:
        ValueError: a key is not a number from 0 to 2^32 − 1.
    """
    outside = keys[(keys < 0) | (keys >= NUMBERS)]
    if len(outside):
        raise ValueError(f"keys has {outside[0]}; a bitmap takes users' numbers from 0 to {NUMBERS - 1}, not hashes")
    return FrozenBitMap(keys.astype(np.uint32))


FAMILY = SketchFamily(
    make=Bitmap,
    keys="number",
    removes="yes",
    merges="union",
    contract=Contract("sensitivity", "one user moves the count by at most 1", "1"),
    error="0",
    summary="the set of all users' numbers, as a Roaring bitmap",
    source="Lemire et al. 2018",
)
