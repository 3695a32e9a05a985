"""The error of every estimate against the formula that its design states, in both directions, and whether it is biased.

A test draws so many seeds, and each seed so many users with uniform keys. Were the errors normal, the sum of their
squares over the stated variance would be χ² with as many degrees of freedom as seeds; it is refused outside the
quantiles 10⁻⁴ and 1 − 10⁻⁴, and so is a mean error of more than four stated standard errors of the mean. With 300 seeds
the ratio of the root mean square error to the stated one has a standard deviation of 4 % and must lie between 0.85 and
1.15; a sketch that errs by 1.4 times as much, or by 0.7 times, is refused with a probability above 0.999, and so is one
whose mean is off by half a standard error (`test_the_verdict_has_power` computes all that). With 100, 20 and 4 seeds,
in the slow tests, the ratio must lie between 0.75 and 1.27, between 0.47 and 1.62, and between 0.08 and 2.42: 20 seeds
notice twice the error with a probability of 0.87, and 4 seeds only what is grossly wrong.

The formulas are exact for KMV, Theta (its differences included) and the fixed rate, and good to about 3 % for HLL and
CPC with 256 buckets or more (3000 seeds of a merged `Hll(8)` give 1.01 to 1.02 times the stated error, ± 0.013, at 4,
8, 16 and 40 users a register).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom, chi2, norm

from dp.sketches import Keys, Sketch, SketchDesign
from dp.sketches.bitmap import Bitmap
from dp.sketches.cpc import Cpc
from dp.sketches.exact import Exact
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.hll import Hll
from dp.sketches.kmv import Kmv, KmvSketch
from dp.sketches.theta import Theta

pytestmark = pytest.mark.slow

LEVEL = 1e-4
MEAN_ERRORS = 4.0
SEEDS = 300
SMALL = (FixedRate(0.25), Kmv(256), Theta(8), Hll(8), Cpc(8))
USUAL = (FixedRate(0.05), Kmv(), Theta(), Hll(), Cpc())
MERGED_OTHERWISE = (Hll(8), Cpc(8))
"""Sketches whose estimate, once they are merged, is another with an error of its own."""


def users(count: int, seed: int) -> Keys:
    """So many users with uniform keys."""
    return np.random.default_rng([count, seed]).integers(-(2**63), 2**63, count)


@cache
def errors(design: SketchDesign, count: int, seeds: int) -> np.ndarray:
    """Estimate minus truth, as the sketch grew and once merged with itself; shape (2, seeds)."""
    return np.array([both_estimates(design.empty().add(users(count, seed))) for seed in range(seeds)]).T - count


def both_estimates(sketch: Sketch) -> tuple[float, float]:
    return sketch.estimate(), sketch.merge(sketch).estimate()


def errors_of(sketch: Callable[[Keys], Sketch], count: int, seeds: int = SEEDS) -> np.ndarray:
    """Estimate minus truth for a sketch made in any way; shape (seeds,)."""
    return np.array([sketch(users(count, seed)).estimate() for seed in range(seeds)]) - count


def verdict(found: np.ndarray, stated: float) -> set[str]:
    """What is wrong with these errors if that is their stated root mean square."""
    if stated == 0.0:
        return {"too large"} if np.abs(found).max() > 1e-3 else set()
    squares = chi2.cdf(np.sum((found / stated) ** 2), len(found))
    wrong = {"too large"} if squares > 1 - LEVEL else {"too small"} if squares < LEVEL else set()
    return wrong | ({"biased"} if abs(found.mean()) > MEAN_ERRORS * stated / np.sqrt(len(found)) else set())


def test_the_verdict_has_power():
    """The figures of this module's docstring, from χ² with 300 seeds and normal errors."""
    low, high = chi2.ppf([LEVEL, 1 - LEVEL], SEEDS)
    assert np.sqrt(np.array([low, high]) / SEEDS) == pytest.approx([0.85, 1.154], abs=0.005)
    for seeds, band in ((100, [0.75, 1.27]), (20, [0.47, 1.62]), (4, [0.08, 2.42])):
        assert np.sqrt(chi2.ppf([LEVEL, 1 - LEVEL], seeds) / seeds) == pytest.approx(band, abs=0.01)
    assert chi2.sf(high / 1.4**2, SEEDS) > 0.999
    assert chi2.cdf(low / 0.7**2, SEEDS) > 0.999
    assert norm.sf(MEAN_ERRORS, loc=0.5 * np.sqrt(SEEDS)) > 0.999
    assert chi2.sf(chi2.ppf(1 - LEVEL, 20) / 2**2, 20) == pytest.approx(0.873, abs=0.001)


@pytest.mark.parametrize("design", [Exact(), Bitmap()], ids=repr)
@pytest.mark.parametrize("count", [0, 1, 1000, 100_000])
def test_sets_do_not_err(design, count):
    keys = np.random.default_rng(1).choice(2**32, count, replace=False)
    assert design.empty().add(keys).estimate() == count
    assert design.standard_error(count) == 0


@pytest.mark.parametrize("design", SMALL, ids=repr)
@pytest.mark.parametrize("count", [0, 1, 100, 256, 257, 1000, 4000])
def test_sketches_err_as_stated(design, count):
    assert verdict(errors(design, count, SEEDS)[0], design.standard_error(count)) == set()


@pytest.mark.parametrize("design", MERGED_OTHERWISE, ids=repr)
@pytest.mark.parametrize("count", [0, 1, 100, 256, 257, 1000, 4000])
def test_merged_sketches_err_as_stated(design, count):
    assert verdict(errors(design, count, SEEDS)[1], design.standard_error(count, merged=True)) == set()


@pytest.mark.parametrize("design", MERGED_OTHERWISE, ids=repr)
@pytest.mark.parametrize("count", [100, 1000])
def test_a_merger_of_overlapping_parts_errs_as_stated(design, count):
    def merged(keys: Keys) -> Sketch:
        return design.empty().add(keys[: 2 * count // 3]).merge(design.empty().add(keys[count // 3 :]))

    assert verdict(errors_of(merged, count), design.standard_error(count, merged=True)) == set()


def test_a_list_of_coupons_errs_as_stated():
    """In a sketch of 2^16 registers 6000 users are a list, in which one pair collides in every eleventh such list.

    So few collisions vary by more than normal errors: the ratio to the stated error has a standard deviation of 10 %,
    and must lie between 0.6 and 1.5.
    """
    design, count = Hll(16), 6000
    assert count <= design.coupons
    found = errors_of(design.empty().add, count)
    assert design.standard_error(count) == pytest.approx(0.299, abs=0.001)
    assert 0.6 < np.sqrt(np.mean(found**2)) / design.standard_error(count) < 1.5
    assert np.abs(errors_of(Hll(12).empty().add, 300)).max() < 2


def test_large_counts_err_in_proportion():
    """The constants that the papers give for many users."""
    for count in (1e6, 1e7, 1e9):
        assert Hll(12).standard_error(count) * 64 / count == pytest.approx(0.8326, rel=0.01)
        assert Hll(12).standard_error(count, merged=True) * 64 / count == pytest.approx(1.0389, rel=0.01)
        assert Cpc(12).standard_error(count) * 64 / count == pytest.approx(0.5887, rel=0.01)
        assert Cpc(12).standard_error(count, merged=True) * 64 / count == pytest.approx(0.6931, rel=0.01)
        assert Kmv(4096).standard_error(count) * 64 / count == pytest.approx(1, rel=0.01)
        assert Theta(12).standard_error(count) * 64 / count == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("left", [40, 500, 1900, 2000])
def test_what_is_left_after_a_subtraction_errs_as_stated(left):
    """Relative to those left the error grows without limit: at 40 of 2000 it is 45 %, at all of them 6 %."""
    design, before = Theta(8), 2000
    found = errors_of(lambda keys: design.empty().add(keys).remove(keys[left:]), before) + before - left
    assert verdict(found, design.standard_error_of_difference(before, left)) == set()
    # Held to the error of a sketch that only those left had made, it errs too much.
    if left <= 500:
        assert "too large" in verdict(found, design.standard_error(left) or 1.0)


@pytest.mark.parametrize("design", SMALL, ids=repr)
@pytest.mark.parametrize("count", [300, 1000])
class TestBounds:
    """1000 seeds, and refused if a coverage of 93 % explains the hits with a probability below 10⁻⁴.

    That is below 898 hits: a coverage of 87 % is refused with a probability above 0.99.
    """

    @staticmethod
    def hits(design: SketchDesign, count: int, deviations: int) -> int:
        ends = [design.empty().add(users(count, seed)).bounds(deviations) for seed in range(1000)]
        return sum(low <= count <= high for low, high in ends)

    def test_two_standard_deviations_cover_the_truth(self, design, count):
        assert binom.cdf(897, 1000, 0.93) < LEVEL < binom.cdf(898, 1000, 0.93)
        assert binom.cdf(897, 1000, 0.87) > 0.99
        assert binom.cdf(self.hits(design, count, 2), 1000, 0.93) > LEVEL

    def test_one_would_be_refused(self, design, count):
        assert binom.cdf(self.hits(design, count, 1), 1000, 0.93) < LEVEL


@pytest.mark.parametrize(
    ("design", "factor"), [(Kmv(256), 1.0), (Theta(8), 1.0), (Hll(8), 1.386), (Cpc(8), 0.693)], ids=repr
)
def test_one_user_moves_the_estimate_by_many(design, factor):
    """Why noise of the size of one user hides nobody: who changes the sketch at all moves it by about factor · n/k.

    The mean of over 100 jumps, exponential at most, has a standard deviation of 10 %; it must be within 40 %.
    """
    count, jumps = 4000, []
    for seed in range(20):
        sketch = design.empty().add(users(count, seed))
        for key in users(200, seed):
            jumps.append(sketch.add(np.array([key])).estimate() - sketch.estimate())
    moved = np.array(jumps)[np.array(jumps) != 0]
    assert len(moved) > 100
    assert moved.mean() == pytest.approx(factor * count / 256, rel=0.4)
    assert moved.max() > 10


class TestBrokenTwins:
    """What the tests above must refuse."""

    @pytest.mark.parametrize("design", [FixedRate(0.25), Kmv(256)], ids=repr)
    def test_numbers_in_place_of_hashes(self, design):
        """Users 0, 1, 2, … are the smallest keys: all are in the sample, and the k smallest lie close together."""
        found = errors_of(lambda keys: design.empty().add(np.arange(len(keys))), 1000)
        assert verdict(found, design.standard_error(1000)) >= {"too large", "biased"}

    @pytest.mark.parametrize("design", SMALL, ids=repr)
    def test_a_hash_of_too_few_bits(self, design):
        """There are 4096 different keys, so that 4000 users are about 2550 different ones."""
        found = errors_of(lambda keys: design.empty().add((keys >> 52) << 52), 4000)
        assert verdict(found, design.standard_error(4000)) >= {"too large", "biased"}

    @pytest.mark.parametrize("design", SMALL, ids=repr)
    def test_a_twentieth_of_the_users_dropped(self, design):
        found = errors_of(lambda keys: design.empty().add(keys[len(keys) // 20 :]), 4000)
        assert "biased" in verdict(found, design.standard_error(4000))

    @pytest.mark.parametrize("design", MERGED_OTHERWISE, ids=repr)
    def test_a_merger_that_drops_a_quarter(self, design):
        def lossy(keys: Keys) -> Sketch:
            return design.empty().add(keys[:2000]).merge(design.empty().add(keys[3000:]))

        assert verdict(errors_of(lossy, 4000), design.standard_error(4000, merged=True)) >= {"too large", "biased"}

    def test_a_minimum_too_small(self):
        """The ten largest of the k smallest keys lost: 4 % too many users, where the error is 6 %."""

        def short(keys: Keys) -> Sketch:
            smallest = Kmv(256).empty().add(keys).smallest[:-10]
            return KmvSketch(Kmv(256), np.append(np.zeros(10, dtype=np.uint64), smallest))

        assert "biased" in verdict(errors_of(short, 4000), Kmv(256).standard_error(4000))

    @pytest.mark.parametrize(
        ("half", "whole"),
        [
            (FixedRate(0.125), FixedRate(0.25)),
            (Kmv(128), Kmv(256)),
            (Theta(7), Theta(8)),
            (Hll(7), Hll(8)),
            (Cpc(7), Cpc(8)),
        ],
        ids=repr,
    )
    def test_half_the_memory(self, half, whole):
        """It errs 1.4 times as much as stated; and what has twice as much is refused for erring too little."""
        assert "too large" in verdict(errors(half, 4000, SEEDS)[0], whole.standard_error(4000))
        assert "too small" in verdict(errors(whole, 4000, SEEDS)[0], half.standard_error(4000))

    @pytest.mark.parametrize("design", MERGED_OTHERWISE, ids=repr)
    def test_merged_sketches_held_to_the_error_of_others(self, design):
        found = errors(design, 4000, SEEDS)
        assert "too large" in verdict(found[1], design.standard_error(4000))
        assert "too small" in verdict(found[0], design.standard_error(4000, merged=True))


@pytest.mark.parametrize("design", USUAL, ids=repr)
@pytest.mark.parametrize(
    ("count", "seeds"), [(3000, 300), (30_000, 300), (100_000, 100), (1_000_000, 20), (10_000_000, 4)]
)
def test_sketches_of_the_usual_size_err_as_stated(design, count, seeds):
    alone, merged = errors(design, count, seeds)
    assert verdict(alone, design.standard_error(count)) == set()
    if isinstance(design, Hll | Cpc):
        assert verdict(merged, design.standard_error(count, merged=True)) == set()
