"""The commands `mechanisms` and `calibrate`."""

from __future__ import annotations

import json

import pytest

from dp.mechanisms import MECHANISMS
from tests.laws import each

SHORT = ["--unit", "user-day", "--w-bound", "2", "--horizon", "40"]


def test_every_mechanism_side_by_side(run) -> None:
    shown = run("mechanisms", "--metric", "wau", *SHORT, "--epsilon", "1", "--delta", "1e-6", "--format", "json")
    rows = {row["mechanism"]: row for row in json.loads(shown.output)}
    assert list(rows) == list(MECHANISMS)
    needed = {
        "mechanism", "sensitivity", "sigma", "rms_std", "max_std", "factor", "lower_bound_ratio", "memory", "proof",
    }  # fmt: skip
    assert all(needed <= row.keys() for row in rows.values())
    assert rows["gaussian"]["factor"] == pytest.approx(7**0.5, rel=1e-6)
    assert rows["optimal"]["lower_bound_ratio"] <= 1.02
    assert rows["gaussian"]["best"] == "optimal"
    assert rows["optimal"]["best_ratio"] == 1
    assert rows["gaussian"]["best_ratio"] == rows["gaussian"]["rms_std"] / rows["optimal"]["rms_std"]
    for row in rows.values():
        assert (row["reason"] is None) == all(value is not None for key, value in row.items() if key != "reason")


def test_any_window_and_no_horizon(run) -> None:
    shown = run("mechanisms", "--window", "14", "--horizon", "unlimited", "--mechanism", "optimal", "--format", "json")
    (row,) = json.loads(shown.output)
    assert 1.81 < row["factor"] < 2.4545
    assert row["lower_bound_ratio"] <= 1.001


def test_the_table_names_the_class_and_the_bound(run) -> None:
    shown = run("mechanisms", "--metric", "dau", *SHORT, "--mechanism", "gaussian", "--mechanism", "sparse-vector")
    assert "DAU, window 1, unit user-day, W_BOUND 2, 40 ticks; ε 1, δ 1e-06; lower bound 1.0000" in shown.output
    assert "sparse-vector: its error depends on the data" in shown.stderr


def test_without_the_bound_there_is_no_ratio(run) -> None:
    shown = run("mechanisms", *SHORT, "--no-bound", "--mechanism", "gaussian", "--format", "json")
    assert json.loads(shown.output)[0]["lower_bound_ratio"] is None


def test_the_table_says_who_else_is_ahead(run) -> None:
    shown = run("mechanisms", "--metric", "dau", "--no-bound", "--delta", "0", "--mechanism", "laplace")
    assert "best geometric noise" in shown.output
    assert "1.042" in shown.output
    assert "Ghosh, Roughgarden, Sundararajan 2012" in shown.stderr


@pytest.mark.slow
def test_accuracy_first(run) -> None:
    shown = run("calibrate", "--target-std", "20", "--metric", "mau", *SHORT, "--format", "json")
    rows = {row["mechanism"]: row for row in json.loads(shown.output)}
    assert list(rows) == list(MECHANISMS)
    assert rows["optimal"]["max_std"] == pytest.approx(20, rel=1e-5)
    assert rows["optimal"]["epsilon"] < rows["damped-square-root"]["epsilon"] < rows["binary-tree"]["epsilon"]
    assert rows["sparse-vector"]["epsilon"] is None
    assert "depends on the data" in rows["sparse-vector"]["reason"]


def test_laplace_noise_may_spend_delta(run) -> None:
    command = ("mechanisms", "--mechanism", "laplace", "--no-bound", "--format", "json")
    (pure,), (spending,) = (json.loads(run(*command, *more).stdout) for more in ((), ("--spend-delta",)))
    assert spending["max_std"] == pytest.approx(0.726 * pure["max_std"], rel=1e-3)


@each(
    ("arguments", "code", "message"),
    [
        (("mechanisms", "--metric", "mau", "--window", "14"), 2, "not both"),
        (("mechanisms", "--unit", "user", "--horizon", "unlimited", "--no-bound"), 1, "needs a horizon"),
        (("mechanisms", "--epsilon", "0", "--no-bound"), 1, "epsilon is 0"),
        (("mechanisms", "--delta", "2", "--no-bound"), 1, "delta is 2"),
        (("calibrate", "--target-std", "-1"), 1, "target_std is -1"),
        (("calibrate",), 2, "--target-std"),
        (("calibrate", "--target-std", "5", "--mechanism", "best"), 2, "best"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(
    run, arguments: tuple[str, ...], code: int, message: str
) -> None:
    refused = run(*arguments, code=code)
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
