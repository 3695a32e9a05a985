"""Privacy losses composed on a grid.

Each loss is put on a grid so that the result dominates it, and the grids are convolved by Google's dp-accounting. What
its events would do wrong is done here:

- A discrete Laplace is not the continuous one, and a discrete Gaussian not a Gaussian: each gets its own probabilities.
- A value between two grid points is split between them so that both distributions of the pair keep their mass
  ("connect the dots", Doroshenko et al. 2022), which is closer than rounding up.
- The library's self-composition raises a Fourier transform to the power `count`, and its rounding errors with it: 10⁶
  releases at δ = 1e-12 came out .13 below the exact ε. So counts are composed in stages, each cut to its support.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from dp.accounting.accountant import log_kept, pure_sum, slack
from dp.accounting.mechanism_events import MechanismEvent, releases
from dp.arrays import Floats

SMALLEST_DELTA = 1e-12
"""Below, the rounding of a Fourier transform in double precision is no longer small against δ."""
MARGIN = 1e-8
"""Share of ε that is added: floats put a result that should be pessimistic up to 1.1e-9 below the exact one."""
NOISE = 5e-15
"""Taken from δ for the rounding of the transforms, which was measured at 2e-16 for 10⁹ releases."""
ACCURACY = 1e-6
"""Relative error in ε that the grid aims at, as far as MOST_POINTS allow; a million tiny releases get 1e-4."""
MOST_POINTS = 2**20
COARSEST = 100.0
"""Widest grid that the library's exponentials can bear."""
LONGEST = 1e18
"""Beyond any ε that the parts' ranges allow."""
STAGE = 64
"""Most copies that are composed in one transform."""


def grid_epsilon(parts: Sequence[MechanismEvent], delta: float) -> float:
    """An ε of the composed losses at `delta`, tight up to the grid; infinite where the grid cannot tell.

    What is left of δ beside infinite losses is for the finite ones. Of that, the grid needs at least `SMALLEST_DELTA`.
    """
    left = slack(delta, log_kept(parts))
    if left is None or left < SMALLEST_DELTA:
        return math.inf
    finite = [part for part in parts if part.loss != "discrete" or any(part.losses)]
    if not finite:
        return 0.0
    if grid(finite) > COARSEST:
        return math.inf
    epsilon = (1 + MARGIN) * _epsilon(_composed(finite, left), left - NOISE)
    total = pure_sum(finite)
    return epsilon if total is None else min(epsilon, total)


def _composed(parts: Sequence[MechanismEvent], delta: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as library

    mu = math.sqrt(math.fsum(part.count * part.mu**2 for part in parts if part.loss == "gaussian" and part.mu))
    others = [part for part in parts if part.loss != "gaussian"]
    interval = grid(parts)
    # Mass that is cut from the ends goes to an infinite loss: never more than δ/10⁶ in all, nor less than rounding.
    tail = max(delta * 1e-6, 1e-15) / (len(others) + 1)
    composed = [library.from_gaussian_mechanism(1 / mu, value_discretization_interval=interval)] if mu else []
    for part in others:
        lowest, probabilities = LATTICE[part.loss](part, interval)
        kept = probabilities / (1 - part.infinite)
        one = library.PrivacyLossDistribution.create_from_rounded_probability(
            dict(enumerate(kept.tolist(), lowest)), 0.0, interval
        )
        composed.append(_self_composed(one, part.count, tail))
    result = composed[0]
    for each in composed[1:]:
        result = result.compose(each, tail)
    return result


def _epsilon(composed: Any, delta: float) -> float:
    """The smallest ε with δ(ε) ≤ `delta`, from above; infinite if there is none.

    By bisection: the library's own search sums e^(−loss), which is 0 beyond 745, and is then off by more than a unit.
    """
    if composed.get_delta_for_epsilon(0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while composed.get_delta_for_epsilon(high) > delta:
        low, high = high, 2 * high
        if high > LONGEST:
            return math.inf
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        if composed.get_delta_for_epsilon(middle) > delta:
            low = middle
        else:
            high = middle
    return high


def _self_composed(one: Any, count: int, tail: float) -> Any:
    if count <= STAGE:
        return one.self_compose(count, tail)
    stages, rest = divmod(count, STAGE)
    whole = _self_composed(one.self_compose(STAGE, tail / (4 * stages)), stages, tail / 2)
    return whole.compose(one.self_compose(rest, tail / 8), tail / 8) if rest else whole


def grid(parts: Sequence[MechanismEvent]) -> float:
    """The distance of two grid points.

    Splitting a value adds at most h²/4 to the variance of one loss and about h²/8 to its mean, so that h is chosen from
    the error this makes in ε. It divides the steps of the losses that matter most, which are then not rounded at all.
    """
    mu_squared = math.fsum(part.count * part.mu**2 for part in parts if part.loss == "gaussian" and part.mu)
    others = [part for part in parts if part.loss != "gaussian"]
    if not others:
        # The library lays its grid from −μ²/2 on, which for a μ in the thousands would not fit into memory.
        return max(3e-4 * math.sqrt(mu_squared), mu_squared / MOST_POINTS)
    moments = [(part.count, *MOMENTS[part.loss](part)) for part in others]
    mean = mu_squared / 2 + math.fsum(count * mean for count, mean, _ in moments)
    deviation = math.sqrt(mu_squared + math.fsum(count * variance for count, _, variance in moments)) or 1e-300
    size = min(mean + 5 * deviation, pure_sum(parts) or math.inf)
    wanted = math.sqrt(8 * ACCURACY * size / (releases(others) * (1 + 5 / deviation)))
    widest = max(2 * max(part.epsilon or 0.0, *part.losses, 0.0) for part in others)
    fewest = max(20 * deviation, mu_squared, widest) / MOST_POINTS
    interval = max(wanted, fewest)
    step = common_step([part.step for part in sorted(others, key=lambda part: -part.count * part.step**2)], fewest)
    if step <= interval or (len(parts) == 1 and others[0].loss == "discrete"):
        return step * max(1, math.floor(interval / step))
    return step / math.ceil(step / interval)


def common_step(steps: Sequence[float], fewest: float) -> float:
    """The largest number of which all `steps` are multiples, while it is at least `fewest`; else of the first ones."""
    step = steps[0]
    for other in steps[1:]:
        ratio = Fraction(other / step).limit_denominator(1000)
        finer = step / ratio.denominator
        if finer >= fewest and abs(ratio * step - other) <= 1e-12 * other:
            step = finer
    return step


def discrete_lattice(part: MechanismEvent, interval: float) -> tuple[int, Floats]:
    """A discrete loss on the grid: the index of the first point, and the probabilities from there on."""
    places = np.array(part.losses) / interval
    below = np.floor(places)
    upper = np.array(part.probabilities) * np.expm1(-(places - below) * interval) / math.expm1(-interval)
    lower = np.array(part.probabilities) - upper
    lowest = int(below.min())
    indices = below.astype(np.int64) - lowest
    size = int(indices.max()) + 2
    probabilities = np.zeros(size)
    np.add.at(probabilities, indices, lower)
    np.add.at(probabilities, indices + 1, upper)
    return lowest, probabilities


def laplace_lattice(part: MechanismEvent, interval: float) -> tuple[int, Floats]:
    """The loss of continuous Laplace noise on the grid.

    It is ε with probability ½, −ε with e^(−ε)/2, and between them has the density e^(−(ε − ℓ)/2)/4; of the part
    between two grid points, the upper one gets ∫ (1 − e^(−(ℓ − lower)))/(1 − e^(−h)) of it.
    """
    epsilon = part.epsilon
    assert epsilon is not None
    lowest, highest = math.floor(-epsilon / interval), math.ceil(epsilon / interval)
    points = interval * np.arange(lowest, highest)
    begin, end = np.maximum(0.0, -epsilon - points), np.minimum(interval, epsilon - points)
    height = np.exp((points - epsilon) / 2)
    upper = 2 * height * (np.sinh(end / 4) ** 2 - np.sinh(begin / 4) ** 2) / -math.expm1(-interval)
    mass = height / 2 * np.exp(begin / 2) * np.expm1((end - begin) / 2)
    probabilities = np.zeros(highest - lowest + 1)
    probabilities[:-1] += np.maximum(mass - upper, 0.0)
    probabilities[1:] += upper
    ends = MechanismEvent("", losses=(epsilon, -epsilon), probabilities=(0.5, 0.5 * math.exp(-epsilon)))
    _, values = discrete_lattice(ends, interval)
    # Where ε lies on the grid, the last of `values` is the empty upper half of its split.
    return lowest, probabilities + values[: len(probabilities)]


LATTICE: dict[str | None, Callable[[MechanismEvent, float], tuple[int, Floats]]] = {
    "discrete": discrete_lattice,
    "laplace": laplace_lattice,
}


def _discrete_moments(part: MechanismEvent) -> tuple[float, float]:
    losses, probabilities = np.array(part.losses), np.array(part.probabilities)
    mean = float(losses @ probabilities)
    return max(mean, 0.0), float((losses - mean) ** 2 @ probabilities)


def _laplace_moments(part: MechanismEvent) -> tuple[float, float]:
    epsilon, mean = part.epsilon, part.rho
    assert epsilon is not None
    assert mean is not None
    if epsilon < 1e-3:
        return mean, epsilon**2
    return mean, 4 - 4 * math.exp(-epsilon) * (1 + epsilon) - math.expm1(-epsilon) ** 2


MOMENTS: dict[str | None, Callable[[MechanismEvent], tuple[float, float]]] = {
    "discrete": _discrete_moments,
    "laplace": _laplace_moments,
}
"""Mean and variance of one loss, for choosing the grid."""
