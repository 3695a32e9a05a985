"""The sketches of experiments: one parameter sets the memory, the others are as in a release."""

from __future__ import annotations

from functools import lru_cache

from dp.accounting.composition import Guarantee
from dp.accounting.registers import register_epsilon
from dp.sketches import SketchDesign, family_of

SIZE_PARAMETERS: dict[str, str | None] = {
    "exact": None,
    "bitmap": None,
    "fixed-rate": "rate",
    "kmv": "k",
    "theta": "lg_k",
    "hll": "lg_k",
    "cpc": "lg_k",
    "fm": "registers",
    "order-invariant": "lg_m",
    "sfm": "lg_buckets",
    "gf2": "lg_buckets",
}
"""The parameter that the memory of a sketch depends on; None where it depends on the users alone."""


def sketch_design(sketch: str, size: int | float | None, epsilon: float, delta: float, salt: bytes) -> SketchDesign:
    """A sketch in that size; one that is private by itself gets (ε, δ), and its secret salt if it has one.

    Raises:
        ValueError: a parameter out of range.
    """
    wanted = SIZE_PARAMETERS[sketch]
    parameters: dict[str, object] = {} if wanted is None else {wanted: size}
    match sketch:
        case "fm":
            parameters |= {"epsilon_register": _register_epsilon(epsilon, delta, size), "salt": salt}
        case "order-invariant":
            parameters |= {"epsilon": epsilon, "salt": salt}
        case "sfm" | "gf2":
            parameters |= {"epsilon": epsilon}
    return family_of(sketch).make(**parameters)


@lru_cache(maxsize=64)
def _register_epsilon(epsilon: float, delta: float, registers: int) -> float:
    return register_epsilon(Guarantee(epsilon, delta), registers)
