"""What everything that counts distinct users in little memory has in common.

A sketch is a value: each operation returns a new one and takes a whole array of keys. Its design holds the parameters
and says, before there is any data, how large the error is; its contract says what privacy holds, and on what condition.
Keys are keyed hashes of user ids (`dp.sketches.keys`), so that only who knows the salt can choose users who collide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]
"""64-bit keys, one per user, as signed integers; shape (n,). Each sketch casts them to what its library tells apart."""

KEY_SPAN = 2**64
"""Keys as unsigned whole numbers lie below this."""


class UnsupportedError(ValueError):
    """An operation that the sketch cannot do; the message says why, and which sketches can."""


class Sketch(Protocol):
    """A summary of a set of users. Adding a user twice has no further effect, unless the family says otherwise."""

    def add(self, keys: Keys) -> Self:
        """The sketch with these users in it."""

    def remove(self, keys: Keys) -> Self:
        """The sketch without these users; a user who is not in it changes nothing, unless the family says otherwise.

        Raises:
            UnsupportedError: the sketch does not remember its users.
        """

    def merge(self, other: Self) -> Self:
        """The sketch of both sets together.

        Raises:
            ValueError: the other sketch has other parameters.
        """

    def estimate(self) -> float:
        """The number of users."""

    def bounds(self, deviations: int) -> tuple[float, float]:
        """An interval for the number of users, given the estimate and the error of the sketch itself.

        Args:
            deviations: 1, 2 or 3 standard deviations (68.3, 95.4 or 99.7 % of a normal distribution).
        """

    def to_bytes(self) -> bytes:
        """The sketch for storage; its length is the memory that the sketch takes."""


class SketchDesign(Protocol):
    """The parameters of a sketch, without data."""

    def empty(self) -> Sketch:
        """A sketch of no users."""

    def from_bytes(self, data: bytes) -> Sketch:
        """What `to_bytes` gave.

        Raises:
            ValueError: the bytes are not a sketch of this design.
        """

    def standard_error(self, count: float) -> float:
        """Root mean square error over salts of the estimate of `count` users, in users, before any noise is added."""


@dataclass(frozen=True)
class Contract:
    """The privacy that a sketch gives.

    Attributes:
        kind: "none"; "sensitivity": one user moves the estimate by at most a known amount, so that noise makes it
            private; "intrinsic": the sketch is private by itself.
        words: the claim with its condition.
        proof: the section of docs/guarantees.md that proves it, or says why there is nothing to prove.
    """

    kind: Literal["none", "sensitivity", "intrinsic"]
    words: str
    proof: str


@dataclass(frozen=True)
class SketchFamily:
    """A kind of sketch and what it can do; each file of a sketch has one, named `FAMILY`.

    Attributes:
        make: from parameters, by name, to the design; each has a default unless the user must choose it (a rate, ε).
        keys: "hash": keyed hashes of user ids; "number": whole numbers from 0 up that stand for users.
        removes: whether users can be removed. "yes"; "no"; "set difference": only a whole sketch of them can be
            subtracted, at a loss of accuracy; "toggles": adding and removing are the same operation, so that neither
            may happen twice.
        merges: what the merger of two sketches is a sketch of.
        contract: the privacy that holds.
        error: the formula of the standard error, in words; `SketchDesign.standard_error` computes it.
        summary: what it does, in half a sentence.
        source: paper and section.
        refusal: why a release cannot put a mechanism's noise on its counts; empty where it can (the proof is
            `contract.proof`).
        example: parameters that have no default, as `dp.sketches.table` chooses them; a salt in it is no secret.
    """

    make: Callable[..., SketchDesign]
    keys: Literal["hash", "number"]
    removes: Literal["yes", "no", "set difference", "toggles"]
    merges: Literal["union", "symmetric difference"]
    contract: Contract
    error: str
    summary: str
    source: str
    refusal: str = ""
    example: Mapping[str, object] = field(default_factory=dict)


def cannot_remove(what: str) -> UnsupportedError:
    """The error of a sketch that does not remember its users."""
    return UnsupportedError(
        f"{what} forgets whom it has seen, so that nobody can be removed from it; "
        "exact, bitmap, fixed-rate and gf2 can remove, and theta can subtract a sketch"
    )


def validate_deviations(deviations: int) -> int:
    """The number of standard deviations, if it is 1, 2 or 3; raises ValueError otherwise."""
    if deviations not in (1, 2, 3):
        raise ValueError(f"deviations is {deviations}; it must be 1, 2 or 3 standard deviations")
    return deviations


def around(estimate: float, error: float, deviations: int) -> tuple[float, float]:
    """The estimate ± `deviations` standard errors, cut off at zero; (0, ∞) where the error is unknown."""
    width = validate_deviations(deviations) * error
    if math.isinf(width):
        return 0.0, math.inf
    return max(estimate - width, 0.0), estimate + width


def cut_error(deviation: float, count: float) -> float:
    """Root mean square error of a normal variable with mean `count` and this deviation, cut off at zero; in users."""
    if deviation == 0 or math.isinf(deviation):
        return deviation
    ratio = count / deviation
    below = math.erfc(ratio / math.sqrt(2)) / 2
    density = math.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    return math.sqrt(deviation**2 * (1 - below - ratio * density) + count**2 * below)
