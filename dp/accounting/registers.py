"""What a sketch of registers that are private one by one promises as a whole."""

from __future__ import annotations

from dp.accounting.advanced import homogeneous_epsilon
from dp.accounting.composition import Guarantee


def sketch_guarantee(epsilon_register: float, registers: int, delta: float) -> Guarantee:
    """(ε, δ) of so many independent ε′-DP registers: the optimum (Kairouz, Oh and Viswanath 2015, theorem 3.3).

    Args:
        epsilon_register: ε′ of one register.
        registers: how many.
        delta: from 0, for which ε is the sum, to below 1.
    """
    return Guarantee(homogeneous_epsilon(epsilon_register, registers, delta), delta)


def register_epsilon(guarantee: Guarantee, registers: int) -> float:
    """The largest ε′ (to 1e-9 of itself, rounded down) for which so many registers keep the guarantee.

    Raises:
        ValueError: ε is not positive, δ is not in [0, 1), or there are no registers.
    """
    if not guarantee.epsilon > 0:
        raise ValueError(f"epsilon is {guarantee.epsilon}; it must be above 0, for instance 1")
    if not 0 <= guarantee.delta < 1:
        raise ValueError(f"delta is {guarantee.delta}; it must be at least 0 and below 1, for instance 1e-6")
    if registers < 1:
        raise ValueError(f"registers is {registers}; there must be at least one")
    # ε/m holds for every delta; from there up by doubling, then by bisection.
    low = guarantee.epsilon / registers
    high = 2 * low
    while sketch_guarantee(high, registers, guarantee.delta).epsilon <= guarantee.epsilon:
        low, high = high, 2 * high
    while high - low > 1e-9 * low:
        middle = (low + high) / 2
        if sketch_guarantee(middle, registers, guarantee.delta).epsilon <= guarantee.epsilon:
            low = middle
        else:
            high = middle
    return low
