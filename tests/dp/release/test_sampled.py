"""Releases of a sample: what is promised, what the rows say, and how often their intervals cover.

Power of the coverage test: coverages are summed exactly over the binomial, so there is nothing random in them; the two
twins (one part of the interval left out) fall below 0.92 and 0.80.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy.stats import binom, laplace, norm

from dp.accounting.composition import Guarantee
from dp.intervals.sample import fewest_users, interval, most_users
from dp.ledger import LedgerError, open_ledger
from dp.presence import DuckDBEngine
from dp.release import Request, Sample, plan_release
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.keys import keys_of
from dp.sketches.sampling import sampled
from tests.oracles.logs import day, log_of
from tests.oracles.presence import Operation
from tests.oracles.stated import publish, simulate_rows

pytestmark = pytest.mark.slow

FIRST = date(2026, 1, 1)
TICKS = 24
RATE = 0.2
USUAL = Request(
    {"mau": 30}, "user-day", 2, Guarantee(1.0, 1e-6), "damped-square-root", FIRST, TICKS, {"mau": 1.0},
    sketch="fixed-rate", sample=Sample(RATE, "a1b2c3d4"),
)  # fmt: skip
COUNTS = {"mau": np.arange(4000, 4000 + TICKS)}
KEY = bytes(range(16))


# --- Plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sketch": "hll", "sample": None}, "no mechanism here makes private"),
        ({"sketch": "nothing", "sample": None}, "choose one of exact"),
        ({"sketch": "exact"}, "a rate goes with the sketch 'fixed-rate'"),
        ({"sample": None}, "a rate goes with the sketch 'fixed-rate'"),
        ({"sample": Sample(1.0, "x")}, "that is the sketch 'exact'"),
        ({"sample": Sample(0.0, "x")}, "rate is 0.0"),
        ({"sample": Sample(RATE, "x", ((5, "y5"),)), "unit": "user", "w_bound": 3}, "it must be even"),
        (
            {"sample": Sample(RATE, "x", ((5, "y5"), (15, "y15"))), "unit": "user", "w_bound": 4},
            "with unit 'user' one salt may change",
        ),
        ({"sample": Sample(RATE, "x", ((5, "y5"), (34, "y34")))}, "must be 30 days apart"),
        ({"sample": Sample(RATE, "x", ((5, "y5"),)), "unit": "user", "mechanism": "adaptive-flippancy"}, "one sample"),
    ],
)
def test_what_has_no_proof_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_release(replace(USUAL, **changes))


def test_a_salt_may_change_where_the_class_stays_the_same() -> None:
    for changes in ({}, {"w_bound": 3}, {"unit": "user", "w_bound": 4}, {"mechanism": "sparse-vector", "unit": "user"}):
        plan_release(replace(USUAL, sample=Sample(RATE, "x", ((5, "y5"),)), **changes))
    plan_release(replace(USUAL, sample=Sample(RATE, "x", ((5, "y5"), (35, "y35"))), horizon=None))
    often = Sample(RATE, "x", ((5, "y5"), (10, "y10"), (15, "y15")))
    plan_release(replace(USUAL, sample=often, mechanism="sparse-vector", unit="user"))


def cut(series: tuple[int, ...], rotations: tuple[int, ...], kept: tuple[bool, ...]) -> tuple[int, ...]:
    """What is seen of a user who is in the sample under some of the salts."""
    return tuple(one * kept[sum(rotation <= tick for rotation in rotations)] for tick, one in enumerate(series))


def runs_and_hull(series: tuple[int, ...]) -> tuple[int, int]:
    ones = [tick for tick, one in enumerate(series) if one]
    return sum(now > before for before, now in itertools.pairwise((0, *series))), ones[-1] - ones[0] + 1 if ones else 0


def test_rotations_that_are_let_through_keep_every_change_in_its_class() -> None:
    """By enumeration: one rotation anywhere, or several a hull apart, add no run. The twin: two close together do."""
    ticks, hull = 9, 4
    everything = list(itertools.product((0, 1), repeat=ticks))
    for rotation in range(1, ticks):
        for series, kept in itertools.product(everything, itertools.product((False, True), repeat=2)):
            runs, wide = runs_and_hull(series)
            seen = runs_and_hull(cut(series, (rotation,), kept))
            assert seen[0] <= runs
            assert seen[1] <= wide
    short = [series for series in everything if runs_and_hull(series)[1] <= hull]

    def added(rotations: tuple[int, ...]) -> int:
        keeps = list(itertools.product((False, True), repeat=len(rotations) + 1))
        return max(
            runs_and_hull(cut(series, rotations, kept))[0] - runs_and_hull(series)[0]
            for series, kept in itertools.product(short, keeps)
        )

    assert added((1, 1 + hull)) == added((2, 2 + hull)) == 0
    assert added((2, 4)) == 1, "closer than a hull"


def test_streams_of_before_sketches_were_an_option_keep_their_specification() -> None:
    exact = replace(USUAL, sketch="exact", sample=None).specification()
    assert not {"sketch", "sample"} & set(exact)
    assert USUAL.specification()["sample"] == {"rate": RATE, "salt": "a1b2c3d4"}
    assert json.loads(json.dumps(USUAL.specification())) == USUAL.specification()


# --- Rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["laplace", "damped-square-root", "optimal"])
def test_a_sample_is_released_with_the_noise_of_a_count_and_divided_by_the_rate(mechanism: str) -> None:
    request = replace(USUAL, mechanism=mechanism)
    exact = simulate_rows(plan_release(replace(request, sketch="exact", sample=None)), COUNTS, 7)
    rows = simulate_rows(plan_release(request), COUNTS, 7)
    for row, counted in zip(rows, exact, strict=True):
        assert row["estimate"] == pytest.approx(counted["estimate"] / RATE)
        assert row["std"] == pytest.approx(counted["std"] / RATE)
        assert row["noise_low"] == pytest.approx(counted["ci_low"] / RATE)
        assert row["noise_high"] == pytest.approx(counted["ci_high"] / RATE)
        assert row["sketch_std"] == pytest.approx(np.sqrt(row["estimate"] * (1 - RATE) / RATE))
        assert row["ci_low"] < row["noise_low"] < row["estimate"] < row["noise_high"] < row["ci_high"]
        assert (row["sketch"], row["rate"]) == ("fixed-rate", RATE)
        assert (row["epsilon"], row["delta"]) == (counted["epsilon"], counted["delta"])


def test_bounds_that_depend_on_the_data_are_added_not_squared() -> None:
    rows = simulate_rows(plan_release(replace(USUAL, mechanism="sparse-vector")), COUNTS, 7)
    looked = [row for row in rows if row["ci_low"] is not None]
    assert looked
    for row in looked:
        assert row["ci_low"] == fewest_users(np.array(row["noise_low"] * RATE), RATE, 0.0125)
        assert row["ci_high"] == most_users(np.array(row["noise_high"] * RATE), RATE, 0.0125)
        assert row["ci_low"] <= row["noise_low"] < row["noise_high"] <= row["ci_high"]
    for row in rows:
        assert (row["ci_low"] is None) == (row["noise_low"] is None)


def test_a_real_release_is_kept_and_bound_to_its_salt(tmp_path: Path) -> None:
    now = datetime(2026, 6, 1)
    with open_ledger(tmp_path / "ledger") as ledger:
        ledger.create_budget("default", Guarantee(5.0, 1e-3), FIRST, None)

        def released(sample: Sample, ticks: int) -> list[str]:
            plan = plan_release(replace(USUAL, sample=sample))
            return publish(ledger, "s", "default", plan, {"mau": COUNTS["mau"][:ticks]}, now)

        first = released(Sample(RATE, "a1b2c3d4"), 10)
        rotated = Sample(RATE, "a1b2c3d4", ((12, "b2c3d4e5"),))
        later = released(rotated, 20)
        assert later[:10] == first
        with pytest.raises(LedgerError, match="no salt may come into force on a day that is published already"):
            released(Sample(RATE, "a1b2c3d4", ((12, "ffffffff"),)), TICKS)
        with pytest.raises(LedgerError):
            released(Sample(RATE, "ffffffff"), TICKS)
        again = released(rotated, TICKS)
        assert again[:20] == later
        assert len(again) == TICKS
        rows = [json.loads(row) for row in again]
    assert all(row["secure"] and row["sketch"] == "fixed-rate" for row in rows)
    # Ten standard deviations of noise and sample together: a test of the scale, not of the noise.
    assert all(
        abs(row["estimate"] - count / RATE) < 10 * row["std"] for row, count in zip(rows, COUNTS["mau"], strict=True)
    )


# --- Privacy: neighbours go to neighbours ----------------------------------------------------------------------------


def test_a_protected_change_moves_the_sample_by_itself_or_not_at_all() -> None:
    """Every subset of a small world's activity as the log, every single user-day as the change."""
    users, days, design = ("ann", "bob", "eve"), (2, 4), FixedRate(0.5)
    chosen = {user for user, kept in zip(users, design.chosen(keys_of(list(users), KEY)), strict=True) if kept}
    assert 0 < len(chosen) < len(users)
    cells = [Operation(user, when, "+", when) for user in users for when in days]
    with duckdb.connect() as connection:

        def counts(rows: list[Operation]) -> tuple[np.ndarray, np.ndarray]:
            # An activity of somebody else, long before, so that no log is empty.
            log = log_of([*rows, Operation("zoe", 0, "+", 0)], connection)
            with sampled(log, design, KEY) as part:
                found = [
                    DuckDBEngine(one.connection).daily_flips([3], day(1), day(8))[3].counts.values
                    for one in (log, part)
                ]
            return found[0], found[1]

        known = {rows: counts(list(rows)) for size in range(7) for rows in itertools.combinations(cells, size)}
    changes = 0
    for rows, (everybody, sample) in known.items():
        for row in rows:
            without = tuple(other for other in rows if other != row)
            difference, seen = everybody - known[without][0], sample - known[without][1]
            expected = difference if row.user in chosen else np.zeros_like(difference)
            assert seen.tolist() == expected.tolist()
            changes += bool(np.any(seen))
    assert changes > 50


# --- Intervals -------------------------------------------------------------------------------------------------------

LEVEL = 0.95
COUNTS_TRIED = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800, 1200, 2000, 5000, 20_000)
RATES = (0.01, 0.05, 0.2, 0.3, 0.5, 0.9)
NOISES = {"normal": norm, "laplace": laplace}


def coverage(
    count: int,
    rate: float,
    noise: str,
    deviation: float,
    *,
    level: float = LEVEL,
    noise_part: float = 1,
    sample_part: float = 1,
) -> float:
    """Exactly: the sum over sample sizes of P(the noise leaves the count inside the interval)."""
    law = NOISES[noise]
    scale = deviation / law.std()
    half, deviation = noise_part * scale * law.ppf(0.5 + level / 2), noise_part * deviation
    spread = 12 * np.sqrt(count * rate * (1 - rate)) + 12
    sizes = np.arange(max(0, int(count * rate - spread)), min(count, int(count * rate + spread)) + 1)
    # Both ends rise with the noisy size, so the count is covered between two sizes: found by bisection.
    low, high = np.full(2, count * rate - 1e3 * (scale + spread)), np.full(2, count * rate + 1e3 * (scale + spread))
    for _ in range(80):
        middle = (low + high) / 2
        below, above = interval(middle, middle - half, middle + half, np.full(2, deviation), rate, level)
        if not sample_part:
            below, above = (middle - half) / rate, (middle + half) / rate
        too_low = np.array([above[0] < count, below[1] <= count])
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    inside = law.cdf((high[1] - sizes) / scale) - law.cdf((low[0] - sizes) / scale)
    return float(binom.pmf(sizes, count, rate) @ inside)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("deviation", [0.3, 1.0, 3.0, 10.0])
def test_intervals_cover_noise_and_sample_together(noise: str, deviation: float) -> None:
    found = {(count, rate): coverage(count, rate, noise, deviation) for count in COUNTS_TRIED for rate in RATES}
    assert min(found.values()) > 0.948
    assert max(share for (count, rate), share in found.items() if count * rate * (1 - rate) > 100) < 0.956


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("level", [0.5, 0.68, 0.8, 0.9, 0.99])
def test_intervals_of_other_levels_cover_as_well(noise: str, level: float) -> None:
    found = [
        coverage(count, rate, noise, deviation, level=level)
        for count in COUNTS_TRIED
        for rate in RATES
        for deviation in (1.0, 10.0)
    ]
    assert min(found) > level - 0.001


def test_without_noise_the_steps_of_the_binomial_cost_two_per_cent() -> None:
    found = [coverage(count, rate, "normal", 1e-6) for count in COUNTS_TRIED for rate in RATES]
    assert 0.925 < min(found) < 0.949


def test_an_interval_with_one_of_its_parts_missing_is_rejected() -> None:
    assert coverage(2000, 0.2, "normal", 10.0, noise_part=0) < 0.92
    assert coverage(2000, 0.2, "normal", 10.0, sample_part=0) < 0.8


@pytest.mark.parametrize("rate", [0.02, 0.3])
@pytest.mark.parametrize("size", [0, 1, 4, 37])
def test_exact_bounds_on_the_count_are_those_of_the_binomial(rate: float, size: int) -> None:
    miss = 0.0125
    low, high = (int(ends(np.array([float(size)]), rate, miss)[0]) for ends in (fewest_users, most_users))
    assert binom.cdf(size, high, rate) >= miss > binom.cdf(size, high + 1, rate)
    if size:
        assert binom.sf(size - 1, low, rate) >= miss > binom.sf(size - 1, low - 1, rate)
    else:
        assert low == 0


def test_ends_without_information_stay_without() -> None:
    assert fewest_users(np.array([-np.inf, -3.0]), 0.1, 0.01).tolist() == [-np.inf, 0.0]
    assert most_users(np.array([np.inf]), 0.1, 0.01).tolist() == [np.inf]


def test_ends_meet_where_the_noise_left_nothing_to_believe() -> None:
    low, high = interval(np.array([-1e4]), np.array([-1e4 - 5]), np.array([-1e4 + 5]), np.array([2.5]), 0.1, LEVEL)
    assert low <= high
