"""Registers that keep the highest rank of the users who fall into them: their distribution and the estimate.

Sketches of this kind differ in which register a user falls into. The value of a register always has the distribution
P(value ≤ r) = e^(−n·a_r), for n users and decreasing rates a_0 > a_1 > …, and the count is estimated by maximum
likelihood. (For HyperLogLog the rates are powers of ½: see also Ertl 2017, "New cardinality estimation algorithms for
HyperLogLog sketches".)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats
from dp.sketches.keys import Words, validate_key
from dp.sketches.protocol import Keys, UnsupportedError, around, cut_error

Registers = NDArray[np.uint8]
"""One value per register, 0 for an empty one; shape (m,)."""

ROUNDING = 2.0**-30
"""Relative; exceeds the errors of floats and of the grid of the hashes."""

FULL = 40.0
"""With more users than this per user that a register needs, floats cannot tell it from a full one."""

MOST_PHANTOMS = 2**26
"""More would take too long to add."""


def kept_share(epsilon: float) -> float:
    """1 − e^(−ε), rounded down: a user who changes a sketch with at most this probability is hidden up to ε."""
    return -math.expm1(-epsilon) * (1 - ROUNDING)


def phantoms_needed(changers: int, epsilon: float) -> int:
    """⌈k/(1 − e^(−ε))⌉ − 1: with one more user, k users who could change the sketch are at most a share 1 − e^(−ε)."""
    return math.ceil(changers / kept_share(epsilon)) - 1


def validate_register_epsilon(name: str, epsilon: float, changers: int) -> None:
    """Raise ValueError, naming the parameter, unless ε lies between 1e-5 and 30 and needs not too many phantoms."""
    if not 1e-5 <= epsilon <= 30:
        raise ValueError(f"{name} is {epsilon}; it must lie between 1e-5 and 30, for instance 1")
    if (phantoms := phantoms_needed(changers, epsilon)) > MOST_PHANTOMS:
        raise ValueError(
            f"{name} is {epsilon}, which needs {phantoms:,} phantom users with {changers:,} registers; up to "
            f"{MOST_PHANTOMS:,} can be had: choose a larger one, or fewer registers"
        )


def validate_salt(salt: bytes) -> None:
    """Raise ValueError, which does not show the salt, unless it has 16 bytes."""
    try:
        validate_key(salt)
    except ValueError as error:
        raise ValueError(f"salt has {len(salt)} bytes; it needs 16 secret random ones") from error


def ranks_of(values: NDArray[Any], thresholds: NDArray[Any]) -> Registers:
    """How many thresholds are above each value, shape (n,); thresholds ascending, at most 255."""
    below = np.searchsorted(thresholds, values, side="right")
    return (len(thresholds) - below).astype(np.uint8)


def raised(registers: Registers, places: NDArray[Any], ranks: Registers) -> Registers:
    """New registers after these ranks fell into these places."""
    result = registers.copy()
    higher = ranks > registers[places]
    np.maximum.at(result, places[higher], ranks[higher])
    return result


def registers_from(data: bytes, count: int, highest: int) -> Registers:
    """Registers stored as one byte each.

    Raises:
        ValueError: there are not `count` of them, or one is above the highest rank.
    """
    if len(data) != count:
        raise ValueError(f"data has {len(data)} bytes; a sketch of {count} registers has {count}")
    registers = np.frombuffer(data, dtype=np.uint8)
    if registers.max() > highest:
        raise ValueError(f"data has a register of {registers.max()}; ranks end at {highest}")
    return registers


def likeliest(registers: Registers, rates: Floats) -> float:
    """The n that makes these values most likely.

    The logarithm of P(value = r) = e^(−n·a_r)(1 − e^(−n·w_r)), w_r = a_(r−1) − a_r, is concave in n, so there is
    one maximum: 0 if all registers are empty, infinite if all are full.

    Args:
        registers: values from 0 to len(rates).
        rates: a_0 > a_1 > … > 0; a register that holds len(rates) is full.
    """
    from scipy.optimize import brentq

    counts = np.bincount(registers, minlength=len(rates) + 1)
    widths = -np.diff(rates, append=0.0)
    used = counts[1:] > 0
    raisings, widths = counts[1:][used], widths[used]
    idle = float(counts[:-1] @ rates)
    if not len(raisings):
        return 0.0
    if idle == 0:
        return math.inf

    def slope(n: float) -> float:
        # w/(e^(nw) − 1), written so that it cannot overflow.
        return float(raisings @ (widths * np.exp(-n * widths) / -np.expm1(-n * widths))) - idle

    # From 1/x − 1/2 ≤ 1/(e^x − 1) ≤ 1/x, and a little more for rounding.
    total = float(raisings.sum())
    low = total / (idle + float(raisings @ widths) / 2)
    return float(brentq(slope, low * (1 - 1e-9), total / idle * (1 + 1e-9), xtol=1e-9 * low, rtol=1e-12))


def information(count: float, rates: Floats) -> float:
    """Fisher information of one register about n at n = `count` > 0: Σ P(value = r)·(d ln P(value = r)/dn)².

    It is 0 where all registers are full.
    """
    if count * rates[-1] > FULL:
        return 0.0
    widths = -np.diff(rates, append=0.0)
    spread = count * widths
    full = np.exp(-count * np.append(rates[1:], 0.0))
    probabilities = np.append(np.exp(-count * rates[0]), full * -np.expm1(-spread))
    idle = -np.append(rates, 0.0)
    scores = idle + np.append(0.0, widths * np.exp(-spread) / -np.expm1(-spread))
    return float(probabilities @ scores**2)


class RegisterDesign(ABC):
    """The design of a sketch of registers that is private by its secret hash, with phantom users from the start.

    A subclass defines which register a user falls into and how a count is read.
    """

    @property
    @abstractmethod
    def registers(self) -> int:
        """How many registers there are."""

    @property
    @abstractmethod
    def phantoms(self) -> int:
        """How many phantom users there are."""

    @property
    @abstractmethod
    def rates(self) -> Floats:
        """a_0 > a_1 > … of the distribution of a register; shape (highest rank,)."""

    @abstractmethod
    def key(self, group: str) -> bytes:
        """The key, derived from the salt, under which "users" or "phantoms" are hashed."""

    @abstractmethod
    def with_words(self, registers: Registers, words: Words, key: bytes) -> Registers:
        """The registers after users with these 64-bit words, hashed under the key."""

    @abstractmethod
    def read(self, registers: Registers) -> float:
        """Maximum likelihood estimate of the number of users without the phantoms; it may be negative."""

    @abstractmethod
    def deviation(self, count: float) -> float:
        """Standard deviation of `read`, in users."""

    def empty(self) -> RegisterSketch:
        """The sketch of the phantoms."""
        return RegisterSketch(self, self._start)

    def from_bytes(self, data: bytes) -> RegisterSketch:
        """The sketch that `to_bytes` stored."""
        return RegisterSketch(self, registers_from(data, self.registers, len(self.rates)))

    def with_users(self, registers: Registers, keys: Keys) -> Registers:
        """The registers after these users."""
        return self.with_words(registers, keys.view(np.uint64), self._user_key)

    def standard_error(self, count: float) -> float:
        """Root mean square error of the estimate, which is cut off at zero; in users."""
        return cut_error(self.deviation(count), count)

    @cached_property
    def _user_key(self) -> bytes:
        return self.key("users")

    @cached_property
    def _start(self) -> Registers:
        nobody = np.zeros(self.registers, dtype=np.uint8)
        return self.with_words(nobody, np.arange(self.phantoms, dtype=np.uint64), self.key("phantoms"))


@dataclass(frozen=True, eq=False)
class RegisterSketch:
    """One rank per register, with phantoms from the start."""

    design: RegisterDesign
    registers: Registers

    def add(self, keys: Keys) -> RegisterSketch:
        """With these users."""
        return RegisterSketch(self.design, self.design.with_users(self.registers, keys))

    def remove(self, keys: Keys) -> NoReturn:
        """Not possible: what a register was before is gone."""
        raise UnsupportedError("a sketch of registers forgets whom it has seen; use exact, bitmap or fixed-rate")

    def merge(self, other: RegisterSketch) -> RegisterSketch:
        """The union; both must have the same parameters and salt, and neither may be published as well."""
        if other.design != self.design:
            raise ValueError("sketches of another salt or other parameters cannot be merged with this one")
        return RegisterSketch(self.design, np.maximum(self.registers, other.registers))

    def estimate(self) -> float:
        """The likeliest number of users, cut off at zero; `design.read` is not, so averages of it are unbiased."""
        return max(self.design.read(self.registers), 0.0)

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The estimate ± `deviations` of its standard deviations, cut off at zero."""
        estimate = self.estimate()
        return around(estimate, self.design.deviation(estimate), deviations)

    def to_bytes(self) -> bytes:
        """One byte per register."""
        return self.registers.tobytes()
