"""Registers that keep the highest rank of the users who fall into them: their law, and how a count is read from them.

Sketches of this kind differ in who falls where; what a register holds has one law, P(value ≤ r) = e^(−n·a_r) for n
users and decreasing rates a_0 > a_1 > …, and the count is read by maximum likelihood. (For HyperLogLog the rates are
powers of ½: Ertl 2017, "New cardinality estimation algorithms for HyperLogLog sketches", which has it as well.)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dp.sketches.keys import Words, validate_key
from dp.sketches.protocol import Floats, Keys, UnsupportedError, around, cut_error

Registers = NDArray[np.uint8]
"""One value a register, 0 for an empty one; shape (m,)."""

ROUNDING = 2.0**-30
"""Relative: more than floats and the grid of the hashes err by."""

FULL = 40.0
"""So many users for each one that a register needs, and floats do not tell it from a full one."""

MOST_PHANTOMS = 2**26
"""More would take longer to add than anybody waits."""


def kept_share(epsilon: float) -> float:
    """1 − e^(−ε), rounded down: whoever changes a sketch with at most this probability is hidden up to ε."""
    return -math.expm1(-epsilon) * (1 - ROUNDING)


def phantoms_needed(changers: int, epsilon: float) -> int:
    """⌈k/(1 − e^(−ε))⌉ − 1: with one user more, at most a share of 1 − e^(−ε) of all is among k changers."""
    return math.ceil(changers / kept_share(epsilon)) - 1


def validate_epsilon(name: str, epsilon: float, changers: int) -> None:
    """Raise ValueError, with the name of the parameter, unless ε lies between 1e-5 and 30 and the phantoms are few."""
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
    """The registers after these ranks fell into these places; the old ones are left as they are."""
    result = registers.copy()
    higher = ranks > registers[places]
    np.maximum.at(result, places[higher], ranks[higher])
    return result


def registers_from(data: bytes, count: int, highest: int) -> Registers:
    """One byte a register.

    Raises:
        ValueError: there are not so many of them, or one is above the highest rank.
    """
    if len(data) != count:
        raise ValueError(f"data has {len(data)} bytes; a sketch of {count} registers has {count}")
    registers = np.frombuffer(data, dtype=np.uint8)
    if registers.max() > highest:
        raise ValueError(f"data has a register of {registers.max()}; ranks end at {highest}")
    return registers


def likeliest(registers: Registers, rates: Floats) -> float:
    """The n under which registers with these values are most likely.

    The logarithm of P(value = r) = e^(−n·a_r)(1 − e^(−n·w_r)), w_r = a_(r−1) − a_r, is concave in n, so that there is
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

    A subclass says who falls where and how a count is read.
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
        """a_0 > a_1 > … of the law of a register; shape (highest rank,)."""

    @abstractmethod
    def key(self, group: str) -> bytes:
        """The key, derived from the salt, under which "users" or "phantoms" are hashed."""

    @abstractmethod
    def with_words(self, registers: Registers, words: Words, key: bytes) -> Registers:
        """The registers after users with these 64-bit words, hashed under the key."""

    @abstractmethod
    def read(self, registers: Registers) -> float:
        """Maximum likelihood for the number of users, phantoms taken off; it may be below zero."""

    @abstractmethod
    def deviation(self, count: float) -> float:
        """Standard deviation of `read`, in users."""

    def empty(self) -> RegisterSketch:
        """The sketch of the phantoms."""
        return RegisterSketch(self, self._start)

    def from_bytes(self, data: bytes) -> RegisterSketch:
        """What `to_bytes` gave."""
        return RegisterSketch(self, registers_from(data, self.registers, len(self.rates)))

    def with_users(self, registers: Registers, keys: Keys) -> Registers:
        """The registers after these users."""
        return self.with_words(registers, keys.view(np.uint64), self._user_key)

    def standard_error(self, count: float) -> float:
        """That of `deviation`, less what an estimate below zero gains by being cut off there."""
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
    """One rank a register; phantoms are in it from the start."""

    design: RegisterDesign
    registers: Registers

    def add(self, keys: Keys) -> RegisterSketch:
        """With these users."""
        return RegisterSketch(self.design, self.design.with_users(self.registers, keys))

    def remove(self, keys: Keys) -> NoReturn:
        """Refused."""
        raise UnsupportedError("a sketch of registers forgets whom it has seen; use exact, bitmap or fixed-rate")

    def merge(self, other: RegisterSketch) -> RegisterSketch:
        """The union; both must have the same parameters and salt, and neither may be published besides."""
        if other.design != self.design:
            raise ValueError("sketches of another salt or other parameters cannot be merged with this one")
        return RegisterSketch(self.design, np.maximum(self.registers, other.registers))

    def estimate(self) -> float:
        """The likeliest number of users, cut off at zero; `design.read` does not, so that averages are right."""
        return max(self.design.read(self.registers), 0.0)

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The estimate ± so many of its deviations, cut off at zero."""
        return around(self.estimate(), self.design.deviation(self.estimate()), deviations)

    def to_bytes(self) -> bytes:
        """One byte a register."""
        return self.registers.tobytes()
