"""`dpdau attack`: what is printed, and what ends with an error."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from dp.auditing import attacks
from dp.auditing.attacks import ATTACKS, OURS, Attack, Observation
from experiments.engine.pictures import save
from tests.places import ROOT
from workbench.attacks import service as attack_service
from workbench.cli.attack import ATTACK_NAMES, FIGURE_SUFFIXES, SERVICE
from workbench.cli.main import main


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["attack", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_what_is_spelt_out_is_what_there_is() -> None:
    assert (*ATTACKS, SERVICE) == ATTACK_NAMES
    config = tomllib.loads((ROOT / "experiments/audits/attacks.toml").read_text())
    assert tuple(config["attacks"]) == tuple(ATTACKS)
    table = (ROOT / "docs/audit.md").read_text()
    said = " ".join(str(main.commands["attack"].help).split()).replace(" and ", ", ")
    assert ", ".join(ATTACK_NAMES) in said
    assert all(f"\n| `{name}` | " in table for name in ATTACK_NAMES)
    with pytest.raises(ValueError, match=r"written as \.svg, \.png or \.pdf"):
        save(Figure(), Path("figure.gif"))
    assert FIGURE_SUFFIXES == (".svg", ".png", ".pdf")


def test_readings_are_printed_with_who_attacks() -> None:
    rows = json.loads(run("support", "--twins", "--format", "json"))
    assert {row["target"] for row in rows} == set(ATTACKS["support"].targets)
    assert all(row["held"] for row in rows if row["target"] == OURS)
    assert not all(row["held"] for row in rows if row["target"] != OURS)
    assert rows[0]["threat"] == ATTACKS["support"].threat
    assert [row["measured"] for row in rows] == [
        row["measured"] for row in json.loads(run("support", "--twins", "--format", "json"))
    ]


def test_a_table_keeps_to_the_numbers(tmp_path: Path) -> None:
    told = run("support")
    assert "allowed" in told
    assert "threat" not in told
    run("support", "--out", str(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").read_text().startswith("attack,target,reading,measured,allowed,held,threat")


@pytest.mark.parametrize("broken", [OURS, "twin"])
def test_it_ends_with_1_if_something_is_not_as_it_must_be(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What must hold falls, or a twin holds."""
    high, low = (lambda setting, value=value: (Observation("a number", value, 1.0),) for value in (2.0, 0.5))
    targets = {OURS: high if broken == OURS else low, "twin": high if broken == OURS else low}
    monkeypatch.setitem(attacks.ATTACKS, "support", Attack("Somebody.", "It holds.", targets))
    run("support", "--twins", code=1)
    assert "a number" in run("support", "--twins", "--format", "json", code=1)
    run("support", code=1 if broken == OURS else 0)


def test_an_unknown_attack_is_refused() -> None:
    assert CliRunner().invoke(main, ["attack", "guesswork"]).exit_code == 2


def test_the_service_is_attacked_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = (Observation("rows that changed", 0, 0), Observation("rows of which nothing is claimed", 9))
    monkeypatch.setattr(attack_service, "TARGETS", {OURS: lambda setting: readings})
    rows = json.loads(run("service", "--twins", "--format", "json"))
    assert [(row["attack"], row["target"], row["allowed"]) for row in rows] == [
        ("service", OURS, 0.0), ("service", OURS, None),
    ]  # fmt: skip
    assert rows[0]["threat"].startswith("Somebody runs the live service")
    assert rows[0]["criterion"] == attack_service.CRITERION


def test_an_attack_that_is_named_twice_is_made_once() -> None:
    assert len(json.loads(run("support", "support", "--format", "json"))) == len(
        json.loads(run("support", "--format", "json"))
    )


@pytest.mark.slow
def test_what_was_attacked_is_drawn(tmp_path: Path) -> None:
    drawn = []
    for number, suffix in enumerate((*FIGURE_SUFFIXES, ".svg")):
        drawn.append(tmp_path / f"figure {number}{suffix}")
        run("support", "--twins", "--figure", str(drawn[-1]))
    svg, png, pdf, again = (path.read_bytes() for path in drawn)
    assert (svg[:5], png[1:4], pdf[:5]) == (b"<?xml", b"PNG", b"%PDF-")
    assert svg == again
    assert b"support" in svg
    assert b"Laplace noise drawn in floats" in svg
    assert b"ledger" not in svg


def test_what_fell_is_drawn_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fallen = {OURS: lambda setting: (Observation("a number", 2.0, 1.0), Observation("nothing is claimed", 9.0))}
    monkeypatch.setitem(attacks.ATTACKS, "support", Attack("Somebody.", "It holds.", fallen))
    run("support", "--figure", str(tmp_path / "figure.svg"), code=1)
    assert (tmp_path / "figure.svg").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("figure.gif", "--figure .*figure.gif does not say its format; name it .svg, .png, .pdf"),
        ("figure", "does not say its format"),
        ("figure.SVG", "does not say its format"),
        ("nowhere/figure.svg", "the folder of the figure .* does not exist"),
    ],
)
def test_a_figure_that_cannot_be_written_is_refused_before_any_work(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attacked(setting: object) -> None:
        raise AssertionError("it was attacked")

    monkeypatch.setitem(attacks.ATTACKS, "support", Attack("Somebody.", "It holds.", {OURS: attacked}))
    result = CliRunner().invoke(main, ["attack", "support", "--figure", str(tmp_path / name)])
    assert result.exit_code == 2
    assert re.search(message, " ".join(result.output.split()))


def test_table_and_figure_are_two_files(tmp_path: Path) -> None:
    same = str(tmp_path / "same.svg")
    result = CliRunner().invoke(main, ["attack", "support", "--format", "csv", "--out", same, "--figure", same])
    assert result.exit_code == 2
    assert "out and figure are the same file" in " ".join(result.output.split())
