"""The finding of every config is the sentence that its table gives."""

from __future__ import annotations

from contextlib import suppress

import pandas as pd
import pytest

from experiments.kinds.loading import read
from tests.places import ROOT

CONFIGS = {path.stem: read(path) for path in sorted((ROOT / "experiments").glob("*/*.toml"))}
WORDED = {"analytic_rmse", "bias_rms", "formula", "pointwise", "rms", "ratio"}
"""Columns that sentences are about; those without one of them are about `epsilon`, and that of attacks about `held`."""
names = pytest.mark.parametrize("name", CONFIGS)


def table_of(name: str) -> pd.DataFrame:
    return pd.read_parquet(ROOT / f"results/{name}.parquet")


def sentence(name: str, table: pd.DataFrame) -> str:
    return CONFIGS[name].kind.findings()[CONFIGS[name].figure](table)


@names
def test_a_finding_is_what_its_table_says(name: str) -> None:
    assert sentence(name, table_of(name)) == CONFIGS[name].finding


@names
def test_another_table_gives_another_sentence_or_none(name: str) -> None:
    """What a sentence is about, off by a tenth of its largest value."""
    table = table_of(name)
    columns = {"held"} if name == "attacks" else WORDED & set(table.columns) or {"epsilon"}
    other = table.assign(**{column: table[column] + 0.1 * table[column].max() for column in sorted(columns)})
    with suppress(ValueError):
        assert sentence(name, other) != CONFIGS[name].finding


def test_every_figure_has_a_finding() -> None:
    for config in CONFIGS.values():
        assert set(config.kind.figures()) == set(config.kind.findings())


def test_points_of_the_measures_are_points_of_the_first_experiment() -> None:
    """The same rows, from the same shards."""
    measures, whole = table_of("epsilon_measures"), table_of("epsilon_vs_error")
    shared = whole.merge(measures[["unit", "w_bound", "mechanism", "epsilon"]])
    pd.testing.assert_frame_equal(shared, measures)
