"""Sketch-Flip-Merge: a bit matrix of all users, published with flipped bits (Hehir, Ting, Cormode 2023, ICML).

A user sets one bit (PCSA; Flajolet, Martin 1985). A published sketch is private even against those who know the
hash, and two published sketches can be merged into one of the union. Its error is at most 0.65 n/√m before the flips.
"""

from __future__ import annotations

import numpy as np

from dp.arrays import Floats
from dp.sketches.bit_matrix import BitCells, BitMatrix, FlippedSketch, Rule
from dp.sketches.flipped import Bits, BitSource
from dp.sketches.protocol import Contract, SketchFamily, UnsupportedError


def sfm(epsilon: float, lg_buckets: int = 12, levels: int = 24) -> BitMatrix:
    """A design of which every published sketch is ε-differentially private; see `BitMatrix`."""
    return BitMatrix(epsilon, lg_buckets, levels, RULE)


def union_flip(first: float, second: float) -> float:
    """The flip probability of a merger: the one with 1 − e^(−ε) = (1 − e^(−ε₁))(1 − e^(−ε₂))."""
    return (first + second - 3 * first * second) / (1 - 2 * first * second)


def merged_chance(first_flip: float, second_flip: float, first: bool, second: bool) -> float:
    """The probability that a merger has a 1 where the two sketches have these bits; 0 if both are 0.

    It is 1 − q − (1 − 2q)·u₁·u₂ with u = (1 − qᵢ − bit)/(1 − 2qᵢ), the unbiased estimate that a bit was not set.
    """
    flip = union_flip(first_flip, second_flip)
    unset = (1 - first_flip - first) / (1 - 2 * first_flip) * (1 - second_flip - second) / (1 - 2 * second_flip)
    return min(max(1 - flip - (1 - 2 * flip) * unset, 0.0), 1.0)


def _write(bits: Bits, cells: BitCells) -> Bits:
    written = bits.copy()
    written[cells] = True
    return written


def _erase(bits: Bits, cells: BitCells) -> Bits:
    raise UnsupportedError("sfm cannot remove users: others may have set the same bit; take gf2 or fixed-rate")


def _join(first: Bits, second: Bits) -> Bits:
    return first | second


def _decay(chances: Floats) -> Floats:
    """A bit is 0 if no user has it: (1 − p)^n."""
    return np.asarray(-np.log1p(-chances))


def _join_flipped(first: FlippedSketch, second: FlippedSketch, source: BitSource | None) -> tuple[float, Bits]:
    """The paper's randomised merge (theorem 4.8): it has the law of the union's bits, flipped with `union_flip`."""
    if source is None:
        raise ValueError("source is None; a merger of published sfm sketches needs fresh coins, such as secure_flips")
    bits = np.zeros(len(first.bits), dtype=np.bool_)
    for one, other in ((False, True), (True, False), (True, True)):
        chosen = np.flatnonzero((first.bits == one) & (second.bits == other))
        bits[chosen] = source(merged_chance(first.flip, second.flip, one, other), len(chosen))
    return union_flip(first.flip, second.flip), bits


RULE = Rule("sfm", _write, _erase, _join, _decay, 1.0, _join_flipped)


FAMILY = SketchFamily(
    make=sfm,
    keys="hash",
    removes="no",
    merges="union",
    contract=Contract(
        "intrinsic",
        "ε for every published sketch of its own, whoever knows the hash; flipping again costs ε again",
        "16.5",
    ),
    error="at most 0.65 n/√m; published, from 2m users on, 1.75 n/√m at ε = 1 and 3.4 n/√m at ε = 0.5",
    summary="a bit for every rank in each of m buckets, published with flipped bits",
    source="Hehir, Ting, Cormode 2023, section 4",
    refusal=(
        "one user who sets a bit of a high level moves the estimate by about 0.42 n/m users "
        "(at n = 1,000,000 and m = 4096 by about 103); no bound holds for every log, "
        "and none is needed: the flipped bits are private by themselves"
    ),
    example={"epsilon": 1.0},
)
