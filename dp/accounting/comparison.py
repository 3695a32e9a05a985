"""Mechanisms side by side: what each costs for a class and a guarantee, and the ε that an accuracy needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from dp.accounting import gaussian
from dp.accounting.calibrate import calibrate_linear, calibrate_spending_delta
from dp.accounting.composition import Guarantee
from dp.accounting.known_noise import NOTICED, KnownNoise, least_known
from dp.arrays import Floats
from dp.mechanisms import GRID, LinearDesign, LinearMechanism, design, family_of, linear_design
from dp.mechanisms.protocol import SeriesBudget
from dp.progress import Progress, silent
from dp.units import ProtectedClass

Statistic = Literal["max", "rms"]

SETTLED_HULLS = 64
"""Hulls after which the noise of a series without an end has stopped growing, to any accuracy that is shown."""

DATA_DEPENDENT = "its error depends on the data; try it with an experiment or `release --simulate`"


@dataclass(frozen=True)
class Comparison:
    """One mechanism for a class and a guarantee; numbers are None where they do not exist, and `reason` says why.

    Pure mechanisms have no μ, and so no factors.

    Attributes:
        noise: what is drawn.
        sensitivity: users; ℓ₂ for Gaussian noise, ℓ₁ for Laplace noise.
        sigma: standard deviation of one draw, in users.
        rms_std: root mean square of a release's standard deviation over the horizon (in the long run without one).
        max_std: the largest one.
        factor: max_std × μ, μ being that of the exact Gaussian curve at (ε, δ).
        rms_factor: rms_std × μ.
        lower_bound_ratio: rms_factor over the best lower bound that is proved for Gaussian noise and the class.
        best: who has the least rms_std: a mechanism that it is compared with, or a published one that is not offered.
        best_ratio: rms_std over that of the best.
        memory: most numbers that a stream keeps of the counts between two ticks.
        draws_per_tick: noise draws, on average.
        proof: section of docs/guarantees.md.
        source: the paper.
    """

    mechanism: str
    noise: str
    sensitivity: float | None
    sigma: float | None
    rms_std: float | None
    max_std: float | None
    factor: float | None
    rms_factor: float | None
    lower_bound_ratio: float | None
    best: str | None
    best_ratio: float | None
    memory: int | None
    draws_per_tick: float | None
    proof: str
    source: str
    reason: str | None


class Compared(NamedTuple):
    """Mechanisms side by side.

    Attributes:
        rows: one for each name.
        lower_bound: of rms_factor for the class; None if it was not searched for, or without a δ.
        ahead: a published mechanism with less noise than any of the rows by more than 1 %, if one is known.
    """

    rows: list[Comparison]
    lower_bound: float | None
    ahead: KnownNoise | None


def compare_all(
    names: Sequence[str],
    protected: ProtectedClass,
    guarantee: Guarantee,
    *,
    bound: bool,
    spend_delta: bool = False,
    report: Progress = silent,
) -> Compared:
    """Mechanisms side by side, each calibrated alone.

    Args:
        bound: whether to search for the lower bound, beside the mechanisms' designs and on another core.
        spend_delta: whether Laplace noise spends δ.
        report: called with what is computed and the fraction done.

    Raises:
        ValueError: the guarantee is out of range, or a mechanism unknown.
    """
    from dp.mechanisms.lower_bound import lower_bound

    with ThreadPoolExecutor(max_workers=1) as beside:
        search = beside.submit(lower_bound, protected) if bound and guarantee.delta > 0 else None
        found = []
        for number, name in enumerate(names):
            report(name, number / (len(names) + 1))
            found.append(compare_mechanism(name, protected, guarantee, spend_delta))
        report("lower bound", len(names) / (len(names) + 1))
        least = search.result() if search else None
    ahead = _ahead(found, protected, guarantee)
    return Compared(_against(found, least, ahead), least, None if ahead is None else ahead[0])


def compare_mechanism(
    name: str, protected: ProtectedClass, guarantee: Guarantee, spend_delta: bool = False
) -> Comparison:
    """One mechanism calibrated alone, without the ratio to the lower bound.

    Raises:
        ValueError: the guarantee is out of range, or the mechanism unknown.
    """
    gaussian.validate_epsilon(guarantee.epsilon)
    if not 0 <= guarantee.delta < 1:
        raise ValueError(f"delta is {guarantee.delta}; it must lie between 0 and 1, for instance 1e-6")
    family = family_of(name)
    if family.delta == "needed" and guarantee.delta == 0:
        return _without_numbers(name, "Gaussian noise needs a delta above 0")
    spends = spend_delta and family.delta == "none" and guarantee.delta > 0
    try:
        if family.data_dependent:
            return _data_dependent(name, protected, guarantee)
        chosen = linear_design(name, protected)
        mechanism = _calibrated(chosen, guarantee, spends)
    except ValueError as error:
        return _without_numbers(name, str(error))
    largest, typical = _deviations(mechanism, protected)
    pure = family.delta == "none" and not spends
    mu = None if pure else gaussian.mu_for(*guarantee)
    return Comparison(
        mechanism=name,
        noise=family.noise,
        sensitivity=chosen.sensitivity,
        rms_std=typical,
        max_std=largest,
        factor=mu and largest * mu,
        rms_factor=mu and typical * mu,
        lower_bound_ratio=None,
        best=None,
        best_ratio=None,
        **mechanism.cost(_ticks(protected))._asdict(),
        proof=family.proof,
        source=family.source,
        reason="factors and the lower bound are for Gaussian noise only" if pure else None,
    )


@dataclass(frozen=True)
class Needed:
    """The guarantee that an accuracy needs; None where there is none, and `reason` says why."""

    mechanism: str
    epsilon: float | None
    delta: float | None
    rms_std: float | None
    max_std: float | None
    reason: str | None


def epsilon_for_deviation(
    name: str, protected: ProtectedClass, target: float, delta: float, statistic: Statistic
) -> Needed:
    """The smallest ε with which a mechanism's `statistic` of the standard deviations is at most `target` users.

    Raises:
        ValueError: the target or δ is out of range, or the mechanism unknown.
    """
    if not 0 < target < math.inf:
        raise ValueError(f"target_std is {target}; it is a positive number of users, for instance 20")
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}; it must lie between 0 and 1, for instance 1e-6")
    family = family_of(name)
    if family.data_dependent:
        return Needed(name, None, None, None, None, DATA_DEPENDENT)
    if family.delta == "needed" and delta == 0:
        return Needed(name, None, None, None, None, "Gaussian noise needs a delta above 0")
    try:
        chosen = linear_design(name, protected)
    except ValueError as error:
        return Needed(name, None, None, None, None, str(error))
    energy = chosen.strategy.decoder_energy(_ticks(protected))
    spread = math.sqrt(_mean(energy, protected) if statistic == "rms" else float(energy.max()))
    if family.noise == "laplace":
        # Variance 1/(2 sinh²(ε/2S)) of the discrete Laplace, in grid units.
        half = math.asinh(spread / (math.sqrt(2) * target * GRID))
        epsilon = 2 * half * GRID * chosen.sensitivity
    else:
        mu = chosen.sensitivity * spread / target
        # Far beyond any guarantee the curve itself is out of the range of floats.
        far = mu > gaussian.mu_for(gaussian.LARGEST_EPSILON, delta)
        epsilon = math.inf if far else gaussian.epsilon_for(mu, delta)
    step = 1e-9
    while gaussian.SMALLEST_EPSILON <= epsilon <= gaussian.LARGEST_EPSILON:
        try:
            mechanism = calibrate_linear([chosen], Guarantee(epsilon, delta), [1.0])[0]
        except ValueError as error:
            return Needed(name, None, None, None, None, str(error))
        largest, typical = _deviations(mechanism, protected)
        if (typical if statistic == "rms" else largest) <= target:
            return Needed(name, epsilon, 0.0 if family.delta == "none" else delta, typical, largest, None)
        # Scales are whole numbers, rounded up, and the discrete Gaussian has a little slack.
        epsilon, step = epsilon * (1 + step), 2 * step
    if epsilon < gaussian.SMALLEST_EPSILON:
        return Needed(name, None, None, None, None, f"an epsilon below {gaussian.SMALLEST_EPSILON:g} would do")
    return Needed(name, None, None, None, None, f"it needs an epsilon above {gaussian.LARGEST_EPSILON:g}")


def _ahead(
    found: Sequence[Comparison], protected: ProtectedClass, guarantee: Guarantee
) -> tuple[KnownNoise, float] | None:
    """A published mechanism with less noise than any of these, with its noise in users."""
    known = least_known(protected, guarantee, gaussian.mu_for(*guarantee) if guarantee.delta else None)
    least = min((row.rms_std for row in found if row.rms_std is not None), default=None)
    return known if known and least and least > NOTICED * known[1] else None


def _against(
    found: Sequence[Comparison], least: float | None, ahead: tuple[KnownNoise, float] | None
) -> list[Comparison]:
    """The same with the ratios to the lower bound and to the best."""
    known = [(row.rms_std, row.mechanism) for row in found if row.rms_std is not None]
    deviation, best = (ahead[1], ahead[0].method) if ahead else min(known, default=(None, None), key=lambda one: one[0])
    return [
        replace(
            row,
            lower_bound_ratio=row.rms_factor / least if row.rms_factor and least else None,
            best=best if row.rms_std else None,
            best_ratio=row.rms_std / deviation if row.rms_std and deviation else None,
        )
        for row in found
    ]


def _calibrated(chosen: LinearDesign, guarantee: Guarantee, spends: bool) -> LinearMechanism:
    if not spends:
        return calibrate_linear([chosen], guarantee, [1.0])[0]
    ((mechanism, _),) = calibrate_spending_delta([chosen], guarantee, [1.0])
    return mechanism


def _data_dependent(name: str, protected: ProtectedClass, guarantee: Guarantee) -> Comparison:
    empty = _without_numbers(name, DATA_DEPENDENT)
    mu = gaussian.mu_for(*guarantee) if family_of(name).noise == "gaussian" else math.nan
    cost = design(name, protected).cost(SeriesBudget(*guarantee, mu), _ticks(protected))
    return empty if cost is None else replace(empty, **cost._asdict())


def _without_numbers(name: str, reason: str) -> Comparison:
    family = family_of(name)
    return Comparison(name, family.noise, *(None,) * 11, family.proof, family.source, reason)


def _deviations(mechanism: LinearMechanism, protected: ProtectedClass) -> tuple[float, float]:
    """Largest and typical standard deviation, in users."""
    variances = mechanism.standard_deviation(_ticks(protected)) ** 2
    return math.sqrt(float(variances.max())), math.sqrt(_mean(variances, protected))


def _mean(values: Floats, protected: ProtectedClass) -> float:
    return float(values.mean()) if protected.horizon else float(values[-1])


def _ticks(protected: ProtectedClass) -> int:
    return protected.horizon or SETTLED_HULLS * protected.hull + 1024
