"""Grids over a part of the budget, over accountants, over samples of users and over several populations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp.accounting.composition import Guarantee
from experiments.engine.config import ConfigError
from experiments.kinds.mechanisms.row import evaluate
from tests.experiments.test_grids import BARE, PEOPLE, REST, config_of, identities, tasks_of

pytestmark = pytest.mark.slow


def row_of(text: str, folder: Path) -> dict[str, Any]:
    (task,) = tasks_of(config_of(folder, text), folder)
    return evaluate(task)


@pytest.mark.parametrize("mechanism", ["square-root", "laplace", "sparse-vector", "adaptive-flippancy"])
def test_a_share_of_the_budget_is_what_a_joint_release_gives(mechanism: str, tmp_path: Path) -> None:
    """μ² for Gaussian noise and ε for Laplace noise are what is divided; a quarter costs 2 or 4 times the noise."""
    text = BARE + REST.replace("square-root", mechanism) + PEOPLE
    whole, quarter = row_of(text, tmp_path), row_of(text + "[grid]\nshare = [0.25]\n", tmp_path)
    if mechanism in ("square-root", "laplace"):
        factor = {"square-root": 2, "laplace": 4}[mechanism]
        assert quarter["analytic_noise_rmse"] == pytest.approx(factor * whole["analytic_noise_rmse"], rel=1e-6)
    assert quarter["noise_rmse"] > 1.3 * whole["noise_rmse"]
    assert quarter["delta"] == whole["delta"]


def test_an_accountant_that_adds_up_needs_more_noise(tmp_path: Path) -> None:
    """Independent noise under one's own exact accounting, and by the word of others; δ buys Laplace noise something."""
    noise = {}
    for mechanism in ("gaussian", "laplace", "square-root"):
        text = BARE + REST.replace('"user"', '"user-day"').replace("square-root", mechanism) + PEOPLE
        noise[mechanism, None] = row_of(text, tmp_path)["analytic_noise_rmse"]
        # Of Gaussian noise the losses on a grid take seconds; `test_losses_on_a_grid_are_close_to_exact` has them.
        names = ["gdp", "rdp", "zcdp", "advanced", "naive", *(["pld"] if mechanism == "laplace" else [])]
        for task in tasks_of(config_of(tmp_path, f"{text}[grid]\naccountant = {names}\n"), tmp_path):
            row = evaluate(task)
            noise[mechanism, row["accountant"]] = row["analytic_noise_rmse"]
            assert row["delta"] == 1e-6
    for mechanism in ("gaussian", "square-root"):
        assert noise[mechanism, "gdp"] == pytest.approx(noise[mechanism, None], rel=1e-4)
        assert noise[mechanism, "zcdp"] > 1.01 * noise[mechanism, None]
    assert noise["gaussian", "naive"] > 2 * noise["gaussian", None]
    assert noise["square-root", "naive"] == pytest.approx(noise["square-root", None], rel=1e-4)
    assert noise["laplace", "naive"] == pytest.approx(noise["laplace", None], rel=1e-4)
    assert noise["laplace", "pld"] < noise["laplace", None]


@pytest.mark.parametrize("mechanism", ["gaussian", "square-root"])
def test_losses_on_a_grid_are_close_to_exact(mechanism: str, tmp_path: Path) -> None:
    text = BARE + REST.replace('"user"', '"user-day"').replace("square-root", mechanism) + PEOPLE
    exact, row = (row_of(text + more, tmp_path) for more in ("", '[grid]\naccountant = ["pld"]\n'))
    assert row["analytic_noise_rmse"] == pytest.approx(exact["analytic_noise_rmse"], rel=1e-4)
    assert row["delta"] == 1e-6


def test_the_noise_that_an_accountant_allows_is_the_least(tmp_path: Path) -> None:
    """What comes out, accounted again, is at most ε and near it."""
    from dp.accounting.accountants import ACCOUNTANTS
    from dp.accounting.mechanism_events import gaussian
    from dp.mechanisms import GRID, linear_design
    from dp.units import protected_class
    from experiments.kinds.mechanisms.trials import by_accountant

    chosen = linear_design("gaussian", protected_class("user-day", 7, 2, 30))
    for name in ("naive", "advanced", "zcdp", "rdp"):
        scale = by_accountant(chosen, name, Guarantee(0.7, 1e-6)).noise.scale / GRID
        said = ACCOUNTANTS[name].account([gaussian(sigma=scale, count=7)], 1e-6).epsilon
        assert said is not None
        assert 0.7 * (1 - 1e-5) <= said <= 0.7


def test_a_sample_of_users_has_the_errors_of_a_real_sample(tmp_path: Path) -> None:
    """Bernoulli draws of users against keyed samples of the log itself: the same mean and spread on every day.

    40 salts tell a standard deviation to 11 %; the bound of 40 % is passed over all days at once with a probability
    above 0.999, and thinning the counts day by day instead of user by user would keep each day's spread but fail the
    correlation.
    """
    from datetime import timedelta

    from dp.log import read_log
    from dp.log.generate import generate, write_log
    from dp.presence import DuckDBEngine
    from dp.sketches.fixed_rate import FixedRate
    from dp.sketches.sampling import sampled
    from experiments.engine.population import START
    from experiments.kinds.mechanisms.trials import samples

    text = BARE + REST.replace("w_bound = 2", "w_bound = 4") + PEOPLE.replace("60", "400") + "[grid]\nrate = [0.25]\n"
    config = config_of(tmp_path, text)
    (task,) = tasks_of(config, tmp_path)
    assert task.steps is not None
    drawn = samples(task.steps, 30, 0.25, 400, np.random.default_rng(3))
    assert samples(task.steps, 30, 1.0, 2, np.random.default_rng(3)).tolist() == [list(task.bounded)] * 2
    assert config.population is not None
    path = tmp_path / "log.parquet"
    write_log(generate(400, 30, seed=7, start=START, **config.population.rates), path)
    real = []
    with read_log(path) as log:
        for number in range(40):
            with sampled(log, FixedRate(0.25), number.to_bytes(16)) as part:
                engine = DuckDBEngine(part.connection)
                real.append(engine.daily_flips([7], START, START + timedelta(days=29), 4)[7].counts.values)
    kept = np.array(real)
    assert kept.mean(axis=0) == pytest.approx(drawn.mean(axis=0), rel=0.15, abs=1.5)
    assert kept.std(axis=0)[5:] == pytest.approx(drawn.std(axis=0)[5:], rel=0.4)
    apart = np.diff(kept, axis=1).std(), np.diff(drawn, axis=1).std()
    assert apart[0] == pytest.approx(apart[1], rel=0.1)
    day_by_day = np.random.default_rng(4).binomial(np.array(task.bounded), 0.25, (400, 30))
    assert np.diff(day_by_day, axis=1).std() > 1.3 * apart[0]


def test_errors_of_a_sample_stand_apart_from_noise_and_bias(tmp_path: Path) -> None:
    text = BARE + REST.replace("trials = 20", "trials = 300") + PEOPLE.replace("60", "2000") + "[grid]\nrate = [0.1]\n"
    row = row_of(text, tmp_path)
    assert row["noise_rmse"] == pytest.approx(row["analytic_noise_rmse"], rel=0.05)
    squares = [row[name] ** 2 for name in ("noise_rmse", "sketch_rmse", "bias_rms")]
    assert row["analytic_rmse"] ** 2 == pytest.approx(sum(squares), rel=0.15)
    assert row["sketch_rmse"] > 0.2 * row["noise_rmse"]
    assert 0.93 <= row["coverage"] <= 0.97
    assert row["analytic_mae"] is None
    # All users, and no sample.
    assert "sketch_rmse" not in row_of(text.replace("[0.1]", "[1.0]"), tmp_path)


def test_only_a_sample_has_a_rate(tmp_path: Path) -> None:
    text = BARE + REST + PEOPLE + '[grid]\nsketch = ["exact", "bitmap", "fixed-rate"]\nrate = [0.1, 0.5]\n'
    config = config_of(tmp_path, text)
    words = [identity.partition("epsilon=1.0 ")[2] for identity in identities(config)]
    assert words == ["sketch=exact", "sketch=bitmap", "sketch=fixed-rate rate=0.1", "sketch=fixed-rate rate=0.5"]
    assert [config.rate_at(point) for point in config.points()] == [1.0, 1.0, 0.1, 0.5]
    exact, bitmap = tasks_of(config, tmp_path)[:2]
    assert (exact.truth, exact.steps) == (bitmap.truth, None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("share = [0.0]", "share is 0.0; it is a part of the budget, above 0 and at most 1"),
        ("share = [1.5]", "share is 1.5"),
        ('accountant = ["moments"]', "grid.accountant has moments; choose from naive, advanced, zcdp, rdp, gdp, pld"),
        ('sketch = ["hll"]', "grid.sketch has hll; choose from exact, bitmap, fixed-rate"),
        ('sketch = ["exact"]\nrate = [0.5]', "rate is for the sketch fixed-rate; sketch is exact"),
        ('sketch = ["fixed-rate"]', "sketch is fixed-rate, which needs a rate, for instance rate = 0.1"),
        ("rate = [0.0]", "rate is 0"),
        ('log = ["summer"]', "log is 'summer'; choose from synthetic"),
    ],
)
def test_values_out_of_range_are_named(more: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        config_of(tmp_path, f"{BARE}{REST}{PEOPLE}[grid]\n{more}\n")


@pytest.mark.parametrize("name", ["sparse-vector", "adaptive-flippancy"])
@pytest.mark.parametrize("more", ["rate = [0.5]", 'accountant = ["zcdp"]'])
def test_what_is_not_linear_is_not_tried_by_samples_or_accountants(name: str, more: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"mechanism has {name}, which cannot be tried with {more.split()[0]}"):
        config_of(tmp_path, f"{BARE}{REST.replace('square-root', name)}{PEOPLE}[grid]\n{more}\n")


def test_populations_stand_beside_each_other(tmp_path: Path) -> None:
    more = '[populations.calm]\nusers = 50\ndays = 30\nseed = 8\n[grid]\nlog = ["synthetic", "calm"]\n'
    config = config_of(tmp_path, BARE + REST + PEOPLE + more)
    people, calm = tasks_of(config, tmp_path)
    assert people.truth == tasks_of(config_of(tmp_path, BARE + REST + PEOPLE), tmp_path)[0].truth
    assert calm.truth != people.truth
    assert max(calm.truth) <= 50
    alone = BARE + REST + more.replace('"synthetic", ', "")
    assert tasks_of(config_of(tmp_path, alone), tmp_path)[0].truth == calm.truth
    with pytest.raises(ConfigError, match="log is 'synthetic'; choose from calm"):
        config_of(tmp_path, alone.replace('["calm"]', '["synthetic"]'))
    twice = '[logs.calm]\nfile = "x.csv"\nfirst = 2024-01-01\ndays = 30\n'
    with pytest.raises(ConfigError, match="calm stands in logs and in populations"):
        config_of(tmp_path, BARE + REST + PEOPLE + twice + more)


def test_adaptive_flippancy_is_tried_with_its_own_bounds(tmp_path: Path) -> None:
    """Its bias is that of the level it has reached; of the unit user-day there are no points."""
    text = BARE + REST.replace('unit = "user"\n', "").replace("square-root", "adaptive-flippancy") + PEOPLE
    config = config_of(
        tmp_path, text.replace("epsilon = 1.0", "epsilon = 50.0") + '[grid]\nunit = ["user-day", "user"]\n'
    )
    assert [point.unit for point in config.points()] == ["user"]
    (task,) = tasks_of(config, tmp_path)
    present, frozen = np.array(task.levels)[::2], np.array(task.levels)[1::2]
    assert tuple(present[-1]) == task.truth
    assert not frozen[-1].any()
    row = evaluate(task)
    assert row["bias_mean"] <= 0
    assert row["bias_rms"] < np.sqrt(((present[0] - present[-1]) ** 2).mean())
    assert 0.9 <= row["coverage"] <= 1
    with pytest.raises(ConfigError, match="which serves the unit user only"):
        config_of(tmp_path, text + '[grid]\nunit = ["user-day"]\n')
