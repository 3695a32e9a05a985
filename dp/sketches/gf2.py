"""A bit matrix linear over GF(2), published with flipped bits (Pagh, Stausholm 2021, ICDT).

A user toggles one bit, so leaving is toggling again, and the exclusive or of two sketches is a sketch of the users who
are in just one of them. The caller must know who is in: a user added twice is out. Its error is at most 1.3 n/√m
before the flips, twice that of `sfm`.
"""

from __future__ import annotations

import numpy as np

from dp.arrays import Floats
from dp.sketches.bit_matrix import BitCells, BitMatrix, FlippedSketch, Rule
from dp.sketches.flipped import Bits, BitSource
from dp.sketches.protocol import Contract, SketchFamily


def gf2(epsilon: float, lg_buckets: int = 12, levels: int = 24) -> BitMatrix:
    """A design of which every published sketch is ε-differentially private; see `BitMatrix`."""
    return BitMatrix(epsilon, lg_buckets, levels, RULE)


def parity_flip(first: float, second: float) -> float:
    """The probability q that just one of two bits is flipped: 1 − 2q is the product of the two values 1 − 2qᵢ."""
    return first * (1 - second) + second * (1 - first)


def _toggle(bits: Bits, cells: BitCells) -> Bits:
    """A cell given twice stays as it was."""
    odd: Bits = np.bincount(cells, minlength=len(bits)) % 2 == 1
    return bits ^ odd


def _join(first: Bits, second: Bits) -> Bits:
    return first ^ second


def _decay(chances: Floats) -> Floats:
    """A bit is 1 if an odd number of users have it: (1 − (1 − 2p)^n)/2."""
    return np.asarray(-np.log1p(-2 * chances))


def _join_flipped(first: FlippedSketch, second: FlippedSketch, source: BitSource | None) -> tuple[float, Bits]:
    return parity_flip(first.flip, second.flip), first.bits ^ second.bits


RULE = Rule("gf2", _toggle, _toggle, _join, _decay, 0.5, _join_flipped)


FAMILY = SketchFamily(
    make=gf2,
    keys="hash",
    removes="toggles",
    merges="symmetric difference",
    contract=Contract(
        "intrinsic",
        "ε for every published sketch of its own, whoever knows the hash; flipping again costs ε again",
        "16.5",
    ),
    error="at most 1.3 n/√m; published, from 2m users on, 3.5 n/√m at ε = 1 and 6.7 n/√m at ε = 0.5",
    summary="a parity for every rank in each of m buckets, published with flipped bits",
    source="Pagh, Stausholm 2021",
    refusal=(
        "one user who toggles a bit of a high level moves the estimate by about 1.7 n/m users "
        "(at n = 1,000,000 and m = 4096 by about 420); no bound holds for every log, "
        "and none is needed: the flipped bits are private by themselves"
    ),
    example={"epsilon": 1.0},
)
