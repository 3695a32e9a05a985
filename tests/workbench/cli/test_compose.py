"""`dpdau compose`: the spec file, the formats, and errors that say what would be right."""

from __future__ import annotations

import csv
import io
import json

import pyarrow.parquet as parquet
import pytest

from dp.accounting.spec import CONSTRUCTORS
from tests.oracles.accountant_instances import ACCOUNTANT_NAMES
from workbench.cli.compose import load_spec

YEAR = '[[release]]\nmechanism = "gaussian"\nsigma = 20.0\ncount = 365\n'
MIXED = """
[[release]]
mechanism = "laplace"
epsilon = 0.3
count = 30

[[release]]
mechanism = "gaussian"
sigma = 5.0
count = 12

[[release]]
mechanism = "discrete-laplace"
scale = 20
sensitivity = 2

[[release]]
mechanism = "discrete-gaussian"
sigma = 3
"""
EVERY = (
    MIXED
    + """
[[release]]
mechanism = "pure"
epsilon = 0.1

[[release]]
mechanism = "approximate"
epsilon = 0.1
delta = 1e-8

[[release]]
mechanism = "zcdp"
rho = 0.01

[[release]]
mechanism = "gdp"
mu = 0.1
"""
)


def test_a_year_of_gaussian_releases_as_json(run, tmp_path):
    (tmp_path / "spec.toml").write_text(YEAR, encoding="utf-8")
    whole = json.loads(run("compose", "spec.toml", "--delta", "1e-6", "--format", "json").stdout)
    assert set(whole) == {"delta", "releases", "accountants", "best", "epsilon"}
    assert whole["delta"] == 1e-6
    assert whole["releases"] == 365
    assert [row["accountant"] for row in whole["accountants"]] == list(ACCOUNTANT_NAMES)
    by_name = {row["accountant"]: row for row in whole["accountants"]}
    assert by_name["zcdp"]["epsilon"] == pytest.approx(4.958356, abs=1e-6)
    assert by_name["gdp"] == {
        "accountant": "gdp", "epsilon": by_name["gdp"]["epsilon"], "applicable": True, "exact": True, "reason": None,
    }  # fmt: skip
    assert by_name["gdp"]["epsilon"] == pytest.approx(4.6388289409, abs=1e-9)
    assert whole["best"] == "gdp"
    assert whole["epsilon"] == by_name["gdp"]["epsilon"]


def test_what_does_not_apply_is_null_with_a_reason_and_the_others_answer(run, tmp_path):
    (tmp_path / "spec.toml").write_text(EVERY, encoding="utf-8")
    whole = json.loads(run("compose", "spec.toml", "--delta", "1e-6", "--format", "json").stdout)
    by_name = {row["accountant"]: row for row in whole["accountants"]}
    assert {name for name, row in by_name.items() if row["applicable"]} == {"naive", "advanced"}
    for name in ("zcdp", "rdp", "gdp", "pld"):
        assert by_name[name]["epsilon"] is None
        assert by_name[name]["reason"]
    assert whole["best"] in ("naive", "advanced")


def test_the_default_is_a_table(run, tmp_path):
    (tmp_path / "spec.toml").write_text(MIXED, encoding="utf-8")
    shown = run("compose", "spec.toml", "--delta", "1e-6").stdout
    assert "44 releases together at δ = 1e-06; best: pld" in shown
    assert all(name in shown for name in ACCOUNTANT_NAMES)
    assert "ε and δ add up" in shown


def test_pure_releases_at_delta_zero(run, tmp_path):
    (tmp_path / "spec.toml").write_text(
        '[[release]]\nmechanism = "pure"\nepsilon = 0.25\ncount = 4\n', encoding="utf-8"
    )
    whole = json.loads(run("compose", "spec.toml", "--delta", "0", "--format", "json").stdout)
    assert (whole["best"], whole["epsilon"]) == ("naive", 1.0)
    (tmp_path / "spec.toml").write_text(YEAR, encoding="utf-8")
    whole = json.loads(run("compose", "spec.toml", "--delta", "0", "--format", "json").stdout)
    assert (whole["best"], whole["epsilon"]) == (None, None)
    assert "no accountant applies" in run("compose", "spec.toml", "--delta", "0").stdout


@pytest.mark.slow
def test_files_and_formats_agree(run, tmp_path):
    (tmp_path / "spec.toml").write_text(EVERY, encoding="utf-8")
    rows = json.loads(run("compose", "spec.toml", "--delta", "1e-6", "--format", "json").stdout)["accountants"]
    printed = run("compose", "spec.toml", "--delta", "1e-6", "--format", "csv").stdout
    read = [float(row["epsilon"]) if row["epsilon"] else None for row in csv.DictReader(io.StringIO(printed))]
    assert read == [row["epsilon"] for row in rows]
    run("compose", "spec.toml", "--delta", "1e-6", "--out", "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == rows
    assert run("compose", "spec.toml", "--delta", "1e-6", "--out", "out.json").stdout == ""
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["accountants"] == rows
    assert (
        "same file"
        in run("compose", "spec.toml", "--delta", "1e-6", "--out", "spec.toml", "--format", "csv", code=2).stderr
    )


BAD = {
    "no tables": ("", "there is no [[release]] table"),
    "one table": ('[release]\nmechanism = "pure"\nepsilon = 1.0', "there is no [[release]] table"),
    "no TOML": ("[[release]", "spec.toml: "),
    "another key": ("delta = 1e-6\n" + YEAR, "unknown key 'delta'"),
    "no mechanism": ("[[release]]\nsigma = 3.0", "release 1: mechanism is missing; choose one of laplace, gaussian"),
    "unknown mechanism": ('[[release]]\nmechanism = "lapalce"', "release 1: mechanism is 'lapalce'; choose one of"),
    "unknown key": (YEAR + '[[release]]\nmechanism = "pure"\nepsilon = 1\nsigma = 2', "release 2: unknown key 'sigma'"),
    "no sigma": ('[[release]]\nmechanism = "gaussian"', "release 1: sigma is missing; 'gaussian' needs it"),
    "both": ('[[release]]\nmechanism = "laplace"\nepsilon = 1\nscale = 2', "needs either epsilon or scale, and not"),
    "neither": ('[[release]]\nmechanism = "discrete-laplace"', "needs either epsilon or scale"),
    "text": ('[[release]]\nmechanism = "pure"\nepsilon = "1"', "release 1: epsilon is '1'; it must be a number"),
    "boolean": ('[[release]]\nmechanism = "pure"\nepsilon = true', "release 1: epsilon is True; it must be a number"),
    "negative": ('[[release]]\nmechanism = "pure"\nepsilon = -1.0', "release 1: epsilon is -1.0; it must lie between"),
    "infinite": ('[[release]]\nmechanism = "gaussian"\nsigma = inf', "release 1: sigma is inf; it must be a number"),
    "not a number": ('[[release]]\nmechanism = "gaussian"\nsigma = nan', "release 1: sigma is nan; it must be"),
    "enormous": ('[[release]]\nmechanism = "gaussian"\nsigma = 1' + "0" * 400, "release 1: sigma is 1000"),
    "fraction": ('[[release]]\nmechanism = "discrete-gaussian"\nsigma = 2\nsensitivity = 1.5', "sensitivity is 1.5"),
    "no count": (YEAR.replace("365", "0"), "release 1: count is 0; it is a whole number of releases"),
    "half a count": (YEAR.replace("365", "1.5"), "release 1: count is 1.5; it is a whole number of releases"),
    "delta": ('[[release]]\nmechanism = "approximate"\nepsilon = 1.0\ndelta = 2.0', "release 1: delta is 2.0; it"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_spec_is_refused_in_one_line(run, tmp_path, case):
    text, message = BAD[case]
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    result = run("compose", "spec.toml", "--delta", "1e-6", code=1)
    assert result.stderr.startswith("Error: spec.toml: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_spec_and_a_bad_delta_are_refused(run, tmp_path):
    assert "nothing.toml: no such spec" in run("compose", "nothing.toml", "--delta", "1e-6", code=1).stderr
    (tmp_path / "spec.toml").write_text(YEAR, encoding="utf-8")
    for delta in ("1", "-0.1", "nan"):
        assert f"delta is {float(delta)}" in run("compose", "spec.toml", "--delta", delta, code=1).stderr
    assert "--delta" in run("compose", "spec.toml", code=2).stderr


def test_the_spec_knows_every_mechanism_that_the_documentation_lists(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(EVERY, encoding="utf-8")
    assert len(load_spec(path)) == len(CONSTRUCTORS)
    assert [part.count for part in load_spec(path)[:2]] == [30, 12]


def test_the_command_is_listed(run):
    assert "compose" in run("--help").stdout
