"""Bands hold all days at once, and cost nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dp
from dp.counts import Counts
from dp.release import with_band
from tests.conftest import Run
from tests.workbench.cli.common import rows_of

DAYS = 30
TRIALS = 400


@pytest.mark.slow
@pytest.mark.parametrize(
    "mechanism", ["laplace", "gaussian", "binary-tree-laplace", "damped-square-root", "honaker-tree"]
)
def test_a_band_holds_a_month_as_often_as_it_says(mechanism: str) -> None:
    """At the level 0.8, so that misses are seen; a pointwise interval of that level holds hardly any month."""
    plan = dp.plan("wau", epsilon=1, first="2024-01-01", last="2024-01-30", mechanism=mechanism, ci_level=0.8)
    truth = np.arange(DAYS) + 100
    counts = {"wau": Counts(truth, 7, plan.request.first, None)}
    held = pointwise = 0
    for seed in range(TRIALS):
        rows = with_band(plan.calibrated, plan.simulate(counts, seed=seed, rows=True))
        held += all(row["band_low"] <= count <= row["band_high"] for row, count in zip(rows, truth, strict=True))
        pointwise += all(row["ci_low"] <= count <= row["ci_high"] for row, count in zip(rows, truth, strict=True))
    # Four deviations below the level; the twin without the correction is far below.
    assert held / TRIALS > 0.8 - 4 * np.sqrt(0.16 / TRIALS)
    assert pointwise / TRIALS < 0.5


def test_a_band_is_added_to_what_is_published_and_asked_for_later(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,day\na,2024-01-01\n")
    command = ("release", log, "--metric", "dau", "--metric", "mau", "--epsilon", 1, "--from", "2024-01-01",
               "--to", "2024-01-10", "--horizon", 20, "--format", "json")  # fmt: skip
    plain, banded = rows_of(run(*command)), rows_of(run(*command, "--band"))
    for row, before in zip(banded, plain, strict=True):
        assert {key: row[key] for key in before} == before
        assert row["band_low"] < row["ci_low"] < row["ci_high"] < row["band_high"]
    assert "band low" in run(*command[:-2], "--band").stdout


@pytest.mark.parametrize(("options", "message"), [
    (("--sketch", "fixed-rate", "--rate", "0.5"), "a sample errs too"),
    (("--mechanism", "sparse-vector"), "depends on the data"), (("--horizon", "unlimited"), "--band needs a --horizon"),
])  # fmt: skip
def test_what_has_no_band_is_refused_before_anything_is_charged(
    run: Run, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "log.csv").write_text("user,day\na,2024-01-01\n")
    period = ("--from", "2024-01-01", "--to", "2024-01-10", "--epsilon", 1)
    assert message in run("release", "log.csv", *period, "--band", *options, code=2).stderr
    assert not Path("dpdau.ledger").exists()
