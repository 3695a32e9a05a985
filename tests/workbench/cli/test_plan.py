"""The command `plan`, and how flows, calendar cells and breakdowns are spelt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.laws import each
from workbench.cli.breakdowns import BreakdownType
from workbench.cli.main import main


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["plan", "--epsilon", "1", *words])


def rows(*words: str) -> list[dict[str, object]]:
    shown = run(*words, "--format", "json")
    assert shown.exit_code == 0, shown.stderr
    found: list[dict[str, object]] = json.loads(shown.stdout)
    return found


def test_every_question_has_a_row_with_its_noise() -> None:
    asked = ["--metric", "mau", "--flows", "mau", "--calendar", "week", "--by", "country=GB,DE:last"]
    found = rows(*asked)
    assert [(row["question"], row["breakdown"], row["series"]) for row in found] == [
        ("mau", None, 1), ("mau/flows", None, 3), ("week", None, 1),
        ("mau", "country", 3), ("mau/flows", "country", 9), ("week", "country", 3),
    ]  # fmt: skip
    # Six questions at equal shares: √6 times the noise of each alone.
    assert found[0]["std"] == pytest.approx(2.555 * 4.225 * 6**0.5, rel=1e-3)
    assert found[2]["std"] == pytest.approx(4.225 * 6**0.5, rel=1e-3)
    assert found[0]["half_width"] == pytest.approx(1.96 * float(str(found[0]["std"])), rel=1e-3)


def test_the_shares_that_it_prints_make_errors_equal() -> None:
    asked = ["--metric", "dau", "--metric", "mau", "--by", "country=GB:last"]
    shown = run(*asked)
    share = shown.stderr.partition("for equal errors: --share ")[2].strip()
    assert max(float(str(row["std"])) for row in rows(*asked, "--share", share)) == pytest.approx(
        min(float(str(row["std"])) for row in rows(*asked, "--share", share)), rel=0.01
    )


def test_flows_and_weeks_are_asked_without_metrics() -> None:
    assert [row["question"] for row in rows("--flows", "wau", "--calendar", "month")] == ["wau/flows", "month"]
    assert [row["question"] for row in rows("--by", "country=GB:last")] == ["dau", "wau", "mau"] * 2


@pytest.mark.parametrize("order", [("--delta", "0", "--unit", "user"), ("--unit", "user", "--delta", "0")])
def test_without_a_delta_the_noise_is_that_of_the_best_pure_mechanism(order: tuple[str, ...]) -> None:
    (flat,) = rows("--metric", "mau", *order)
    (named,) = rows("--metric", "mau", "--mechanism", "subtraction-tree", *order)
    (doubled,) = rows("--metric", "mau", "--mechanism", "binary-tree-laplace", *order)
    assert flat == named
    assert float(str(flat["std"])) < 0.5 * float(str(doubled["std"]))


def test_values_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "countries.txt"
    file.write_text("Bonaire, Sint Eustatius\nEIRE\n", encoding="utf-8")
    (_, country) = rows("--metric", "mau", "--by", f"country=@{file}:last")
    assert country["series"] == 3


@pytest.mark.parametrize("times", ["×", "*"])
def test_several_columns_make_a_segment_of_each_pair(times: str) -> None:
    spelt = BreakdownType().convert(f"platform{times}country=ios,web{times}GB,DE:any:2", None, None)
    assert spelt.name == "platform×country"
    assert spelt.segments == ("ios×GB", "ios×DE", "web×GB", "web×DE", "other")
    assert (spelt.kind, spelt.most) == ("any", 2)


@each(
    ("words", "message"),
    [
        (["--by", "country=GB,DE"], "is not NAME=VALUES:KIND"),
        (["--by", "country"], "is not NAME=VALUES:KIND"),
        (["--by", "country=GB:first"], "is not NAME=VALUES:KIND"),
        (["--by", "country=GB:last:2"], "'last:2' is none of fixed, any, last and any:K"),
        (["--by", "country=GB:any:0"], "'any:0' is none of"),
        (["--by", "country=:last"], "they are named and never taken from the log"),
        (["--by", "country=GB,GB:last"], "lists 'GB' twice"),
        (["--by", "country=GB,,DE:last"], "lists the value ''"),
        (["--by", "country=other:last"], "lists the value 'other'"),
        (["--by", "flows=GB:last"], "cannot be called 'flows'"),
        (["--by", "a*b=GB:last"], "names 2 columns and 1 lists of values"),
        (["--by", "country=GB:last", "--by", "country=DE:any"], "--by country is given twice"),
        (["--by", "plan=free:fixed"], "It is not taken from events"),
        (["--users", "users.csv", "--metric", "mau"], "--users goes with a breakdown of kind fixed"),
        (["--by", "country=@missing.txt:last"], "No such file"),
        (["--flows", "xau"], "flows are asked of 'xau'; choose from dau, wau, mau"),
        (["--metric", "mau", "--share", "wau=2"], "--share names 'wau'; the questions are mau"),
        (["--metric", "mau", "--share", "mau=2", "--split", "mau=1"], "not both"),
        (["--metric", "mau", "--expect", "mau=many"], "--expect needs a number"),
        (["--metric", "mau", "--expect", "wau=5"], "sizes are for wau"),
    ],
)
def test_what_cannot_be_asked_is_refused(words: list[str], message: str) -> None:
    refused = run(*words)
    assert refused.exit_code != 0
    assert message in refused.stderr.replace("\n", " ")


def test_the_promise_is_said() -> None:
    assert "Promised: (1, 1e-06)-differential privacy over all 365 days together" in run("--metric", "mau").stdout


def test_the_best_mechanisms_are_named() -> None:
    assert rows("--metric", "dau", "--mechanism", "best")[0]["mechanism"] == "laplace"
    assert "mechanism" not in rows("--metric", "dau")[0]
