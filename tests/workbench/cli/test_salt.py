"""The commands `salt create`, `salt rotate` and `salt list`."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import date
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from dp.sketches.salts import load_salts
from tests.laws import each
from workbench.cli.salt import salt, salt_option

FILE = Path("dpdau.salt")
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command of the group in an empty folder, and makes sure that no salt in the file or SECRET is shown."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DPDAU_SALT", "DPDAU_SALT_FILE"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(salt, arguments)
        shown = f"{result.output}{result.stderr}{result.exception}".lower()
        known = {SECRET, *(word for file in tmp_path.iterdir() for word in file.read_text().split() if len(word) == 32)}
        assert not any(one[:10] in shown or one[-10:] in shown for one in known)
        return result

    return run


def test_create_rotate_list(call) -> None:
    made = call("create")
    assert made.exit_code == 0
    first = load_salts(FILE, {}).periods[0][1].fingerprint
    assert made.output == f"dpdau.salt created: the salt {first} is in force for all days\n"
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o600

    rotated = call("rotate", "--from", "2026-03-01")
    salts = load_salts(FILE, {})
    second = salts.in_force(date(2026, 3, 1)).fingerprint
    assert rotated.output == f"dpdau.salt rotated: the salt {second} is in force from 2026-03-01 on\n"

    rows = json.loads(call("list", "--format", "json").output)
    assert rows == [{"from": "0001-01-01", "fingerprint": first}, {"from": "2026-03-01", "fingerprint": second}]
    table = call("list").output
    assert all(word in table for word in ("dpdau.salt", salts.fingerprint, first, second, "2026-03-01"))


def test_create_leaves_alone_what_is_there(call) -> None:
    call("create")
    before = FILE.read_bytes()
    again = call("create")
    assert again.exit_code == 0
    assert "exists already" in again.output
    assert FILE.read_bytes() == before


def test_the_file_may_be_named_by_option_or_variable(call, monkeypatch) -> None:
    call("create", "--salt-file", "one.salt")
    monkeypatch.setenv("DPDAU_SALT_FILE", "two.salt")
    call("create")
    assert sorted(file.name for file in Path().iterdir()) == ["one.salt", "two.salt"]
    named = json.loads(call("list", "--format", "json").output)[0]["fingerprint"]
    assert named == load_salts(Path("two.salt"), {}).periods[0][1].fingerprint


def test_the_variable_overrides_the_file(call, monkeypatch) -> None:
    monkeypatch.setenv("DPDAU_SALT", SECRET)
    assert "Salts of DPDAU_SALT" in call("list").output
    made = call("create")
    assert "DPDAU_SALT is set and overrides the file" in made.stderr
    assert "DPDAU_SALT" in call("rotate", "--from", "2026-03-01").stderr
    (row,) = json.loads(call("list", "--format", "json").output)
    assert row["fingerprint"] not in made.output


@each(
    ("content", "mode", "arguments", "message"),
    [
        (None, 0, ("rotate", "--from", "2026-03-01"), "dpdau.salt"),
        (f"2026-01-01 {SECRET}\n", 0o644, ("list",), "chmod 600"),
        (f"2026-01-01 {SECRET}\n", 0o644, ("create",), "chmod 600"),
        (f"2026-01-01 {SECRET}\n{SECRET}\n", 0o600, ("list",), "line 2"),
        (f"2026-01-01 {SECRET}\n", 0o600, ("rotate", "--from", "2026-01-01"), "must come after"),
    ],
)
def test_what_cannot_be_done_says_why(call, content, mode, arguments, message) -> None:
    if content is not None:
        FILE.write_text(content)
        FILE.chmod(mode)
    refused = call(*arguments)
    assert refused.exit_code == 1
    # The root of the command line turns these two into one line.
    assert isinstance(refused.exception, ValueError | OSError)
    assert message in str(refused.exception)


def test_a_file_that_is_not_there_is_told_how_to_make(call) -> None:
    refused = call("list")
    assert refused.exit_code == 1
    assert "'dpdau salt create' creates one" in refused.stderr


@each("arguments", [("rotate",), ("rotate", "--from", "soon"), ("list", "--format", "csv")])
def test_what_is_mistyped_is_refused_with_the_usage(call, arguments) -> None:
    assert call(*arguments).exit_code == 2


def test_the_option_hands_over_a_path(call) -> None:
    @click.command()
    @salt_option
    def show(salt_file: Path) -> None:
        click.echo(repr(salt_file))

    assert CliRunner().invoke(show).output == "PosixPath('dpdau.salt')\n"
    assert CliRunner().invoke(show, ["--salt-file", "x"]).output == "PosixPath('x')\n"
