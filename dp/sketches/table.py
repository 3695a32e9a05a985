"""All sketches side by side: what each can do, how large it is and how far off, and what privacy holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from dp.sketches import SKETCHES, Design, Family, Keys
from dp.sketches.keys import siphash

USERS = 100_000
ANY_KEY = bytes(range(16))


def table(families: Mapping[str, Family] = SKETCHES) -> list[dict[str, Any]]:
    """One row a sketch, with the parameters of `Family.example` and the default ones.

    `bytes` is the measured length of `to_bytes` for 100,000 users, and `relative_error` the standard error of their
    count in per cent by formula, without any noise that a release would add: of the published sketch where that is
    private by its own coins. `release` is "yes" or "no", and `refusal` says why not.
    """
    return [_row(name, family) for name, family in families.items()]


def described(design: Design) -> str:
    """The parameters of a design in words, without salts."""
    shown = [one for one in fields(design) if one.repr]  # type: ignore[arg-type]
    return ", ".join(f"{one.name} {_shown(getattr(design, one.name))}" for one in shown)


def _row(name: str, family: Family) -> dict[str, Any]:
    design = family.make(**family.example)
    # What is private by coins of its own is published with more error than it is held with.
    error = getattr(design, "flipped_error", design.standard_error)
    return {
        "sketch": name,
        "keys": family.keys,
        "removes": family.removes,
        "merges": family.merges,
        "error": family.error,
        "bytes": len(design.empty().add(_keys(family)).to_bytes()),
        "relative_error": round(100 * error(USERS) / USERS, 3),
        "parameters": described(design),
        "privacy": family.contract.kind,
        "contract": family.contract.words,
        "release": "no" if family.refusal else "yes",
        "refusal": family.refusal,
        "proof": family.contract.proof,
        "summary": family.summary,
        "source": family.source,
    }


def _keys(family: Family) -> Keys:
    numbers = np.arange(USERS, dtype=np.uint64)
    return (numbers if family.keys == "number" else siphash(numbers[:, None], ANY_KEY)).view(np.int64)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
