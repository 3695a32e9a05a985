"""One published sketch of flipped bits, and the merger of two that were flipped independently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.auditing.case import Case
from dp.auditing.sampling import Sampler
from dp.auditing.sketches.estimates import CANDIDATE_USERS
from dp.sketches import family_of
from dp.sketches.bit_matrix import BitMatrix, BitSketch, FlippedSketch
from dp.sketches.flipped import BitSource, seeded_flips
from dp.sketches.protocol import Keys
from dp.sketches.table import some_keys

Coins = Callable[[np.random.Generator], BitSource]

OTHER_USERS = 8
"""Users in a bit matrix besides the one who is attacked: few enough to leave bits unshared."""

LG_BUCKETS, LEVELS = 3, 4
"""Of an attacked bit matrix: 32 bits."""


def bit_cases(name: str, claim: Guarantee, trials: int, generator: np.random.Generator) -> list[Case]:
    """One published sketch, and the merger of two that were flipped independently.

    The merger is of two sketches that both have the user, where it is a union, else of one that has and one that has
    not.
    """
    family, pure = family_of(name), Guarantee(claim.epsilon, 0.0)
    design = family.make(claim.epsilon, LG_BUCKETS, LEVELS)
    assert isinstance(design, BitMatrix)
    keys = some_keys(family, 2 * OTHER_USERS + CANDIDATE_USERS, generator.bytes(16))
    here, there = design.empty().add(keys[:OTHER_USERS]), design.empty().add(keys[OTHER_USERS : 2 * OTHER_USERS])

    def with_user(key: Keys) -> tuple[BitSketch, BitSketch]:
        return here.add(key), there.add(key) if family.merges == "union" else there

    def changed_bits(key: Keys) -> int:
        return int(np.count_nonzero(_bits(with_user(key)) != _bits((here, there))))

    user = max((keys[place : place + 1] for place in range(2 * OTHER_USERS, len(keys))), key=changed_bits)
    merger = Guarantee(_publish((here, there), 1, seeded_flips(generator)).epsilon, 0.0)
    return [
        bit_case(name, "bits", pure, (here,), with_user(user)[:1]),
        bit_case(name, "merger", merger, (here, there), with_user(user)),
    ]


def bit_case(
    name: str,
    view: str,
    claim: Guarantee,
    without: Sequence[BitSketch],
    with_user: Sequence[BitSketch],
    coins: Coins = seeded_flips,
) -> Case:
    """The likelihood ratio of published bits: how many of those that the user changes are as with the user.

    Args:
        without: sketches without the user, which are flipped and then merged; one is published alone.
        with_user: the same with the user.
        coins: what flips the bits.
    """
    before, after = _bits(without), _bits(with_user)
    places = np.flatnonzero(before != after)

    def scores(sketches: Sequence[BitSketch]) -> Sampler:
        def sample(trials: int, generator: np.random.Generator) -> Floats:
            bits = _publish(sketches, trials, coins(generator)).bits.reshape(trials, -1)
            return np.asarray((bits[:, places] == after[places]).sum(axis=1), dtype=np.float64)

        return sample

    return Case(name, view, claim, scores(without), scores(with_user), len(before) * len(without))


def _bits(sketches: Sequence[BitSketch]) -> NDArray[np.bool_]:
    return reduce(BitSketch.merge, sketches).bits


def _publish(sketches: Sequence[BitSketch], copies: int, source: BitSource) -> FlippedSketch:
    """That many independent publications side by side, as one long sketch: every bit has its own coin."""
    flipped = [replace(sketch, bits=np.tile(sketch.bits, copies)).private(source) for sketch in sketches]
    return reduce(lambda one, other: one.merge(other, source), flipped)
