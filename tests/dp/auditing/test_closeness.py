"""Verdicts on samples: against sums over all pairs and all samples, and their stated errors measured over many seeds.

Power. `resolution` states the error of a verdict for every pair of laws outside its gap. It is measured on the tables
below, 1,000 verdicts a row, and a row fails if more are wrong than the stated error allows but for a chance of 1e-6;
an eighth of the draws gives more wrong verdicts than that, so that the sizes are no waste. A majority of five votes is
wrong about a release that holds once in 460,000 readings; that of half its noise is wrong with the same probability,
for its distance lies beyond the tolerance (`test_broken_draws_lie_beyond_the_tolerance_of_a_quick_attack`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom, laplace, norm

from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import delta_for
from dp.auditing.attacks import noise as attack
from dp.auditing.attacks.outcome import Setting
from dp.auditing.closeness import (
    Ballot,
    Frequencies,
    approximate_dp,
    are_close,
    closeness,
    discretise,
    dp_resolution,
    exact_frequencies,
    frequencies,
    majority,
    majority_error,
    resolution,
)
from dp.mechanisms import EMPTY_STATE, MECHANISMS
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.mechanisms.sparse_vector import SparseVector
from dp.noise import GaussianNoise, LaplaceNoise, Noise
from dp.release.drawing import secure_source, seeded_source

pytestmark = pytest.mark.slow

REPEATS = 1_000
ERROR = attack.ERROR
UNLIKELY = 1e-6
FEW, MANY = 15_000, 60_000
"""Draws of a vote of a quick and of a full attack."""

Cdf = Callable[..., np.ndarray]


def most_wrong(error: float) -> int:
    """Of REPEATS verdicts, but for a chance of UNLIKELY."""
    return int(binom.isf(UNLIKELY, REPEATS, error))


def setting(folder: Path, quick: bool = True, seed: int = 20260801) -> Setting:
    return Setting(np.random.default_rng(seed), folder, datetime(2026, 6, 1), quick)


def shares_of(cdf: Cdf, width: float = attack.WIDTH, reach: int = attack.REACH) -> np.ndarray:
    """What a continuous law gives each cell."""
    ends = (np.arange(-reach, reach) + 0.5) * width
    return np.diff(np.concatenate([[0.0], cdf(ends), [1.0]]))


def drawn(shares: np.ndarray, size: int, generator: np.random.Generator) -> list[Frequencies]:
    """REPEATS samples of a law over cells."""
    return [Frequencies(counts / size, size) for counts in generator.multinomial(size, shares, REPEATS)]


# --- The estimate ----------------------------------------------------------------------------------------------------


def over_all_pairs(first: np.ndarray, second: np.ndarray) -> float:
    """The estimate by its definition: shares of pairs of different draws that are in the same cell."""
    n, m = len(first), len(second)
    within = sum(
        (np.equal.outer(draws, draws).sum() - len(draws)) / (len(draws) * (len(draws) - 1)) for draws in (first, second)
    )
    return float(within - 2 * np.equal.outer(first, second).sum() / (n * m))


@pytest.mark.parametrize("sizes", [(2, 2), (5, 3), (40, 7), (30, 300)])
def test_the_estimate_counts_pairs(sizes: tuple[int, int]) -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        first, second = (generator.integers(0, 6, size) for size in sizes)
        estimate = closeness(frequencies(first, 6), frequencies(second, 6)).squared
        assert estimate == pytest.approx(over_all_pairs(first, second), abs=1e-12)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([0.5, 0.3, 0.2], [0.5, 0.3, 0.2]),
        ([0.5, 0.3, 0.2], [0.1, 0.1, 0.8]),
        ([0.4, 0.35, 0.25], [0.3, 0.3, 0.4]),
        ([0.4, 0.35, 0.25], [1.0, 0.0, 0.0]),
        ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0]),
    ],
)
@pytest.mark.parametrize("sizes", [(3, 3), (2, 4)])
def test_mean_and_deviation_over_all_samples(p: list[float], q: list[float], sizes: tuple[int, int]) -> None:
    """Every sample that there is, with its probability: no bias for any sizes, and a bound on the deviation."""
    mean, square, plug_in = 0.0, 0.0, 0.0
    for first in product(range(3), repeat=sizes[0]):
        for second in product(range(3), repeat=sizes[1]):
            chance = math.prod(p[cell] for cell in first) * math.prod(q[cell] for cell in second)
            one, other = frequencies(np.array(first), 3), frequencies(np.array(second), 3)
            estimate = closeness(one, other).squared
            mean += chance * estimate
            square += chance * estimate**2
            plug_in += chance * float(np.sum((one.shares - other.shares) ** 2))
    distance = float(np.sum((np.array(p) - q) ** 2))
    assert mean == pytest.approx(distance, abs=1e-12)
    if max(p) < 1:
        # A twin that forgets what it must take off.
        assert plug_in > distance + 0.05
    at_the_laws = closeness(Frequencies(np.array(p), sizes[0]), Frequencies(np.array(q), sizes[1]))
    assert math.sqrt(max(square - mean**2, 0)) <= at_the_laws.standard_error + 1e-7


@pytest.mark.parametrize("second_size", [200, 3_000, math.inf])
def test_the_standard_error_of_samples(second_size: float) -> None:
    """It lies close above the deviation over many samples; a law that is known adds nothing to it."""
    generator = np.random.default_rng(2)
    p, q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.3, 0.3, 0.2, 0.2])
    first = drawn(p, 200, generator)
    second = [exact_frequencies(q)] * REPEATS if math.isinf(second_size) else drawn(q, int(second_size), generator)
    found = [closeness(one, other) for one, other in zip(first, second, strict=True)]
    deviation = np.std([one.squared for one in found])
    told = np.mean([one.standard_error for one in found])
    assert deviation < told < 1.5 * deviation


def test_a_law_is_a_sample_without_end() -> None:
    first, q = frequencies(np.array([0, 0, 1, 2, 2, 2]), 3), np.array([0.2, 0.3, 0.5])
    endless = closeness(first, Frequencies(q, 1e15))
    assert closeness(first, exact_frequencies(q)) == pytest.approx(endless, abs=1e-12)
    assert closeness(exact_frequencies(q), exact_frequencies(q)) == (0.0, 0.0)


def test_cells() -> None:
    samples = np.array([-9.0, -1.6, -1.5, -0.1, 0.49, 0.5, 1.4, 2.6])
    assert discretise(samples, 1.0, 2).tolist() == [0, 0, 1, 2, 2, 3, 3, 4]
    assert discretise(np.array([[7, -7], [2, 3]]), 5, 1).tolist() == [[2, 0], [1, 2]]
    assert frequencies(np.array([[2, 0], [1, 2]]), 4).shares.tolist() == [0.25, 0.25, 0.5, 0.0]
    assert frequencies(np.array([2, 0]), 3).size == 2


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="granularity is 0 and reach 1"):
        discretise(np.zeros(3), 0, 1)
    with pytest.raises(ValueError, match="reach -1"):
        discretise(np.zeros(3), 1, -1)
    with pytest.raises(ValueError, match="cell 5 was drawn; there are 5"):
        frequencies(np.array([0, 5]), 5)
    with pytest.raises(ValueError, match="size is 1; at least 2"):
        frequencies(np.array([0]), 5)
    with pytest.raises(ValueError, match=r"shares sum to 1\.1"):
        exact_frequencies(np.array([0.5, 0.6]))
    for error in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="error is"):
            resolution(error, 10, 10)
    with pytest.raises(ValueError, match="1 draws were made"):
        dp_resolution(0.01, 5, 1.0, 10, 1)


# --- The verdict -----------------------------------------------------------------------------------------------------

SHAPES: dict[str, Cdf] = {"Gaussian": norm.cdf, "Laplace": lambda x: laplace.cdf(x * math.sqrt(2))}
"""Both with deviation 1."""


def scaled(cdf: Cdf, by: float) -> Cdf:
    return lambda x: cdf(x / by)


def moved(cdf: Cdf, by: float) -> Cdf:
    return lambda x: cdf(x - by)


def cut(cdf: Cdf, at: float) -> Cdf:
    return lambda x: np.clip((cdf(x) - cdf(-at)) / (cdf(at) - cdf(-at)), 0, 1)


class Case(NamedTuple):
    """What happens to one of two laws, and whether the verdict must still be that they are close."""

    change: Callable[[Cdf, float], Cdf]
    by: float
    accepted: bool

    def __str__(self) -> str:
        return f"{'accepts' if self.accepted else 'rejects'}-{self.change.__name__}-{self.by}"


TABLE = {
    FEW: (
        Case(scaled, 1, True), Case(scaled, 0.95, True), Case(scaled, 1.05, True), Case(moved, 0.1, True),
        Case(cut, 2.5, True), Case(scaled, 0.8, False), Case(scaled, 1.25, False), Case(scaled, 0.5, False),
        Case(moved, 0.25, False), Case(cut, 1.5, False),
    ),
    MANY: (
        Case(scaled, 1, True), Case(scaled, 0.96, True), Case(scaled, 1.04, True), Case(moved, 0.05, True),
        Case(cut, 3, True), Case(scaled, 0.9, False), Case(scaled, 1.11, False), Case(moved, 0.12, False),
        Case(cut, 2, False),
    ),
}  # fmt: skip
"""By the draws of one law; scales, shifts and cuts are in deviations."""
ROWS = [pytest.param(size, case, id=f"{size}-{case}") for size, cases in TABLE.items() for case in cases]


def wrong_verdicts(p: np.ndarray, q: np.ndarray, size: int, second_size: float, right: bool) -> int:
    """Of REPEATS, with a tolerance for ERROR; the laws lie outside the gap on the side of the right one."""
    tolerance = resolution(ERROR, size, second_size)
    distance = float(np.linalg.norm(p - q))
    assert distance <= tolerance / 2 if right else distance >= tolerance
    generator = np.random.default_rng(3)
    second = [exact_frequencies(p)] * REPEATS if math.isinf(second_size) else drawn(p, int(second_size), generator)
    verdicts = (are_close(one, other, tolerance) for one, other in zip(drawn(q, size, generator), second, strict=True))
    return sum(verdict != right for verdict in verdicts)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("second", [attack.SEEDED, math.inf])
@pytest.mark.parametrize(("size", "case"), ROWS)
def test_shifts_and_scales(shape: str, size: int, case: Case, second: float) -> None:
    p, q = shares_of(SHAPES[shape]), shares_of(case.change(SHAPES[shape], case.by))
    assert wrong_verdicts(p, q, size, second * size, case.accepted) <= most_wrong(ERROR)


@pytest.mark.parametrize("size", TABLE)
def test_shapes(size: int) -> None:
    p, q = map(shares_of, SHAPES.values())
    assert wrong_verdicts(p, q, size, size * attack.SEEDED, right=False) <= most_wrong(ERROR)


@pytest.mark.parametrize("sizes", [(2_000, 2_000), (1_000, 10_000), (500, math.inf)])
@pytest.mark.parametrize("beyond", [False, True])
def test_at_the_ends_of_the_gap_the_error_is_as_stated(sizes: tuple[float, float], beyond: bool) -> None:
    """The worst laws found, two even cells one of which grows; with an eighth of the draws the error is larger."""
    generator = np.random.default_rng(4)
    tolerance = resolution(ERROR, *sizes)
    step = tolerance / (1 if beyond else 2) / math.sqrt(2)
    p, q = np.array([0.5, 0.5]), np.array([0.5 + step, 0.5 - step])

    def wrong(shrunk: int) -> int:
        first = drawn(p, int(sizes[0]) // shrunk, generator)
        second = (
            [exact_frequencies(q)] * REPEATS if math.isinf(sizes[1]) else drawn(q, int(sizes[1]) // shrunk, generator)
        )
        accepted = sum(are_close(one, other, tolerance) for one, other in zip(first, second, strict=True))
        return accepted if beyond else REPEATS - accepted

    assert wrong(1) <= most_wrong(ERROR)
    assert wrong(8) > most_wrong(ERROR)


def test_a_resolution_is_finer_with_more_draws_and_coarser_with_less_error() -> None:
    assert resolution(ERROR, FEW, math.inf) == pytest.approx(math.sqrt(90 / FEW), rel=0.02)
    assert resolution(ERROR, 4 * FEW, 4 * FEW) == pytest.approx(resolution(ERROR, FEW, FEW) / 2, rel=0.01)
    assert resolution(ERROR, FEW, 300) == resolution(ERROR, 300, FEW) > resolution(ERROR, FEW, FEW)
    assert resolution(ERROR / 10, FEW, FEW) > resolution(ERROR, FEW, FEW)
    assert dp_resolution(ERROR, 7, 1.0, 400, 900) == dp_resolution(ERROR, 7, 1.0, 900, 400)
    assert dp_resolution(ERROR, 7, 1.0, 400, 400) < dp_resolution(ERROR, 14, 1.0, 400, 400)


# --- Votes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("votes", [1, 3, 5, 9])
@pytest.mark.parametrize("error", [0.006, 0.1, 0.4])
def test_the_error_of_a_majority_by_all_ballots(votes: int, error: float) -> None:
    wrong = sum(
        math.prod(error if bad else 1 - error for bad in ballot)
        for ballot in product((False, True), repeat=votes)
        if not majority(not bad for bad in ballot).accepted
    )
    assert majority_error(error, votes) == pytest.approx(wrong, rel=1e-9)


def test_ballots() -> None:
    assert majority([True, False, True]) == Ballot(1, 3)
    assert majority([True, False, True]).accepted
    assert not majority([True, False, False]).accepted
    assert not majority([True, False]).accepted
    for votes in (0, 4):
        with pytest.raises(ValueError, match=f"votes is {votes}; an odd number"):
            majority_error(0.1, votes)


# --- Approximate privacy ---------------------------------------------------------------------------------------------

NEIGHBOURS: dict[str, Cdf] = {"Gaussian": norm.cdf, "Laplace": laplace.cdf}
CLAIMS = {"Gaussian": Guarantee(1.0, delta_for(1.0, 1.0)), "Laplace": Guarantee(1.0, 0.0)}


def divergence(p: np.ndarray, q: np.ndarray, epsilon: float) -> float:
    """The smallest δ by all sets of cells, both ways."""
    events = np.array(list(product((0.0, 1.0), repeat=len(p))))
    return float(max((events @ (p - math.exp(epsilon) * q)).max(), (events @ (q - math.exp(epsilon) * p)).max()))


@pytest.mark.parametrize("shape", NEIGHBOURS)
@pytest.mark.parametrize("noise", [0.4, 0.5, 1.0, 1.2, 3.0])
@pytest.mark.parametrize("second_size", [7_500, 30_000])
def test_neighbours(shape: str, noise: float, second_size: int) -> None:
    """Neighbours one claimed scale apart, with so much of the claimed noise."""
    claim, size = CLAIMS[shape], 7_500
    p = shares_of(scaled(NEIGHBOURS[shape], noise))
    q = shares_of(moved(scaled(NEIGHBOURS[shape], noise), 1.0))
    tolerance = dp_resolution(ERROR, len(p), claim.epsilon, size, second_size)
    kept = noise >= 1
    delta = divergence(p, q, claim.epsilon)
    assert delta <= claim.delta + 1e-12 if kept else delta >= claim.delta + tolerance
    generator = np.random.default_rng(5)
    pairs = zip(drawn(p, size, generator), drawn(q, second_size, generator), strict=True)
    accepted = sum(approximate_dp(one, other, claim, tolerance) for one, other in pairs)
    assert (REPEATS - accepted if kept else accepted) <= most_wrong(ERROR)


def test_few_draws_say_nothing_of_privacy() -> None:
    """A tolerance for many draws is too small for few: a kept claim is then denied."""
    claim, p, q = CLAIMS["Laplace"], shares_of(laplace.cdf), shares_of(moved(laplace.cdf, 1.0))
    generator = np.random.default_rng(6)
    tolerance = dp_resolution(ERROR, len(p), 1.0, 30_000, 30_000)
    pairs = list(zip(drawn(p, 300, generator), drawn(q, 300, generator), strict=True))
    denied = sum(not approximate_dp(one, other, claim, tolerance) for one, other in pairs)
    assert denied > most_wrong(ERROR)
    coarse = dp_resolution(ERROR, len(p), 1.0, 300, 300)
    assert all(approximate_dp(one, other, claim, coarse) for one, other in pairs)


# --- Noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "scale", "close_to"), [(LaplaceNoise, 6, 1e-12), (GaussianNoise, 60, 1e-5)])
@pytest.mark.parametrize("granularity", [1, 4, 7.5])
def test_shares_of_cells_by_enumeration(
    kind: type[GaussianNoise] | type[LaplaceNoise], scale: int, close_to: float, granularity: float
) -> None:
    support = np.arange(-60 * scale, 60 * scale + 1)
    exponent = support**2 / (2 * scale**2) if kind is GaussianNoise else np.abs(support) / scale
    weights = np.exp(-exponent)
    expected = np.bincount(discretise(support, granularity, 3), weights / weights.sum(), minlength=7)
    assert attack.cell_shares(kind(scale), granularity, 3) == pytest.approx(expected, abs=close_to)


@pytest.mark.parametrize("kind", [GaussianNoise, LaplaceNoise])
def test_both_paths_draw_the_same_numbers(kind: type[GaussianNoise] | type[LaplaceNoise]) -> None:
    """Number by number, where the scale is small; the path of another scale is told apart."""
    generator, draws, reach = np.random.default_rng(7), 2_000, 12
    tolerance = resolution(ERROR, draws, 20 * draws)

    def vote(scale: int) -> bool:
        secure = discretise(kind(3).secure(draws), 1, reach)
        seeded = discretise(kind(scale).seeded(generator, (20 * draws,)), 1, reach)
        return are_close(frequencies(secure, 2 * reach + 1), frequencies(seeded, 2 * reach + 1), tolerance)

    assert majority(vote(3) for _ in range(attack.VOTES)).accepted
    assert not majority(vote(9) for _ in range(attack.VOTES)).accepted


def test_broken_draws_lie_beyond_the_tolerance_of_a_quick_attack() -> None:
    """So that what is stated for all laws holds for these twins."""
    tolerance = resolution(ERROR, FEW, attack.SEEDED * FEW)
    p = shares_of(norm.cdf)
    for twin in (
        scaled(norm.cdf, 0.8), moved(norm.cdf, 0.25), scaled(norm.cdf, 4), SHAPES["Laplace"],
        cut(norm.cdf, 1.5), scaled(norm.cdf, 0.5),
    ):  # fmt: skip
        assert np.linalg.norm(p - shares_of(twin)) > tolerance
    # Of pairs: every draw twice, or that of another call again.
    single = shares_of(norm.cdf, attack.PAIR_WIDTH, 1)
    assert np.linalg.norm(np.outer(single, single) - np.diag(single)) > resolution(ERROR, FEW // 2, math.inf)
    # Of releases: half the noise.
    draws = 160 * attack.TICKS
    assert np.linalg.norm(p - shares_of(scaled(norm.cdf, 0.5))) > resolution(ERROR, draws, attack.SEEDED * draws)
    # Of a full attack: scales and shifts a few per cent off.
    tolerance = resolution(ERROR, MANY, attack.SEEDED * MANY)
    for twin in (scaled(norm.cdf, 0.9), scaled(norm.cdf, 1.1), moved(norm.cdf, 0.12), cut(norm.cdf, 2.0)):
        assert np.linalg.norm(p - shares_of(twin)) > tolerance


def test_a_run_raises_a_false_alarm_once_in_ten_thousand(tmp_path: Path) -> None:
    here, noise = setting(tmp_path), GaussianNoise(attack.SCALE)

    def draw(size: int) -> np.ndarray:
        return noise.seeded(here.generator, (size,)).astype(np.int64)

    readings = attack.draw_readings(here, noise, draw) + attack.seeded_draw_readings(here, noise)
    assert all(reading.held for reading in readings)
    assert (2 * len(readings) + len(attack.TARGET_MECHANISMS)) * majority_error(ERROR, attack.VOTES) < 1e-4


# --- Releases --------------------------------------------------------------------------------------------------------


def test_what_depends_on_the_data_decides_both_ways() -> None:
    generator = np.random.default_rng(9)
    mechanism = attack.small_mechanism("sparse-vector")
    assert isinstance(mechanism, SparseVector)
    simulated = mechanism.simulate(attack.counts_for(mechanism), 2_000, generator)
    again = np.mean(simulated[:, 1:] != simulated[:, :-1])
    assert 0.1 < again < 0.9
    adaptive = attack.small_mechanism("adaptive-flippancy")
    assert isinstance(adaptive, AdaptiveFlippancy)
    _, path = adaptive.rehearse(attack.counts_for(adaptive), 2_000, generator)
    assert 0.1 < np.mean(path[:, -1] == 0) < 0.9


@pytest.mark.parametrize("name", MECHANISMS)
def test_released_numbers_are_those_of_the_simulation(name: str, tmp_path: Path) -> None:
    """With OpenDP's draws; with half the noise they are not.

    Of a mechanism that shows one number a tick, the draws of a quick attack are enough to reject half the noise
    (`test_broken_draws_lie_beyond_the_tolerance_of_a_quick_attack`).
    """
    mechanism = attack.small_mechanism(name)
    _, cells = attack.observation_cells(mechanism, attack.counts_for(mechanism), np.random.default_rng(0))
    here = setting(tmp_path, quick=cells == attack.CELLS)

    def half(noise: Noise, size: int) -> np.ndarray:
        return noise.seeded(here.generator, (size,)).astype(np.int64) // 2

    assert all(reading.held for reading in attack.release_readings(here, name, secure_source))
    assert not any(reading.held for reading in attack.release_readings(here, name, half))


def test_a_source_of_seeded_draws_gives_what_is_simulated() -> None:
    """The numbers that are looked at have deviation 1 and do not depend on each other."""
    generator = np.random.default_rng(10)
    mechanism = attack.small_mechanism("honaker-tree")
    counts = attack.counts_for(mechanism)
    cells, number = attack.observation_cells(mechanism, counts, generator)

    source = seeded_source(generator)
    runs = np.array([mechanism.run(EMPTY_STATE, counts, source, 0.95)[1].estimates for _ in range(1_000)])
    for estimates in (runs, mechanism.simulate(counts, 20_000, generator)):
        seen = cells(estimates)
        assert are_close(
            frequencies(seen, number), exact_frequencies(shares_of(norm.cdf)), resolution(UNLIKELY, seen.size, math.inf)
        )
        by_tick = seen.reshape(attack.TICKS, -1)
        correlations = np.corrcoef(by_tick) - np.eye(attack.TICKS)
        assert np.abs(correlations).max() < 5 / math.sqrt(len(estimates))
