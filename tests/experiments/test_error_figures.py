"""What the error depends on: findings on W_BOUND, horizon and deletions that the tables bear, and figures that hold."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from dp.log import read_log
from dp.log.generate import generate, write_log
from dp.presence import DuckDBEngine
from experiments.engine.population import START, Population
from experiments.engine.style import UNIT_TITLES
from experiments.kinds.figures import figure_of
from experiments.kinds.loading import load
from experiments.kinds.mechanisms.config import MechanismConfig
from experiments.kinds.mechanisms.error_figures import DELETION_LOGS, POPULATION_SIZES, SHADES, W_BOUND_LOGS
from experiments.real_log import FIRST, LOGS
from tests.laws import each
from tests.places import ROOT

NAMES = ("w_bound_error", "horizon_error", "deletion_error")
SMALLEST = 7.0
"""In points: text that can be read at column width."""


def config_of(name: str) -> MechanismConfig:
    config = load(ROOT / f"experiments/configs/{name}.toml")
    assert isinstance(config, MechanismConfig)
    return config


def table_of(name: str) -> pd.DataFrame:
    return pd.read_parquet(ROOT / f"results/{name}.parquet")


def populations(config: MechanismConfig) -> list[Population]:
    return [*config.populations.values(), *([config.population] if config.population else [])]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for panel in figure.axes for text in panel.texts]


@each("name", NAMES)
def test_tables_keep_noise_and_bias_apart(name: str) -> None:
    table = table_of(name)
    whole = table["analytic_noise_rmse"] ** 2 + table["bias_rms"] ** 2
    assert table["analytic_rmse"].to_numpy() ** 2 == pytest.approx(whole.to_numpy(), rel=1e-6)
    assert (table["rmse_p05"] < table["rmse"]).all()
    assert (table["rmse"] < table["rmse_p95"]).all()
    # The mean of a few hundred trials lies by its formula; that of root mean squares is a little below.
    assert (table["rmse"] / table["analytic_rmse"]).between(0.9, 1.05).all()
    # A frozen user is counted as absent.
    assert (table["bias_mean"] <= 0).all()


# What figures say beside the table.


def test_titles_say_what_the_configs_say() -> None:
    for name in NAMES:
        assert {population.users for population in populations(config_of(name))} == {POPULATION_SIZES[name]}
    w_bound, deletion = config_of("w_bound_error"), config_of("deletion_error")
    assert set(W_BOUND_LOGS) == {*w_bound.logs, *w_bound.populations} == set(w_bound.grid.log)
    assert w_bound.populations["lasting"].rates == {"delete_rate": 0, "erase_rate": 0, "late_rate": 0}
    back = w_bound.populations["taken_back"].rates
    assert W_BOUND_LOGS["taken_back"][1] == "30 % of days taken back, half erased and back"
    assert back == {"delete_rate": 0.3, "erase_rate": 0.5, "late_rate": 0, "rejoin_rate": 1}
    assert set(DELETION_LOGS) == set(deletion.populations) == set(deletion.grid.log)
    assert deletion.populations["lasting"].rates["erase_rate"] == 0
    for log, rejoin in (("leaving", 0), ("rejoining", 1)):
        assert DELETION_LOGS[log].startswith("80 % are erased")
        assert deletion.populations[log].rates["erase_rate"] == 0.8
        assert deletion.populations[log].rates["rejoin_rate"] == rejoin
    assert set(UNIT_TITLES) == set(config_of("horizon_error").grid.unit)
    assert len(SHADES) >= max(len(w_bound.grid.epsilon), len(deletion.grid.w_bound))


def test_real_logs_are_read_as_elsewhere() -> None:
    logs = config_of("w_bound_error").logs
    for name, other in (("invoices", "online_retail_invoices"), ("cancellations", "online_retail_turnstile")):
        assert Path(logs[name].file).name == LOGS[other].file
        assert logs[name].columns == LOGS[other].columns
        assert (logs[name].first, logs[name].days) == (FIRST, 365)


@pytest.mark.slow
def test_a_bias_of_zero_is_said_and_not_drawn() -> None:
    table = table_of("w_bound_error")
    figure = figure_of("w_bound_error", ROOT / "results/w_bound_error.parquet")
    for panel, (_, part) in zip(figure.axes, table.groupby("log", sort=False), strict=True):
        zero = part.loc[part["bias_rms"] == 0, "w_bound"]
        assert f"bias is 0\nfrom {zero.min()} on" in [text.get_text() for text in panel.texts]
        assert (part.loc[part["w_bound"] > zero.min(), "bias_rms"] == 0).all()
        for line in panel.get_lines():
            assert not (line.get_ydata() == 0).any()  # type: ignore[union-attr]
    assert "no bias: nobody is frozen" in texts(figure_of("horizon_error", ROOT / "results/horizon_error.parquet"))
    assert not table_of("horizon_error").query("unit == 'user-day'")["bias_rms"].any()


@pytest.mark.slow
def test_no_day_has_a_positive_bias(tmp_path: Path) -> None:
    config = config_of("deletion_error")
    population = config.populations["rejoining"]
    rates = {**population.rates, "delete_rate": max(config.grid.delete_rate)}
    log = generate(population.users, population.days, seed=population.seed, start=START, **rates)
    write_log(log, tmp_path / "log.parquet")
    last = START + timedelta(days=population.days - 1)
    with read_log(tmp_path / "log.parquet") as read:
        engine = DuckDBEngine(read.connection)
        truth, *bounded = (
            engine.daily_flips([30], START, last, w)[30].counts.values for w in (None, *config.grid.w_bound)
        )
    for counts in bounded:
        assert (counts <= truth).all()
        assert (counts >= 0).all()
