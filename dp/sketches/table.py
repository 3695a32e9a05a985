"""All sketches side by side: what each can do, its size, its error, and the privacy that holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from dp.sketches import SKETCHES, Keys, SketchDesign, SketchFamily
from dp.sketches.keys import ANY_SALT, siphash

EXAMPLE_USERS = 100_000


def sketch_rows(families: Mapping[str, SketchFamily] = SKETCHES) -> list[dict[str, Any]]:
    """One row per sketch, with the parameters of `SketchFamily.example` and the defaults.

    `bytes` is the measured length of `to_bytes` for 100,000 users, and `relative_error_percent` the standard error of
    their count by formula, without the noise that a release would add; for sketches that are private by their own coins
    it is the error of the published sketch. `release` is "yes" or "no", and `refusal` says why not.
    """
    return [_row(name, family) for name, family in families.items()]


def described(design: SketchDesign) -> str:
    """The parameters of a design in words, without salts."""
    shown = [one for one in fields(design) if one.repr]  # type: ignore[arg-type]
    return ", ".join(f"{one.name} {_shown(getattr(design, one.name))}" for one in shown)


def some_keys(family: SketchFamily, users: int, salt: bytes) -> Keys:
    """Keys of `users` users for a sketch of the family, shape (users,).

    They are hashes of the users' numbers under the salt. Where numbers themselves are the keys, they are a random half
    of twice as many, because the users present are seldom all those who have ever been numbered.
    """
    if family.keys == "number":
        seed = int.from_bytes(salt)
        return np.random.default_rng(seed).permutation(2 * users)[:users].astype(np.int64)
    return siphash(np.arange(users, dtype=np.uint64)[:, None], salt).view(np.int64)


def _row(name: str, family: SketchFamily) -> dict[str, Any]:
    design = family.make(**family.example)
    # A sketch that is private by its own coins has a larger error once it is published.
    error = getattr(design, "flipped_error", design.standard_error)
    return {
        "sketch": name,
        "keys": family.keys,
        "removes": family.removes,
        "merges": family.merges,
        "error": family.error,
        "bytes": len(design.empty().add(some_keys(family, EXAMPLE_USERS, ANY_SALT)).to_bytes()),
        "relative_error_percent": round(100 * error(EXAMPLE_USERS) / EXAMPLE_USERS, 3),
        "parameters": described(design),
        "privacy": family.contract.kind,
        "contract": family.contract.words,
        "release": "no" if family.refusal else "yes",
        "refusal": family.refusal,
        "proof": family.contract.proof,
        "summary": family.summary,
        "source": family.source,
    }


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
