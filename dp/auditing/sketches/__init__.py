"""Any registered sketch by its name: attacked where it is published, for the claim that it makes.

What has a sensitivity is published as an estimate with a mechanism's noise. `sfm` and `gf2` are published as flipped
bits, alone or merged; their hash is public, so that the attacker knows which bit is the user's. `fm` and
`order-invariant` are published as registers under a salt that nobody knows: every trial has a fresh one, users are
alike, and all that an attacker can choose is how many others there are. These four make their claims in every size, so
that small sketches are attacked, in which the event that tells most is seen often (docs/guarantees.md, section 17.6).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.case import Case
from dp.auditing.options import DEFAULT_OPTIONS, AuditOptions
from dp.auditing.result import Audit
from dp.auditing.sketches.estimates import estimate_cases
from dp.auditing.sketches.flipped_bits import bit_cases
from dp.auditing.sketches.secret_registers import register_cases
from dp.auditing.verdict import audit_cases
from dp.sketches import family_of

__all__ = ["SKETCH_CASES", "audit_sketch"]


def audit_sketch(
    name: str,
    promised: Guarantee,
    trials: int,
    generator: np.random.Generator,
    options: AuditOptions = DEFAULT_OPTIONS,
) -> list[Audit]:
    """Make a sketch for a promise, attack it and say what was proved.

    Args:
        promised: ε and δ of one published sketch; sketches that are private without a δ ignore it. A merger promises
            the ε that it says itself.
        trials: published sketches in all, half of them with the user; of each case.

    Returns:
        One audit for every way in which the sketch is published, or for every size that is attacked.

    Raises:
        ValueError: the sketch is unknown or promises nothing, or the guarantee or the trials are out of range.
    """
    family = family_of(name)
    if family.contract.kind == "none":
        raise ValueError(f"sketch is {name!r}, which promises nothing that could be audited: {family.refusal}")
    return audit_cases(SKETCH_CASES[name](name, promised, trials, generator), trials, generator, options)


SKETCH_CASES: dict[str, Callable[[str, Guarantee, int, np.random.Generator], list[Case]]] = {
    "exact": estimate_cases,
    "bitmap": estimate_cases,
    "fixed-rate": estimate_cases,
    "fm": register_cases,
    "order-invariant": register_cases,
    "sfm": bit_cases,
    "gf2": bit_cases,
}
"""How each sketch that promises anything is attacked."""
