"""What an accountant may know of a release: plain facts, each with its proof in docs/guarantees.md, section 11.

A `MechanismEvent` is a number of like releases. Its constructors state, once for each mechanism, every fact that some
accountant can use; an accountant reads the facts and never asks which mechanism it was. A fact that is not known is
None.

The privacy loss of a release is ln P(x)/Q(x), x drawn from P, for the worst pair (P, Q) of neighbours. All pairs here
are symmetric: (Q, P) has the same loss, so that one direction is enough.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy

from dp.accounting.composition import zcdp_epsilon
from dp.accounting.gaussian import epsilon_for
from dp.accounting.loss_table import table_epsilon
from dp.arrays import Floats

SMALLEST, LARGEST = 1e-12, 1e6
"""Of ε, μ and ρ of one release that tells anything. Below, rounding is all; above, a guarantee means nothing."""
MOST_RELEASES = 10**9
MOST_SENSITIVITY = 10**5
"""Of a discrete mechanism, whose loss has about as many values."""
TABULATED_SIGMA = 64.0
"""Up to this σ the discrete Gaussian is summed exactly; above, a continuous one dominates it almost without loss."""
SMOOTHING = 3.0
"""Variance that the discrete Gaussian gives up to be a function of a continuous one (docs/guarantees.md, 11.4)."""
TAIL_SIGMAS = 16.0
"""Beyond so many σ the tabulated discrete Gaussian's loss is counted as infinite: a probability below 1e-55."""


@dataclass(frozen=True)
class MechanismEvent:
    """`count` releases of one mechanism, and what is known of each.

    Attributes:
        name: the mechanism with its parameters.
        epsilon: each is (ε, δ)-DP with this ε and `delta`; None where ε depends on a δ to be chosen.
        delta: see `epsilon`.
        rho: each is ρ-zCDP.
        mu: each is μ-GDP.
        gaussian: μ says everything: the loss is exactly that of a Gaussian mechanism.
        two_point: (ε, δ) says everything: the loss is exactly that of randomised response, or revealed with δ.
        loss: the shape of a dominating loss; "gaussian" by μ, "laplace" by ε, "discrete" by the four fields below.
        losses: values of a discrete loss, multiples of `step`.
        probabilities: of `losses`; with `infinite` they sum to 1.
        infinite: probability of an infinite loss.
        step: the grid on which all `losses` lie, or those of the Laplace loss that have a probability of their own.
    """

    name: str
    count: int = 1
    epsilon: float | None = None
    delta: float = 0.0
    rho: float | None = None
    mu: float | None = None
    gaussian: bool = False
    two_point: bool = False
    loss: Literal["gaussian", "laplace", "discrete"] | None = None
    losses: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    infinite: float = 0.0
    step: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or isinstance(self.count, bool) or not 1 <= self.count <= MOST_RELEASES:
            raise ValueError(f"count is {self.count!r}; it is a whole number of releases from 1 to {MOST_RELEASES:,}")

    @property
    def pure(self) -> bool:
        """Whether each release has a finite ε at δ = 0."""
        return self.epsilon is not None and self.delta == 0

    def attained_at(self, delta: float) -> bool:
        """Whether no smaller ε than that of `epsilon_at` holds for one release."""
        # Beyond the table of losses lies less than a rounding of δ.
        return self.gaussian or (self.epsilon is None and self.loss == "discrete" and self.infinite < 1e-16 * delta)

    @property
    def telling(self) -> bool:
        """Whether the release tells anything: ε, ρ or μ = 0 without a δ is that of noise alone."""
        return bool(self.delta) or 0 not in (self.epsilon, self.rho, self.mu)


def merge(parts: Iterable[MechanismEvent]) -> list[MechanismEvent]:
    """Like parts added up, in an order that does not depend on theirs, without those that tell nothing."""
    counts: dict[MechanismEvent, int] = {}
    for part in parts:
        if part.telling:
            one = dataclasses.replace(part, count=1)
            counts[one] = counts.get(one, 0) + part.count
    merged = [dataclasses.replace(part, count=count) for part, count in counts.items()]
    return sorted(merged, key=lambda part: (part.name, part.count))


def releases(parts: Iterable[MechanismEvent]) -> int:
    """How many releases there are."""
    return sum(part.count for part in parts)


def epsilon_at(part: MechanismEvent, delta: float) -> float:
    """An ε at which one release is (ε, δ)-DP: its own, with its own δ, or else the least that is known at `delta`."""
    if part.epsilon is not None:
        return part.epsilon
    if part.gaussian:
        assert part.mu is not None, part.name
        return epsilon_for(part.mu, delta)
    bounds = []
    if part.loss == "discrete" and delta > part.infinite:
        order = np.argsort(part.losses)
        with np.errstate(divide="ignore"):
            logs = np.log(np.array(part.probabilities)[order])
        bounds.append(table_epsilon(np.array(part.losses)[order], logs, delta - part.infinite))
    if part.mu is not None:
        bounds.append(epsilon_for(part.mu, delta))
    if part.rho is not None:
        bounds.append(zcdp_epsilon(part.rho, delta))
    return min(bounds)


def laplace(
    *, epsilon: float | None = None, scale: float | None = None, sensitivity: float = 1.0, count: int = 1
) -> MechanismEvent:
    """Continuous Laplace noise, either by its ε or by its scale and an ℓ₁ sensitivity.

    ρ = ε + e^(−ε) − 1 (Harrison and Manurangsi 2026); μ = −2Φ⁻¹(e^(−ε/2)/2). Both are the smallest that hold.

    Raises:
        ValueError: a parameter is missing or out of range; so for all constructors.
    """
    epsilon = _epsilon(epsilon, scale, _positive("sensitivity", sensitivity))
    return MechanismEvent(
        f"laplace, epsilon {epsilon!r}",
        count,
        epsilon,
        rho=_laplace_divergence(epsilon),
        mu=2 * _quantile(-epsilon / 2 - math.log(2)),
        loss="laplace",
        step=epsilon,
    )


def gaussian(*, sigma: float, sensitivity: float = 1.0, count: int = 1) -> MechanismEvent:
    """Continuous Gaussian noise of standard deviation σ on a value, or a vector, of that ℓ₂ sensitivity."""
    mu = _positive("sensitivity", sensitivity) / _positive("sigma", sigma)
    return gdp(mu=_in_range("mu (sensitivity/sigma)", mu), count=count)


def discrete_laplace(
    *, epsilon: float | None = None, scale: float | None = None, sensitivity: int = 1, count: int = 1
) -> MechanismEvent:
    """Discrete Laplace noise, P(z) ∝ e^(−|z|/scale), on a whole number of that sensitivity.

    Sensitivity 1 makes it randomised response, which composes worse than the continuous Laplace of the same ε.
    """
    shift = _whole("sensitivity", sensitivity)
    epsilon = _epsilon(epsilon, scale, shift)
    unit = epsilon / shift
    ratio = math.exp(-unit)
    between = np.arange(1, shift)
    losses = unit * np.concatenate([[shift], shift - 2.0 * between, [-shift]])
    weights = np.concatenate([[1.0], -math.expm1(-unit) * np.exp(-unit * between), [math.exp(-epsilon)]]) / (1 + ratio)
    middle = (shift + 1) // 2
    log_ratio = math.log1p(ratio)
    return MechanismEvent(
        f"discrete-laplace, epsilon {epsilon!r}, sensitivity {shift}",
        count,
        epsilon,
        rho=_divergence(losses, weights),
        mu=_quantile(-unit * middle - log_ratio) + _quantile(-unit * (shift + 1 - middle) - log_ratio),
        two_point=shift == 1,
        loss="discrete",
        losses=tuple(losses.tolist()),
        probabilities=tuple(weights.tolist()),
        step=unit,
    )


def discrete_gaussian(*, sigma: float, sensitivity: int = 1, count: int = 1) -> MechanismEvent:
    """Discrete Gaussian noise, P(z) ∝ e^(−z²/2σ²), on one whole number of that sensitivity.

    ρ = sensitivity²/2σ² (Canonne, Kamath and Steinke 2020, theorem 4). It is not a continuous Gaussian: at small σ it
    loses visibly more. Up to σ = 64 its loss and its μ are summed; above, N(0, σ² − 3) dominates it.
    """
    shift = _whole("sensitivity", sensitivity)
    _in_range("sensitivity/sigma", shift / _positive("sigma", sigma))
    common = MechanismEvent(
        f"discrete-gaussian, sigma {sigma!r}, sensitivity {shift}", count, rho=(shift / sigma) ** 2 / 2
    )
    if sigma > TABULATED_SIGMA:
        mu = shift / math.sqrt(sigma**2 - SMOOTHING)
        return dataclasses.replace(common, mu=mu, loss="gaussian")
    farthest = math.ceil(TAIL_SIGMAS * sigma) + 1
    support = np.arange(-farthest, farthest + 1)
    weights = np.exp(-(support**2) / (2 * sigma**2))
    step = shift / (2 * sigma**2)
    return dataclasses.replace(
        common,
        mu=_discrete_gaussian_mu(sigma, shift),
        loss="discrete",
        losses=tuple((step * (shift - 2.0 * support)).tolist()),
        probabilities=tuple((weights / weights.sum()).tolist()),
        infinite=math.exp(-(farthest**2) / (2 * sigma**2)),
        step=step,
    )


def pure(*, epsilon: float, count: int = 1) -> MechanismEvent:
    """Any ε-DP release: randomised response is the worst of them (Kairouz, Oh and Viswanath 2015).

    ρ = ε tanh(ε/2) and μ = −2Φ⁻¹(1/(1 + e^ε)); both are the smallest that hold for all.
    """
    one = discrete_laplace(epsilon=epsilon, count=count)
    return dataclasses.replace(one, name=f"pure, epsilon {epsilon!r}")


def approximate(*, epsilon: float, delta: float, count: int = 1) -> MechanismEvent:
    """Any (ε, δ)-DP release: the worst reveals its input with probability δ and is randomised response otherwise."""
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta!r}; it must lie strictly between 0 and 1 (without it, use 'pure')")
    one = discrete_laplace(epsilon=epsilon, count=count)
    return dataclasses.replace(
        one,
        name=f"approximate, epsilon {epsilon!r}, delta {delta!r}",
        delta=delta,
        rho=None,
        mu=None,
        probabilities=tuple((1 - delta) * probability for probability in one.probabilities),
        infinite=delta,
    )


def zcdp(*, rho: float, count: int = 1) -> MechanismEvent:
    """Any ρ-zCDP release (Bun and Steinke 2016). No pair of distributions is known to be the worst of them."""
    _nothing_or_in_range("rho", rho)
    return MechanismEvent(f"zcdp, rho {rho!r}", count, rho=float(rho))


def gdp(*, mu: float, count: int = 1) -> MechanismEvent:
    """Any μ-GDP release: the Gaussian mechanism is the worst of them (Dong, Roth and Su 2022), so ρ = μ²/2."""
    mu = _nothing_or_in_range("mu (sensitivity/sigma)", mu)
    return MechanismEvent(f"gaussian, mu {mu!r}", count, rho=mu**2 / 2, mu=mu, gaussian=True, loss="gaussian")


def _discrete_gaussian_mu(sigma: float, shift: int) -> float:
    """The smallest μ of which the discrete Gaussian is μ-GDP: the largest Φ⁻¹(1 − α) − Φ⁻¹(β) over its corners.

    The corners are α = P(X ≥ k), β = P(X + shift < k). Those beyond `last` are covered by a bound (11.4).
    """
    last = max(10, math.ceil(40 * sigma**2)) + shift
    support = np.arange(0, last + 1)
    log_weights = -(support**2) / (2 * sigma**2)
    # log Σ_{j ≥ k} g(j); beyond `last` the sum is a geometric series of a ratio below e^(−40), added for nothing.
    log_upper = np.logaddexp.accumulate(log_weights[::-1])[::-1]
    log_all = math.log(math.fsum(np.exp(log_weights)) * 2 - 1)
    quantiles = -scipy.special.ndtri_exp(log_upper[1:] - log_all)
    # P(X ≥ −k + 1) = 1 − P(X ≥ k): the quantiles at k = 1 − last … last.
    both = np.concatenate([-quantiles[::-1], quantiles])
    first = last - shift
    beyond = ((first - 0.5) + sigma**2 * math.exp(-(2 * first - 1) / (2 * sigma**2))) / (first - 1.5)
    return max(float((both[shift:] - both[:-shift]).max()), shift / sigma * beyond)


def _quantile(log_probability: float) -> float:
    """z with P(N(0, 1) > z) = e^`log_probability`."""
    if log_probability > -30:
        return -float(scipy.special.ndtri(math.exp(log_probability)))
    return -float(scipy.special.ndtri_exp(log_probability))


def _laplace_divergence(epsilon: float) -> float:
    # The difference cancels for small ε; there the series, cut after a positive term, is an upper bound.
    if epsilon < 1e-3:
        return epsilon**2 / 2 * (1 - epsilon / 3 + epsilon**2 / 12)
    return epsilon + math.expm1(-epsilon)


def _divergence(losses: Floats, weights: Floats) -> float:
    # Σ pℓ would cancel for small losses; pairing ℓ with −ℓ, whose probability is pe^(−ℓ), does not.
    positive = losses > 0
    return float(np.sum(weights[positive] * losses[positive] * -np.expm1(-losses[positive])))


def _epsilon(epsilon: float | None, scale: float | None, sensitivity: float) -> float:
    if (epsilon is None) == (scale is None):
        raise ValueError("either epsilon or scale is needed, and not both")
    if epsilon is None:
        assert scale is not None
        return _in_range("epsilon (sensitivity/scale)", sensitivity / _positive("scale", scale))
    return _nothing_or_in_range("epsilon", epsilon)


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; it must be a positive number")
    return float(value)


def _whole(name: str, value: float) -> int:
    if not 1 <= value <= MOST_SENSITIVITY or value != int(value):
        raise ValueError(
            f"{name} is {value!r}; a discrete mechanism needs a whole number from 1 to {MOST_SENSITIVITY:,}"
        )
    return int(value)


def _nothing_or_in_range(name: str, value: float) -> float:
    if value and not SMALLEST <= value <= LARGEST:
        raise ValueError(f"{name} is {value!r}; it must lie between {SMALLEST:g} and {LARGEST:g}, or be 0")
    return float(value)


def _in_range(name: str, value: float) -> float:
    if not SMALLEST <= value <= LARGEST:
        raise ValueError(f"{name} is {value!r}; it must lie between {SMALLEST:g} and {LARGEST:g}")
    return float(value)
