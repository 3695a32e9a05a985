"""Somebody adds users of their own to a sketch, with ids chosen from many so that the sketch says what they like.

They win if the estimate is further from the number of users than chance explains; whoever knows the salt does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.hll import Hll
from dp.sketches.keys import keys_of
from dp.sketches.kmv import Kmv
from dp.sketches.protocol import Keys, SketchDesign

CRITERION = "without the salt, poisoned sketches err as ordinary ones do, at a level of 1e-5 a sketch"

USERS = 3_000
"""Users besides those of the attacker."""
ADDED = 600
"""Users that the attacker adds."""
SALTS = 40
KNOWN_SALTS = 10
"""Salts where the attacker knows them: fewer are enough, and the users are chosen again for each."""
LIMIT = float(norm.isf(1e-5 / 2))
"""Limit of a standard normal variable; a mean moved by 1.5 standard errors is seen 99.99 % of the time."""

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Poison:
    """Which of many candidates to add to a sketch, by the keys that they are believed to have.

    Attributes:
        design: of the sketch.
        choose: places of ADDED keys.
    """

    design: SketchDesign
    choose: Callable[[Keys], Places]


def smallest_keys(keys: Keys) -> Places:
    """Small keys look to KMV as if there were many."""
    return np.argsort(keys.view(np.uint64))[:ADDED]


def highest_ranks(design: Hll, keys: Keys) -> Places:
    """The candidate of the highest rank in every register, who does as much as all of them could."""
    # A sketch of one user is a list of one coupon: 26 bits of the register's address and 6 of the rank.
    coupons = np.array([_coupon(design, keys[place : place + 1]) for place in range(len(keys))])
    registers, ranks = coupons % 2**design.lg_k, coupons >> 26
    order = np.lexsort((-ranks, registers))
    _, first = np.unique(registers[order], return_index=True)
    return order[first]


def _coupon(design: Hll, key: Keys) -> int:
    return int.from_bytes(design.empty().add(key).to_bytes()[-4:], "little")


def all_in_sample(keys: Keys) -> Places:
    """Only users of the sample, each of whom counts for 1/rate."""
    return np.flatnonzero(SAMPLE.chosen(keys))[:ADDED]


def none_in_sample(keys: Keys) -> Places:
    """Nobody of the sample: users who are not counted at all."""
    return np.flatnonzero(~SAMPLE.chosen(keys))[:ADDED]


SAMPLE = FixedRate(0.1)
REGISTERS = Hll(8)
POISONS: dict[str, Poison] = {
    "kmv, smallest keys": Poison(Kmv(256), smallest_keys),
    "hll, highest ranks": Poison(REGISTERS, lambda keys: highest_ranks(REGISTERS, keys)),
    "fixed-rate, all in the sample": Poison(SAMPLE, all_in_sample),
    "fixed-rate, none in the sample": Poison(SAMPLE, none_in_sample),
}


def attack(setting: Setting, knows_the_salt: bool) -> tuple[Observation, ...]:
    """Poison sketches under many salts, and compare their estimates with the number of their users.

    Whoever does not know the salt chooses by one of their own.
    """
    candidates, salts = setting.trials(2**13, 2**15), KNOWN_SALTS if knows_the_salt else SALTS
    ids = [f"mallory {number}" for number in range(candidates)]
    readings: list[Observation] = []
    for name, poison in POISONS.items():
        estimates, users = np.zeros(salts), np.zeros(salts)
        chosen = poison.choose(keys_of(ids, setting.generator.bytes(16)))
        for trial in range(salts):
            salt = setting.generator.bytes(16)
            if knows_the_salt:
                chosen = poison.choose(keys_of(ids, salt))
            everybody = [f"user {trial} {number}" for number in range(USERS)] + [ids[place] for place in chosen]
            estimates[trial] = poison.design.empty().add(keys_of(everybody, salt)).estimate()
            users[trial] = len(everybody)
        errors = (estimates - users) / [poison.design.standard_error(count) for count in users]
        off = abs(float(errors.mean())) * salts**0.5
        readings += [
            Observation(f"{name}: mean error, in standard errors of the mean", off, LIMIT),
            Observation(f"{name}: estimate over the number of users", float((estimates / users).mean())),
        ]
    return tuple(readings)


def ours(setting: Setting) -> tuple[Observation, ...]:
    """Keys under a secret salt."""
    return attack(setting, knows_the_salt=False)


def known_salt(setting: Setting) -> tuple[Observation, ...]:
    """Keys under a salt that the attacker knows, as good as no salt."""
    return attack(setting, knows_the_salt=True)


TARGETS: dict[str, Target] = {OURS: ours, "a salt that is known": known_salt}
