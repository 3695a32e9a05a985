"""Experiments on intervals, accountants and published norms: rows that are right, and findings that the tables bear."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from dp.accounting import mechanism_events as parts
from dp.accounting.accountants import compose
from dp.auditing.twins import TWINS
from dp.intervals.binomial import clopper_pearson
from dp.log import read_log
from dp.mechanisms.linear import LinearMechanism
from dp.mechanisms.protocol import Released
from dp.presence import DuckDBEngine
from dp.release.sample import for_all_users, noise_level
from experiments.engine.config import ConfigError
from experiments.engine.grid import point_seed
from experiments.engine.labels import spread
from experiments.engine.population import START
from experiments.engine.tasks import PointTask
from experiments.kinds.accountants.config import AccountantConfig, AccountantPoint
from experiments.kinds.accountants.figure import ACCOUNTANT_COLOURS, ACCOUNTANT_MARKERS, ACCOUNTANT_TITLES
from experiments.kinds.accountants.trials import evaluate_accountant
from experiments.kinds.audit.figure import MISTAKES
from experiments.kinds.coverage import trials as coverage_tasks
from experiments.kinds.coverage.config import CoverageConfig, CoveragePoint
from experiments.kinds.coverage.trials import BAND_LEVEL, CoverageTask, evaluate_coverage, window_counts
from experiments.kinds.loading import load
from experiments.kinds.published.config import PublishedConfig, PublishedPoint
from experiments.kinds.published.trials import PublishedTask, evaluate_published, norms
from tests.laws import each
from tests.places import ROOT

NAMES = ("interval_coverage", "accountants_year", "published_norms")


def config_of(name: str) -> CoverageConfig | AccountantConfig | PublishedConfig:
    config = load(ROOT / f"experiments/configs/{name}.toml")
    assert isinstance(config, CoverageConfig | AccountantConfig | PublishedConfig)
    return config


def coverage(**changes: int) -> CoverageConfig:
    config = config_of("interval_coverage")
    assert isinstance(config, CoverageConfig)
    return msgspec.structs.replace(config, **changes)


def table_of(name: str) -> pd.DataFrame:
    return pd.read_parquet(ROOT / f"results/{name}.parquet")


@each(
    ("name", "before", "after", "named"),
    [
        ("interval_coverage", '"laplace",', '"laplas",', "grid.mechanism has laplas; choose from laplace"),
        ("interval_coverage", '"laplace",', '"adaptive-flippancy",', "grid.mechanism has adaptive-flippancy"),
        ("interval_coverage", "rate = [1.0, 0.1]", "rate = [1.5]", "rate is 1.5"),
        ("interval_coverage", "rate = [1.0, 0.1]", "rate = []", "grid.rate needs at least one value"),
        ("interval_coverage", "level = 0.95", "level = 95.0", "ci_level is 95"),
        ("interval_coverage", "arrivals = 25", "arrivals = 0", "arrivals is 0"),
        ("interval_coverage", "epsilon = [0.5,", "epsilon = [-0.5,", "epsilon is -0.5"),
        ("interval_coverage", "w_bound = [2, 4, 6, 8, 12]", "w_bound = []", "whole_user.w_bound needs at"),
        ("interval_coverage", "w_bound = [2, 4, 6, 8, 12]", "w_bound = [0]", "w_bound is 0"),
        ("interval_coverage", '= ["gaussian", "b', '= ["gauss", "b', "whole_user.mechanism has gauss"),
        ("interval_coverage", "days = 90, seed", "days = 60, seed", "whole_user.population.days is 60"),
        ("accountants_year", '"naive"', '"nave"', "grid.accountant has nave; choose from naive"),
        ("accountants_year", "gaussian = 20.0", "gauss = 20.0", "releases has gauss; choose from gaussian"),
        ("accountants_year", "gaussian = 20.0", "gaussian = -1.0", "sigma is -1"),
        ("accountants_year", "count = [1, 2,", "count = [0, 2,", "count is 0"),
        ("accountants_year", "delta = 1e-6", "delta = 1.5", "delta is 1.5"),
        ("published_norms", '"square-root", "toeplitz"', '"squareroot", "toeplitz"', "grid.subject has squareroot"),
        ("published_norms", "horizon = [1, 2,", "horizon = [0, 2,", "grid.horizon has 0"),
        ("published_norms", "horizon = 365\nmean_square = 36", "horizon = 3\nmean_square = 36", "no point of the"),
    ],
)  # fmt: skip
def test_a_config_with_a_mistake_is_refused_by_name(
    name: str, before: str, after: str, named: str, tmp_path: Path
) -> None:
    text = (ROOT / f"experiments/configs/{name}.toml").read_text(encoding="utf-8")
    assert before in text
    (tmp_path / "wrong.toml").write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigError, match=named):
        load(tmp_path / "wrong.toml")


# Intervals.


@each(("hits", "trials"), [(0, 7), (7, 7), (1, 1), (950, 1000), (3, 10)])
def test_bands_are_those_of_clopper_and_pearson(hits: int, trials: int) -> None:
    exact = binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert clopper_pearson(hits, trials, BAND_LEVEL) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_the_last_days_are_counted_each_with_its_window() -> None:
    arrivals = np.random.default_rng(1).integers(0, 9, (3, 12))
    slowly = [[int(row[end - 4 : end].sum()) for end in range(4, 13)] for row in arrivals]
    assert window_counts(arrivals, 4).tolist() == slowly


@each("mechanism", ["square-root", "binary-tree-laplace", "sparse-vector"])
def test_ends_of_a_sample_are_those_that_a_release_publishes(mechanism: str) -> None:
    config, rate = coverage(), 0.1
    made = coverage_tasks.calibrate_point(config, CoveragePoint(mechanism, 1.0, rate))
    counts = np.random.default_rng(2).integers(60, 90, (1, config.horizon))
    low, high = coverage_tasks.ends_of(made, counts, rate, np.random.default_rng(3))(0.95)
    again = np.random.default_rng(3)
    if made.data_dependent:
        again = np.random.default_rng(again.integers(2**63))
    run = made.trials(counts[0], 1, again, noise_level(0.95, made.data_dependent))
    half = np.broadcast_to(run.half_widths, run.errors.shape)[0]
    released = Released(run.estimates[0], run.estimates[0] - half, run.estimates[0] + half, run.deviations)
    expected = for_all_users(released, rate, 0.95, made.data_dependent)
    assert np.allclose(low[0], expected.low)
    assert np.allclose(high[0], expected.high)


def test_intervals_that_are_too_short_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the width holds the count 67 % of the time: of 300 independent days, fewer than a 95 % level allows."""
    config = coverage(trials=300)
    task = CoverageTask(config, CoveragePoint("square-root", 1.0, 1.0))
    right = evaluate_coverage(task)
    assert right["one_day_low"] < 0.95 < right["one_day_high"]
    assert right["band_high"] > 0.95
    whole = LinearMechanism.half_width
    monkeypatch.setattr(LinearMechanism, "half_width", lambda self, level, horizon: whole(self, level, horizon) / 2)
    halved = evaluate_coverage(task)
    assert halved["one_day_high"] < 0.8
    assert halved["band_high"] < 0.5


def test_intervals_without_the_error_of_the_sample_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    config = coverage(trials=300)
    task = CoverageTask(config, CoveragePoint("optimal", 4.0, 0.1))
    right = evaluate_coverage(task)
    assert right["one_day_high"] > 0.95
    monkeypatch.setattr(
        coverage_tasks, "interval", lambda estimates, low, high, deviations, rate, level: (low / rate, high / rate)
    )
    assert evaluate_coverage(task)["one_day_high"] < 0.7


def test_a_row_is_the_same_twice() -> None:
    task = CoverageTask(coverage(trials=5), CoveragePoint("sparse-vector", 4.0, 0.1))
    row = evaluate_coverage(task)
    assert row == evaluate_coverage(task)
    assert json.loads(json.dumps(row, default=float, allow_nan=False))["trials"] == 5


def test_intervals_hold_the_count_without_frozen_users_and_miss_the_true_one() -> None:
    """Both coverages from the same noise, drawn again: a trial and a day at a time."""
    config, point = coverage(trials=40), CoveragePoint("square-root", 4.0, 1.0, 4)
    generator = np.random.default_rng(5)
    truth = generator.integers(80, 120, config.horizon)
    task = CoverageTask(config, point, tuple(truth.tolist()), tuple((truth - 6).tolist()))
    row = evaluate_coverage(task)
    assert (row["unit"], row["w_bound"], row["bias_rms"]) == ("user", 4, pytest.approx(6.0))
    made = coverage_tasks.calibrate_point(config, point)
    again = np.random.default_rng(point_seed(config.seed, point))
    low, high = coverage_tasks.ends_of(made, np.tile(truth - 6, (40, 1)), 1.0, again)(config.level)
    for prefix, count in (("", truth - 6), ("true_", truth)):
        held = [[low[i, t] <= count[t] <= high[i, t] for t in range(config.horizon)] for i in range(40)]
        assert row[f"{prefix}pointwise"] == pytest.approx(np.mean(held))
    assert row["pointwise"] > 0.9
    assert row["true_pointwise"] < row["pointwise"] - 0.1
    assert row["true_one_day_low"] < row["true_one_day"] < row["true_one_day_high"]


@pytest.mark.slow
def test_counts_of_the_whole_user_come_from_one_log(tmp_path: Path) -> None:
    config = coverage()
    points = [point for point in config.points() if point.mechanism == "gaussian" and point.epsilon == 1.0]
    tasks = coverage_tasks.coverage_tasks(config, points, tmp_path)
    assert [task.point for task in tasks] == points
    whole = {task.point.w_bound: task for task in tasks if task.point.w_bound is not None}
    assert not any(task.truth or task.counted for task in tasks if task.point.w_bound is None)
    with read_log(tmp_path / "population.parquet") as log:
        engine = DuckDBEngine(log.connection)
        last = START + timedelta(days=config.horizon - 1)
        for w_bound, task in whole.items():
            for counts, bound in ((task.truth, None), (task.counted, w_bound)):
                assert list(counts) == engine.daily_flips([30], START, last, bound)[30].counts.values.tolist()


def test_more_points_leave_the_seeds_of_the_others_alone() -> None:
    config = coverage()
    bare = msgspec.structs.replace(config, whole_user=msgspec.UNSET)
    points = list(config.points())
    assert points[: len(list(bare.points()))] == list(bare.points())
    assert CoveragePoint("laplace", 1.0, 0.1).identity == "mechanism=laplace epsilon=1.0 rate=0.1"
    assert len({point_seed(config.seed, point) for point in points}) == len(points)


# Accountants.


@pytest.mark.parametrize("release", ["gaussian", "discrete-laplace"])
def test_rows_say_what_the_accountants_say(release: str) -> None:
    config = config_of("accountants_year")
    assert isinstance(config, AccountantConfig)
    part = (
        parts.gaussian(sigma=20.0, count=30) if release == "gaussian" else parts.discrete_laplace(epsilon=0.1, count=30)
    )
    for name, answer in compose([part], 1e-6).items():
        row = evaluate_accountant(PointTask(config, AccountantPoint(release, name, 30)))
        assert (row["epsilon"], row["exact"]) == (answer.epsilon, answer.exact)


def test_every_accountant_has_a_colour() -> None:
    config = config_of("accountants_year")
    assert isinstance(config, AccountantConfig)
    assert list(ACCOUNTANT_COLOURS) == list(ACCOUNTANT_MARKERS) == list(ACCOUNTANT_TITLES)
    assert len(set(ACCOUNTANT_MARKERS.values())) == len(ACCOUNTANT_MARKERS)
    assert set(ACCOUNTANT_COLOURS) == set(config.grid.accountant) == set(compose([parts.pure(epsilon=1.0)], 1e-6))


def test_labels_are_moved_apart_and_no_further() -> None:
    assert spread([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5, 0.9], 0.1) == pytest.approx([0.45, 0.55, 0.9])
    generator = np.random.default_rng(4)
    for _ in range(50):
        heights = np.sort(generator.random(6))
        moved = np.array(spread(heights.tolist(), 0.05))
        assert (np.diff(moved) >= 0.05 - 1e-12).all()
        assert moved.mean() == pytest.approx(heights.mean())


# Audits.


def test_every_broken_twin_has_a_few_words() -> None:
    assert list(MISTAKES) == list(TWINS)
    assert len(set(MISTAKES.values())) == len(TWINS)


# Published norms.


@each("horizon", [1, 2, 5, 32])
def test_the_square_root_is_that_of_the_paper(horizon: int) -> None:
    """Both factors of Fichtenberger, Henzinger and Upadhyay hold C(2n, n)/4ⁿ on diagonal n; by exact fractions."""
    first = [Fraction(math.comb(2 * n, n), 4**n) for n in range(horizon)]
    product = [sum(first[i] * first[n - i] for i in range(n + 1)) for n in range(horizon)]
    assert product == [1] * horizon
    energy = [sum(value**2 for value in first[: tick + 1]) for tick in range(horizon)]
    rms, largest = norms("square-root", horizon)
    assert rms == pytest.approx(math.sqrt(energy[-1] * sum(energy) / horizon), rel=1e-6)
    assert largest == pytest.approx(energy[-1], rel=1e-6)


def test_bounds_speak_of_the_norm_that_they_bound() -> None:
    for subject, rms, largest in (
        ("mathias-1993", None, 2.877996), ("matousek-nikolov-talwar-2020", None, 2.385988),
        ("henzinger-kalinin-upadhyay-2025-above", 2.625996, 2.723996),
        ("henzinger-kalinin-upadhyay-2025-below", 2.578996, 2.578996),
    ):  # fmt: skip
        row = evaluate_published(PublishedTask(PublishedPoint(subject, 365), None))
        assert row["rms"] == (None if rms is None else pytest.approx(rms, abs=1e-6))
        assert row["largest"] == pytest.approx(largest, abs=1e-6)
    assert norms("lower-bound", 8)[1] is None


# What is committed in results/.


def test_committed_accounts_of_a_year_are_the_known_ones() -> None:
    year = table_of("accountants_year").query("count == 365")
    exact = year[year["exact"]].set_index("release")["epsilon"]
    assert exact.to_dict() == pytest.approx({"gaussian": 4.63883, "discrete-laplace": 10.31386}, rel=1e-5)
    wide = year.pivot(index="release", columns="accountant", values="epsilon")
    assert wide.loc["gaussian", "zcdp"] == pytest.approx(4.958356, rel=1e-6)


def test_committed_norms_exceed_the_logarithm_by_what_is_known() -> None:
    year = table_of("published_norms").query("horizon == 365").set_index("subject")
    assert year.loc["dense", "rms"] - math.log(365) / math.pi == pytest.approx(0.756, abs=5e-4)
    assert year.loc["square-root", "largest"] - math.log(365) / math.pi == pytest.approx(1.07, abs=5e-3)


@pytest.mark.slow
def test_committed_rows_are_reproduced() -> None:
    config = coverage()
    table = table_of("interval_coverage").query("unit == 'user-day'").set_index(["mechanism", "epsilon", "rate"])
    for key in (("square-root", 1.0, 0.1), ("laplace", 4.0, 1.0), ("sparse-vector", 0.5, 1.0)):
        row = evaluate_coverage(CoverageTask(config, CoveragePoint(*key)))
        for column in ("width", "pointwise", "one_day", "band", "no_interval"):
            assert row[column] == pytest.approx(table.loc[key, column], rel=1e-6, abs=1e-9), (key, column)
