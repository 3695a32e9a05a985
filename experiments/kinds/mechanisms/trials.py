"""How each kind of mechanism is tried: seeded trials at one point, and what formulas say of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dp.accounting.accountants import ACCOUNTANTS
from dp.accounting.calibrate import calibrate_designs, calibrate_linear
from dp.accounting.composition import Guarantee
from dp.accounting.mechanism_events import MechanismEvent, gaussian, laplace
from dp.arrays import Floats, Integers
from dp.intervals.sample import interval
from dp.mechanisms import GRID, LinearDesign, LinearMechanism, Mechanism, design, family_of, linear_design
from dp.units import ProtectedClass
from experiments.kinds.mechanisms.closed_forms import Tails, tails_of
from experiments.kinds.mechanisms.task import Steps

BudgetShare = tuple[float, float, float]
"""ε, δ, and the part of both that the series has."""

CI_LEVEL = 0.95
CLOSE = 1e-6
"""How near to what is allowed a noise is found by an accountant's word."""


@dataclass(frozen=True)
class Observed:
    """The counts of one log that a point is about.

    Attributes:
        truth: shape (T,).
        bounded: with every user frozen after W_BOUND flips, where the point is for whole users; else the truth.
        side_by_side: under each bound of a mechanism that chooses its own, shape (T, 2·bounds).
        steps: the flips behind `bounded`, where only a sample of the users is counted.
    """

    truth: Integers
    bounded: Integers
    side_by_side: Integers
    steps: Steps | None = None


@dataclass(frozen=True)
class TrialErrors:
    """What the trials at a point gave, in users.

    Attributes:
        noise: estimates less the counts that went in, shape (trials, T).
        bias: of those counts, shape (T,) or (trials, T).
        sampling: what the sample adds, shape (trials, T); None where all users are counted.
        deviation: standard deviations of the noise by formula, shape (T,), NaN where they depend on the data.
        sampling_deviation: those of `sampling`.
        tails: of the noise, where nothing else is random.
        coverage: share of the intervals that cover what they are for, among those that have ends.
        delta: of the guarantee.
        sensitivity: NaN where the mechanism is not linear.
        memory: most numbers kept of the counts between two ticks.
    """

    noise: Floats
    bias: Floats
    deviation: Floats
    coverage: float
    delta: float
    sensitivity: float
    memory: int
    tails: Tails | None = None
    sampling: Floats | None = None
    sampling_deviation: Floats | None = None

    @property
    def errors(self) -> Floats:
        """Estimates less the truth, shape (trials, T)."""
        total = self.noise + self.bias
        return total if self.sampling is None else total + self.sampling


def trial_errors(
    name: str,
    protected: ProtectedClass,
    budget: BudgetShare,
    observed: Observed,
    trials: int,
    generator: np.random.Generator,
) -> TrialErrors:
    """Trials of any mechanism, with the noise that it has for its part of a budget.

    Raises:
        ValueError: the mechanism cannot serve the class.
    """
    epsilon, delta, share = budget
    family, shares = family_of(name), _shares(share)
    mechanism = calibrate_designs([design(name, protected)] * len(shares), Guarantee(epsilon, delta), shares)[0]
    return _errors(mechanism, observed, trials, generator, 0.0 if family.delta == "none" else delta)


def linear_trial_errors(
    name: str,
    protected: ProtectedClass,
    budget: BudgetShare,
    observed: Observed,
    trials: int,
    generator: np.random.Generator,
    *,
    accountant: str | None = None,
    rate: float = 1.0,
) -> TrialErrors:
    """`trial_errors` of a linear mechanism, with what formulas say of them.

    Args:
        accountant: see `experiments.kinds.mechanisms.task.Task`.
        rate: share of the users who are counted.

    Raises:
        ValueError: the mechanism cannot serve the class, or the accountant has no answer for it.
    """
    epsilon, delta, share = budget
    horizon, shares = len(observed.truth), _shares(share)
    chosen = linear_design(name, protected)
    mechanism = calibrate_linear([chosen] * len(shares), Guarantee(epsilon, delta), shares)[0]
    if accountant is not None:
        mechanism = by_accountant(chosen, accountant, Guarantee(epsilon * share, delta * share))
    pure = mechanism.noise.pure and accountant is None
    found = replace(
        _errors(mechanism, observed, trials, generator, 0.0 if pure else delta),
        sensitivity=mechanism.sensitivity,
        tails=tails_of(mechanism, horizon),
    )
    if observed.steps is None:
        return found
    bounded, noise, half = observed.bounded, found.noise, mechanism.half_width(CI_LEVEL, horizon)
    sampled = samples(observed.steps, horizon, rate, trials, generator)
    estimates = sampled + noise
    low, high = interval(estimates, estimates - half, estimates + half, found.deviation, rate, CI_LEVEL)
    return replace(
        found,
        noise=noise / rate,
        deviation=found.deviation / rate,
        coverage=float(((low <= bounded) & (bounded <= high)).mean()),
        tails=None,
        sampling=sampled / rate - bounded,
        sampling_deviation=np.sqrt(bounded * (1 - rate) / rate),
    )


def _errors(
    mechanism: Mechanism, observed: Observed, trials: int, generator: np.random.Generator, delta: float
) -> TrialErrors:
    """Trials on the counts that the mechanism needs."""
    truth = observed.truth
    run = mechanism.trials(_needed(mechanism, observed), trials, generator, CI_LEVEL)
    return TrialErrors(
        run.errors,
        bias=(run.counted - truth).astype(np.float64),
        deviation=run.deviations,
        coverage=run.covered,
        delta=delta,
        sensitivity=float("nan"),
        memory=mechanism.memory(len(truth)),
    )


def _needed(mechanism: Mechanism, observed: Observed) -> Integers:
    if mechanism.bounds is not None:
        return observed.side_by_side
    return observed.bounded if family_of(mechanism.name).needs_w_bound else observed.truth


def samples(steps: Steps, horizon: int, rate: float, trials: int, generator: np.random.Generator) -> Integers:
    """Users present of whom each is kept with probability `rate`, drawn anew in each trial; shape (trials, T)."""
    ticks, users, signs = (np.array(values) for values in (steps.ticks, steps.users, steps.steps))
    moves = np.empty((trials, horizon), dtype=np.int64)
    for trial in range(trials):
        kept = (generator.random(int(users.max(initial=-1)) + 1) < rate)[users]
        moves[trial] = np.bincount(ticks[kept], weights=signs[kept], minlength=horizon)
    return np.cumsum(moves, axis=1)


def by_accountant(chosen: LinearDesign, accountant: str, guarantee: Guarantee) -> LinearMechanism:
    """The mechanism with the least noise, to a millionth, for which an accountant certifies a guarantee.

    Laplace noise, and independent Gaussian noise, is accounted a measurement at a time: one protected change alters
    up to `chosen.touched` of them, by one user each. Other strategies spread a change over all their measurements and
    are one release of a vector. The noise is taken as continuous: its grid is 2²⁴ cells a user.

    Raises:
        ValueError: the accountant does not apply to this noise.
    """
    alone = calibrate_linear([chosen], guarantee, [1.0])[0]

    def reported(factor: float) -> float:
        answer = ACCOUNTANTS[accountant].account([_part(chosen, alone.noise.scale * factor)], guarantee.delta)
        if answer.epsilon is None:
            raise ValueError(f"accountant is {accountant!r}, which has no answer for {chosen.name}: {answer.reason}")
        return answer.epsilon

    low = high = 1.0
    while reported(high) > guarantee.epsilon:
        low, high = high, 2 * high
    while reported(low) <= guarantee.epsilon:
        low, high = low / 2, low
    while high - low > CLOSE * low:
        middle = (low + high) / 2
        low, high = (middle, high) if reported(middle) > guarantee.epsilon else (low, middle)
    return chosen.with_scale(alone.noise.scale * high)


def _part(chosen: LinearDesign, scale: float) -> MechanismEvent:
    """What an accountant is told of a noise scale, in grid units."""
    if chosen.noise == "laplace":
        return laplace(epsilon=GRID / scale, count=chosen.touched)
    if chosen.name == "gaussian":
        return gaussian(sigma=scale / GRID, count=chosen.touched)
    return gaussian(sigma=scale / GRID, sensitivity=chosen.sensitivity)


def _shares(share: float) -> list[float]:
    """The shares of a series and, if there is anything left, of a like one."""
    return [1.0] if share == 1 else [share, 1 - share]
