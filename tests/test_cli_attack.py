"""`dpdau attack`: what is printed, and what ends with an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dp.audit import attacks
from dp.audit.attacks import ATTACKS, OURS, Attack, Reading
from workbench.cli import main
from workbench.cli_attack import ATTACK_NAMES


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["attack", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_what_is_spelt_out_is_what_there_is() -> None:
    assert tuple(ATTACKS) == ATTACK_NAMES


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
    high, low = (lambda setting, value=value: (Reading("a number", value, 1.0),) for value in (2.0, 0.5))
    targets = {OURS: high if broken == OURS else low, "twin": high if broken == OURS else low}
    monkeypatch.setitem(attacks.ATTACKS, "support", Attack("Somebody.", "It holds.", targets))
    run("support", "--twins", code=1)
    assert "a number" in run("support", "--twins", "--format", "json", code=1)
    run("support", code=1 if broken == OURS else 0)


def test_an_unknown_attack_is_refused() -> None:
    assert CliRunner().invoke(main, ["attack", "guesswork"]).exit_code == 2
