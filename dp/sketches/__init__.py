"""Counting distinct users in little memory: one protocol, one file a sketch, and what each of them promises."""

from __future__ import annotations

from dp.extensions import registered
from dp.sketches import (
    bitmap,
    cpc,
    exact,
    fixed_rate,
    fm,
    gf2,
    hll,
    kmv,
    order_invariant,
    sfm,
    theta,
)
from dp.sketches.protocol import Contract, Keys, Sketch, SketchDesign, SketchFamily, UnsupportedError

SKETCHES: dict[str, SketchFamily] = {
    "exact": exact.FAMILY,
    "bitmap": bitmap.FAMILY,
    "fixed-rate": fixed_rate.FAMILY,
    "kmv": kmv.FAMILY,
    "theta": theta.FAMILY,
    "hll": hll.FAMILY,
    "cpc": cpc.FAMILY,
    "fm": fm.FAMILY,
    "order-invariant": order_invariant.FAMILY,
    "sfm": sfm.FAMILY,
    "gf2": gf2.FAMILY,
}


def family_of(name: str) -> SketchFamily:
    """The family of that name.

    Raises:
        ValueError: there is none.
    """
    return registered("sketches", name, SKETCHES, SketchFamily)


__all__ = ["SKETCHES", "Contract", "Keys", "Sketch", "SketchDesign", "SketchFamily", "UnsupportedError", "family_of"]
