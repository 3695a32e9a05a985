"""The command `audit`: what it shows, what it refuses, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from dp.accounting.calibrate import calibrate_linear
from dp.noise import GaussianNoise
from dp.sketches import SKETCHES
from tests.laws import each
from workbench.cli.main import main

SHORT = ("audit", "--metric", "wau", "--horizon", "20", "--trials", "2e4", "--seed", "3")


def test_the_command_says_claimed_measured_and_ratio():
    shown = CliRunner().invoke(main, [*SHORT, "--mechanism", "gaussian", "--mechanism", "laplace", "--format", "json"])
    assert shown.exit_code == 0
    gaussian, _, laplace, _ = json.loads(shown.stdout)
    assert gaussian["claimed"] == 1.0
    assert 0 < gaussian["measured"] <= 1.0
    assert gaussian["ratio"] == pytest.approx(gaussian["mu"] / gaussian["claimed_mu"])
    assert gaussian["flips"][1] - gaussian["flips"][0] == 7
    assert laplace["delta"] == 0
    again = CliRunner().invoke(main, [*SHORT, "--mechanism", "gaussian", "--format", "json"])
    assert json.loads(again.stdout)[0]["mu"] == gaussian["mu"]


def test_the_command_ends_with_one_if_anything_is_flagged(monkeypatch):
    def halved(designs, guarantee, shares):
        (right,) = calibrate_linear(designs, guarantee, shares)
        return [replace(right, noise=GaussianNoise(right.noise.scale // 2))]

    monkeypatch.setattr("dp.auditing.mechanisms.calibrate_designs", halved)
    shown = CliRunner().invoke(main, [*SHORT, "--mechanism", "gaussian"])
    assert shown.exit_code == 1
    assert "flagged: gaussian revealed more than was promised" in shown.stderr
    assert "True" in shown.stdout


def test_the_command_says_what_cannot_serve_the_class():
    shown = CliRunner().invoke(main, [*SHORT, "--trials", "100"])
    assert shown.exit_code == 0
    assert "adaptive-flippancy: adaptive-flippancy serves the unit user" in shown.stderr
    refused = CliRunner().invoke(main, [*SHORT, "--mechanism", "adaptive-flippancy"])
    assert refused.exit_code == 1


@each("trials", ["many", "10", "1.5e2.5", "2e12"])
def test_trials_that_are_no_number_are_refused(trials):
    shown = CliRunner().invoke(main, ["audit", "--trials", trials])
    assert shown.exit_code == 2
    assert "is not a whole number between 100 and 2e7" in shown.stderr


def test_trials_may_be_written_as_a_power_of_ten():
    shown = CliRunner().invoke(main, [*SHORT, "--trials", "1e3", "--mechanism", "gaussian", "--format", "json"])
    assert json.loads(shown.stdout)[0]["trials"] == 1000


def test_sketches_are_audited_beside_or_instead_of_mechanisms():
    options = ["--trials", "2e4", "--format", "json"]
    alone = CliRunner().invoke(main, ["audit", "--sketch", "sfm", "--sketch", "exact", *options])
    assert alone.exit_code == 0, alone.stderr
    assert {row["subject"] for row in json.loads(alone.stdout)} == {"sfm", "exact"}
    beside = CliRunner().invoke(main, [*SHORT, "--mechanism", "gaussian", "--sketch", "gf2", *options])
    assert {row["subject"] for row in json.loads(beside.stdout)} == {"gaussian", "gf2"}


def test_what_promises_nothing_is_refused_by_name_and_told_among_all(run):
    named = run("audit", "--sketch", "kmv", "--trials", 1000, code=1)
    assert "promises nothing that could be audited" in named.stderr
    everything = run("audit", "--sketch", "all", "--trials", 1000, "--format", "json")
    found = {row["subject"] for row in json.loads(everything.stdout)}
    refused = {line.split(":")[0] for line in everything.stderr.splitlines()}
    assert found | refused == set(SKETCHES)
    assert refused == {name for name, family in SKETCHES.items() if family.contract.kind == "none"}


@pytest.mark.slow
def test_real_releases_are_attacked_on_demand():
    live = ["audit", "--live", "--horizon", "8", "--window", "3", "--epsilon", "8", "--mechanism", "gaussian"]
    shown = CliRunner().invoke(main, [*live, "--trials", "300", "--format", "json"])
    assert shown.exit_code == 0, shown.stderr
    ratio, histogram = json.loads(shown.stdout)
    assert (ratio["seen"], histogram["seen"], ratio["trials"]) == ("releases", "histogram", 300)
    assert ratio["measured"] > 1
    table = CliRunner().invoke(main, [*live, "--trials", "100"])
    assert "100 real releases" in table.stdout


def test_sketches_are_not_attacked_live():
    shown = CliRunner().invoke(main, ["audit", "--live", "--sketch", "sfm"])
    assert shown.exit_code == 2
    assert "leave --sketch or --live out" in shown.stderr


@pytest.mark.parametrize(
    "options",
    [["--horizon", "20", "--metric", "wau", "--epsilon", "0"], ["--live", "--horizon", "unlimited", "--trials", "100"]],
)
def test_a_command_that_attacks_nothing_fails(options):
    shown = CliRunner().invoke(main, ["audit", *options])
    assert shown.exit_code == 1
    assert "nothing could be attacked" in shown.stderr


def test_all_sketches_do_not_end_at_one_that_promises_nothing():
    shown = CliRunner().invoke(
        main, [*SHORT, "--trials", "1000", "--mechanism", "gaussian", "--sketch", "all", "--format", "json"]
    )
    assert shown.exit_code == 0, shown.stderr
    assert {"gaussian", "sfm"} < {row["subject"] for row in json.loads(shown.stdout)}


def test_more_real_releases_than_a_ledger_holds_are_refused_before_any():
    shown = CliRunner().invoke(
        main, ["audit", "--live", "--delta", "0.01", "--trials", "200", "--mechanism", "gaussian"]
    )
    assert shown.exit_code == 1
    assert "200 releases of δ = 0.01 need a budget of δ ≥ 1" in shown.stderr


def test_questions_are_attacked_with_all_their_series():
    for cell, breakdown in (("rolling", "last"), ("flows", "any:2"), ("week", "fixed")):
        asked = [*SHORT, "--cell", cell, "--breakdown", breakdown, "--mechanism", "gaussian", "--format", "json"]
        shown = CliRunner().invoke(main, asked)
        assert shown.exit_code == 0
        (row,) = json.loads(shown.stdout)
        assert (row["subject"], row["flagged"]) == ("gaussian", False)
        assert row["worst"] == pytest.approx(1.0)


@each("kind", ["any:0", "any:x", "last:2", "first"])
def test_kinds_of_breakdowns_that_do_not_exist_are_refused(kind):
    refused = CliRunner().invoke(main, [*SHORT, "--breakdown", kind])
    assert refused.exit_code == 2
    assert f"{kind!r} is none of fixed, any, last and any:K" in refused.stderr


def test_real_releases_of_questions_are_not_attacked():
    refused = CliRunner().invoke(main, [*SHORT, "--live", "--cell", "week"])
    assert refused.exit_code == 2
    assert "leave --cell and --breakdown out" in refused.stderr
