"""Coverage of the intervals and a measured lower bound on ε: the two claims a reader of a release relies on.

Everything is simulated with fixed seeds through `Mechanism.simulate`; each test has a broken twin that it rejects.

Power. Coverage: 60,000 series and a 99.9 % Clopper-Pearson band with Bonferroni over the ticks looked at. An interval
3 % too narrow covers 94.27 % (Gaussian) or 94.53 % (Laplace) and is out of the band at one tick with probability
> 0.999 or > 0.9 (asserted below). A year at every tick: 10 % too narrow, 0.99.
Audit: at ε = 1 the lower bound from 60,000 releases with and 60,000 without the change was between 0.80 and 1.01 in 70
runs with other seeds (one above the claim; five in a hundred are allowed); with half the noise between 1.4 and 2.9.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import epsilon_for
from dp.mechanisms import GRID, LinearMechanism, linear_design
from dp.noise import GaussianNoise
from dp.units import protected_class
from tests.oracles.mechanism_instances import MECHANISM_NAMES, ClassArguments, Instance, mechanism_of, strategy_matrix

pytestmark = pytest.mark.slow


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """The exact two-sided confidence interval of a proportion."""
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)


def test_the_interval_of_a_proportion_by_its_definition():
    low, high = clopper_pearson(7, 50, 0.95)
    assert binom.sf(6, 50, low) == pytest.approx(0.025)
    assert binom.cdf(7, 50, high) == pytest.approx(0.025)
    assert clopper_pearson(0, 50, 0.95)[0] == 0.0
    assert clopper_pearson(50, 50, 0.95)[1] == 1.0


# --- Coverage --------------------------------------------------------------------------------------------------------

LEVEL = 0.95
SERIES = 60_000
TICKS = (0, 6, 14, 22, 30, 31)
COVERAGE_CLASSES = (ClassArguments("user-day", 7, 2, 32), ClassArguments("user", 7, 4, 32))
COVERAGE_INSTANCES = [Instance(name, arguments) for name in MECHANISM_NAMES for arguments in COVERAGE_CLASSES]
YEAR_CLASSES = (ClassArguments("user-day", 30, 2, 365), ClassArguments("user", 30, 24, 365))
YEAR_INSTANCES = [Instance(name, arguments) for name in MECHANISM_NAMES for arguments in YEAR_CLASSES]


def uncovered_ticks(errors: np.ndarray, half_width: np.ndarray) -> list[int]:
    """Columns where 95 % is outside the Clopper-Pearson interval of the coverage; 99.9 % for all columns together."""
    trials, ticks = errors.shape
    covered = np.count_nonzero(np.abs(errors) <= half_width, axis=0)
    confidence = 1 - 0.001 / ticks
    bands = [clopper_pearson(int(count), trials, confidence) for count in covered]
    return [tick for tick, (low, high) in enumerate(bands) if not low <= LEVEL <= high]


@cache
def simulated_errors(instance: Instance) -> np.ndarray:
    """Errors of SERIES simulated releases at TICKS."""
    counts = np.arange(1000, 1000 + instance.ticks)
    estimates = mechanism_of(instance).simulate(counts, SERIES, np.random.default_rng(20260101))
    return (estimates - counts)[:, TICKS]


def half_widths(instance: Instance) -> np.ndarray:
    return mechanism_of(instance).half_width(LEVEL, instance.ticks)[list(TICKS)]


@pytest.mark.parametrize("instance", COVERAGE_INSTANCES, ids=str)
class TestCoverage:
    def test_intervals_cover_as_often_as_they_say(self, instance):
        assert uncovered_ticks(simulated_errors(instance), half_widths(instance)) == []

    @pytest.mark.parametrize("factor", [0.97, 1.03])
    def test_intervals_three_per_cent_off_are_rejected(self, instance, factor):
        assert uncovered_ticks(simulated_errors(instance), factor * half_widths(instance)) != []

    def test_the_quantile_of_another_distribution_is_rejected(self, instance):
        mechanism = mechanism_of(instance)
        deviation = mechanism.standard_deviation(instance.ticks)[list(TICKS)]
        gaussian, laplace = norm.ppf(0.975) * deviation, -math.log(0.05) / math.sqrt(2) * deviation
        wrong = gaussian if mechanism.noise.pure else laplace
        assert uncovered_ticks(simulated_errors(instance), wrong) != []


def out_of_band(coverage: float, trials: int, ticks: int) -> float:
    """Probability that a tick with this coverage is rejected."""
    confidence = 1 - 0.001 / ticks
    counts = np.arange(int(0.92 * trials), int(0.98 * trials))
    tail = (1 - confidence) / 2
    low, high = beta.ppf(tail, counts, trials - counts + 1), beta.ppf(1 - tail, counts + 1, trials - counts)
    accepted = counts[(low <= LEVEL) & (high >= LEVEL)]
    return float(1 - binom.cdf(accepted[-1], trials, coverage) + binom.cdf(accepted[0] - 1, trials, coverage))


def test_the_power_of_the_coverage_test():
    too_narrow_gaussian = 2 * norm.cdf(0.97 * norm.ppf(0.975)) - 1
    too_narrow_laplace = 1 - 0.05**0.97
    assert out_of_band(too_narrow_gaussian, SERIES, len(TICKS)) > 0.999
    assert out_of_band(too_narrow_laplace, SERIES, len(TICKS)) > 0.9
    assert out_of_band(LEVEL, SERIES, len(TICKS)) <= 0.001 / len(TICKS)
    assert out_of_band(2 * norm.cdf(0.9 * norm.ppf(0.975)) - 1, 4000, 365) > 0.99


@pytest.mark.parametrize("instance", YEAR_INSTANCES, ids=str)
def test_a_year_of_intervals_covers_at_every_tick(instance):
    mechanism, counts = mechanism_of(instance), np.full(365, 5000)
    errors = mechanism.simulate(counts, 4000, np.random.default_rng(20260102)) - counts
    half_width = mechanism.half_width(LEVEL, 365)
    assert uncovered_ticks(errors, half_width) == []
    assert uncovered_ticks(errors, 0.9 * half_width) != []


@pytest.mark.parametrize("instance", COVERAGE_INSTANCES, ids=str)
def test_secure_noise_is_covered_too(instance):
    """1,000 series of OpenDP's draws, which have no seed: the band is one of probability 1 − 1e-6."""
    mechanism, trials = mechanism_of(instance), 1000
    draws = mechanism.strategy.draws(0, instance.ticks)
    noise = mechanism.noise.secure(trials * draws).reshape(trials, draws)
    errors, half_width = mechanism.errors(noise.astype(np.float64)), mechanism.half_width(LEVEL, instance.ticks)
    for tick in TICKS:
        covered = int(np.count_nonzero(np.abs(errors[:, tick]) <= half_width[tick]))
        low, high = clopper_pearson(covered, trials, 1 - 1e-6 / (len(TICKS) * len(COVERAGE_INSTANCES)))
        assert low <= LEVEL <= high
        twin = int(np.count_nonzero(np.abs(errors[:, tick]) <= half_width[tick] / 2))
        assert not clopper_pearson(twin, trials, 1 - 1e-9)[0] <= LEVEL <= clopper_pearson(twin, trials, 1 - 1e-9)[1]


# --- A lower bound on ε ----------------------------------------------------------------------------------------------


def epsilon_lower_bound(without: np.ndarray, with_change: np.ndarray, delta: float, confidence: float = 0.95) -> float:
    """The ε that scores of releases without and with the change disprove, at `confidence`.

    The threshold is chosen on the first halves; on the second halves (ε, δ)-DP requires TPR ≤ e^ε FPR + δ, where TPR
    is taken at its lower and FPR at its upper Clopper-Pearson bound.
    """
    half = len(without) // 2
    thresholds = np.quantile(with_change[:half], np.linspace(0.02, 0.998, 80))

    def exceed(scores: np.ndarray) -> np.ndarray:
        return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")

    hits, alarms = exceed(with_change[:half]), exceed(without[:half])
    # Chosen by the same pessimistic measure, so that rates of a handful of releases do not win.
    guess = np.maximum(hits - 2 * np.sqrt(hits), 0) / half - delta
    choice = thresholds[np.argmax(guess / (alarms + 2 * np.sqrt(alarms) + 4))]
    trials = len(without) - half
    hit, alarm = (int(np.count_nonzero(scores[half:] >= choice)) for scores in (with_change, without))
    each = 1 - 2 * (1 - confidence) / 2
    lowest_hit, highest_alarm = clopper_pearson(hit, trials, each)[0], clopper_pearson(alarm, trials, each)[1]
    return math.log((lowest_hit - delta) / highest_alarm) if lowest_hit > delta + highest_alarm else 0.0


def patterns_of_up_to_two_runs(arguments: ClassArguments) -> np.ndarray:
    """Every 0/1 series of the class with at most two runs; one a row."""
    unit, window, w_bound, horizon = arguments
    assert horizon is not None
    hull = horizon if unit == "user" else min(window, horizon)
    assert w_bound in (2, 4)
    ticks = np.arange(horizon)
    rows = []
    for start in range(horizon):
        last = min(start + hull, horizon)
        for end in range(start + 1, last + 1):
            rows.append((start <= ticks) & (ticks < end))
            if w_bound == 4:
                for gap_start, gap_end in itertools.combinations(range(start + 1, end), 2):
                    rows.append(rows[-1] & ~((gap_start <= ticks) & (ticks < gap_end)))
                    rows[-1], rows[-2] = rows[-2], rows[-1]
    return np.array(rows, dtype=np.float64)


class Audit(NamedTuple):
    """A mechanism to attack, and the share of its claimed ε that the attack must reach."""

    name: str
    arguments: ClassArguments
    guarantee: Guarantee
    reaches: float

    def __str__(self) -> str:
        unit, window, w_bound, horizon = self.arguments
        return f"{self.name}-{unit}-W{window}-w{w_bound}-T{horizon}"


LOOSE, PURE = Guarantee(1.0, 0.05), Guarantee(1.0, 0.0)
AUDITS = (
    Audit("laplace", ClassArguments("user-day", 3, 2, 16), PURE, 0.75),
    Audit("laplace", ClassArguments("user", 3, 2, 4), PURE, 0.75),
    Audit("binary-tree-laplace", ClassArguments("user-day", 3, 2, 7), PURE, 0.75),
    Audit("binary-tree-laplace", ClassArguments("user", 3, 2, 7), PURE, 0.7),
    Audit("subtraction-tree", ClassArguments("user-day", 14, 2, 36), PURE, 0.8),
    Audit("subtraction-tree", ClassArguments("user", 3, 2, 27), PURE, 0.8),
    Audit("gaussian", ClassArguments("user-day", 7, 2, 32), LOOSE, 0.75),
    Audit("gaussian", ClassArguments("user", 7, 4, 24), LOOSE, 0.75),
    Audit("binary-tree", ClassArguments("user-day", 7, 2, 32), LOOSE, 0.75),
    Audit("binary-tree", ClassArguments("user", 7, 4, 24), LOOSE, 0.75),
    Audit("square-root", ClassArguments("user-day", 7, 2, 32), LOOSE, 0.75),
    Audit("square-root", ClassArguments("user", 7, 2, 32), LOOSE, 0.75),
    Audit("square-root", ClassArguments("user", 7, 4, 24), LOOSE, 0.7),
    Audit("damped-square-root", ClassArguments("user-day", 7, 2, 32), LOOSE, 0.75),
    Audit("damped-square-root", ClassArguments("user", 7, 2, 32), LOOSE, 0.75),
    Audit("damped-square-root", ClassArguments("user", 7, 4, 24), LOOSE, 0.7),
    Audit("b-ary-tree", ClassArguments("user-day", 7, 2, 32), LOOSE, 0.75),
    Audit("b-ary-tree", ClassArguments("user", 7, 4, 24), LOOSE, 0.75),
    Audit("honaker-tree", ClassArguments("user-day", 7, 2, 32), LOOSE, 0.7),
    Audit("honaker-tree", ClassArguments("user", 7, 4, 24), LOOSE, 0.7),
    Audit("buffered-toeplitz", ClassArguments("user-day", 7, 2, 32), LOOSE, 0.75),
    Audit("buffered-toeplitz", ClassArguments("user", 7, 4, 24), LOOSE, 0.7),
    Audit("optimal", ClassArguments("user-day", 7, 2, 32), LOOSE, 0.75),
    Audit("optimal", ClassArguments("user", 7, 4, 24), LOOSE, 0.7),
)
"""Without smooth-binary, whose estimates tell so much less than its measurements (ε about 0.2 and 0.36 for a claim of
1) that this attack would not see half the noise; tests/dp/mechanisms/test_trees.py looks at the measurements."""
RELEASES = 60_000


def calibrated(audit: Audit) -> LinearMechanism:
    return calibrate_linear([linear_design(audit.name, protected_class(*audit.arguments))], audit.guarantee, [1.0])[0]


@cache
def worst_change(audit: Audit) -> tuple[np.ndarray, np.ndarray]:
    """The difference series with the largest norm of its measurements, and those measurements."""
    patterns = patterns_of_up_to_two_runs(audit.arguments)
    changes = patterns @ strategy_matrix(calibrated(audit).strategy, patterns.shape[1]).T
    worst = int(np.square(changes).sum(axis=1).argmax())
    return patterns[worst].astype(np.int64), changes[worst]


def measured_epsilon(mechanism: LinearMechanism, audit: Audit, seed: int, releases: int = RELEASES) -> float:
    """Likelihood-ratio attack on simulated releases with and without the worst change."""
    pattern, change = worst_change(audit)
    counts = 500 + np.arange(len(pattern)) % 7
    matrix = strategy_matrix(mechanism.strategy, len(pattern))
    decoder = mechanism.strategy.decode(np.eye(mechanism.strategy.draws(0, len(pattern))))
    direction = np.linalg.solve(decoder.T @ decoder, pattern)
    generator = np.random.default_rng(seed)

    def scores(series: np.ndarray) -> np.ndarray:
        errors = mechanism.simulate(series, releases, generator) - counts
        if mechanism.noise.pure:
            seen = errors @ matrix.T
            # Ties at the ends of the range are one event; rounding keeps floats from splitting it.
            return np.round((np.abs(seen) - np.abs(seen - change)).sum(axis=1), 6)
        # The likelihood ratio of what is published: some trees measure more than that tells.
        return np.asarray(errors @ direction)

    return epsilon_lower_bound(scores(counts), scores(counts + pattern), audit.guarantee.delta)


def with_noise_times(mechanism: LinearMechanism, factor: float) -> LinearMechanism:
    noise = mechanism.noise
    return replace(mechanism, noise=type(noise)(math.ceil(factor * noise.scale)))


def test_patterns_are_listed_once_and_all_of_them():
    for arguments in (
        ClassArguments("user", 7, 4, 8),
        ClassArguments("user-day", 4, 4, 8),
        ClassArguments("user", 7, 2, 8),
    ):
        listed = patterns_of_up_to_two_runs(arguments)
        every = np.array(list(itertools.product((0, 1), repeat=8)))
        runs = (np.diff(every, axis=1, prepend=0) == 1).sum(axis=1)
        hulls = np.array([np.ptp(np.flatnonzero(row)) + 1 if row.any() else 0 for row in every])
        longest = 8 if arguments.unit == "user" else arguments.window
        expected = every[(runs >= 1) & (runs <= arguments.w_bound // 2) & (hulls <= longest)]
        assert len(listed) == len(expected)
        assert {tuple(row) for row in listed} == {tuple(row) for row in expected}


@pytest.mark.parametrize("audit", AUDITS, ids=str)
class TestAudit:
    def test_the_worst_change_found_is_certified(self, audit):
        mechanism, (_, change) = calibrated(audit), worst_change(audit)
        norm_of_change = float(np.linalg.norm(change, ord=1 if mechanism.noise.pure else 2))
        assert norm_of_change <= mechanism.sensitivity * (1 + 1e-12)
        assert norm_of_change >= 0.9 * mechanism.sensitivity

    def test_the_measured_epsilon_stays_below_the_claim_and_near_it(self, audit):
        measured = measured_epsilon(calibrated(audit), audit, seed=20260103)
        assert audit.reaches * audit.guarantee.epsilon <= measured <= audit.guarantee.epsilon

    def test_half_the_noise_is_caught(self, audit):
        halved = with_noise_times(calibrated(audit), 0.5)
        assert measured_epsilon(halved, audit, seed=20260104, releases=20_000) > 1.2 * audit.guarantee.epsilon


@pytest.mark.parametrize(("name", "guarantee"), [("gaussian", LOOSE), ("laplace", PURE)])
def test_sensitivity_one_on_a_window_of_a_week_is_caught(name, guarantee):
    audit = Audit(name, ClassArguments("user-day", 7, 2, 20), guarantee, 0.0)
    daily = calibrate_linear([linear_design(name, protected_class("user-day", 1, 2, 20))], guarantee, [1.0])[0]
    assert measured_epsilon(daily, audit, seed=20260105, releases=20_000) > 1.5 * guarantee.epsilon


def test_a_variance_passed_as_standard_deviation_is_caught():
    # Under-noised where σ < 1, that is for a large ε: the trap of the public smooth-binary-mechanism.
    audit = Audit("gaussian", ClassArguments("user-day", 1, 2, 4), Guarantee(6.0, 0.05), 0.0)
    right = calibrated(audit)
    deviation = right.noise.scale / GRID
    wrong = replace(right, noise=GaussianNoise(math.ceil(GRID * deviation**2)))
    assert deviation < 1
    assert measured_epsilon(right, audit, seed=20260106) <= 6.0
    assert measured_epsilon(wrong, audit, seed=20260106) > 6.0


def test_a_standard_deviation_passed_as_variance_is_caught():
    # The same mistake the other way round: √σ in place of σ, under-noised where σ > 1.
    audit = Audit("gaussian", ClassArguments("user", 7, 2, 20), LOOSE, 0.0)
    right = calibrated(audit)
    deviation = right.noise.scale / GRID
    wrong = replace(right, noise=GaussianNoise(math.ceil(GRID * math.sqrt(deviation))))
    assert deviation > 1
    assert measured_epsilon(wrong, audit, seed=20260107, releases=20_000) > 1.5


def test_laplace_of_w_bound_over_epsilon_for_every_release_is_caught():
    # The trap this project exists to remove: really T/W_BOUND = 4 times the ε it is sold as, for 8 ticks and w = 2.
    audit = Audit("laplace", ClassArguments("user", 30, 2, 8), PURE, 0.0)
    honest = calibrated(audit)
    sold = with_noise_times(honest, 2 / honest.sensitivity)
    assert sold.noise.scale == pytest.approx(GRID * 2 / 1.0, rel=1e-6)
    measured = measured_epsilon(sold, audit, seed=20260108)
    assert 2.0 < measured <= 4.0


def bounds_on_known_gaussians(attack: Callable[[np.ndarray, np.ndarray, float], float], mu: float) -> list[float]:
    generator = np.random.default_rng(20260109)
    return [attack(generator.standard_normal(4000), mu + generator.standard_normal(4000), 0.05) for _ in range(200)]


def test_the_audit_keeps_its_confidence():
    """200 audits of a Gaussian whose ε is known: at most 5 % may exceed it, 10 at worst, 20 with probability 0.1 %."""
    mu = 0.8
    true_epsilon = epsilon_for(mu, 0.05)
    bounds = bounds_on_known_gaussians(epsilon_lower_bound, mu)
    assert sum(bound > true_epsilon for bound in bounds) <= binom.ppf(0.999, 200, 0.05)
    assert np.median(bounds) > 0.6 * true_epsilon


def test_an_audit_without_split_samples_and_confidence_bounds_would_be_caught():
    def greedy(without: np.ndarray, with_change: np.ndarray, delta: float) -> float:
        thresholds = np.quantile(with_change, np.linspace(0.5, 0.999, 30))
        hits = np.array([np.mean(with_change >= threshold) for threshold in thresholds])
        alarms = np.array([np.mean(without >= threshold) for threshold in thresholds])
        return float(np.log(np.maximum(hits - delta, 1e-9) / np.maximum(alarms, 1e-9)).max())

    mu = 0.8
    true_epsilon = epsilon_for(mu, 0.05)
    exceeding = sum(bound > true_epsilon for bound in bounds_on_known_gaussians(greedy, mu))
    assert exceeding > binom.ppf(0.999, 200, 0.05)
