"""What holds for those whom a class leaves out: the ε of a change that needs more runs than were stated."""

from __future__ import annotations

import math
from dataclasses import replace

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.mechanisms import family_of, linear_design
from dp.units import ProtectedClass


def epsilon_outside(name: str, protected: ProtectedClass, guarantee: Guarantee, runs: int) -> float:
    """The ε, at the guarantee's δ, of a change with `runs` runs under a mechanism that is calibrated for a class.

    The change is cut into q = ⌈runs / m⌉ pieces of the class, for which q · μ or q · ε holds (docs/guarantees.md,
    section 1.2), or the strategy's sensitivity is bounded for so many runs, whichever proves less ε.

    Args:
        protected: the class that the mechanism is calibrated for, alone.

    Returns:
        That of the guarantee where the class has so many runs, or the mechanism needs no bound on them.

    Raises:
        ValueError: the mechanism cannot serve the class, or is unknown.
    """
    gaussian.validate_epsilon(guarantee.epsilon)
    family = family_of(name)
    if runs <= protected.runs or not family.needs_w_bound:
        return guarantee.epsilon
    design = linear_design(name, protected)
    pieces = math.ceil(runs / protected.runs)
    # Of squared ℓ₂ sensitivities, which for Laplace noise are ℓ₁ sensitivities.
    ratio = float(pieces if family.noise == "laplace" else pieces**2)
    most = (protected.hull + 1) // 2
    squared = design.strategy.sensitivity_squared
    try:
        wider = squared(replace(protected, runs=min(runs, most)))
        ratio = min(ratio, wider / squared(protected))
    except ValueError:
        pass  # Not every strategy is certified for every class; the pieces are.
    if family.noise == "laplace":
        return guarantee.epsilon * ratio
    return gaussian.epsilon_for(gaussian.mu_for(*guarantee) * math.sqrt(ratio), guarantee.delta)
