"""The commands `keys create`, `keys revoke` and `keys list`."""

from __future__ import annotations

import json
import re
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.laws import each
from workbench.service.keyring import Keyring
from workbench.service.keys import session_token

FILE = Path("dpdau.store.keys")
KEY = re.compile(r"dpdau_[0-9a-f]{64}")


def scopes(key: str, file: Path = FILE) -> list[str] | None:
    caller = Keyring(file, None, date.today).find(session_token(key.encode()))
    return caller and sorted(caller.scopes)


def test_a_key_is_shown_once_and_alone_on_standard_output(run: Run) -> None:
    made = run("keys", "create", "grafana", "--scope", "read", "--scope", "metrics")
    key = made.stdout.rstrip("\n")
    assert KEY.fullmatch(key)
    assert "shown this once" in made.stderr
    assert key not in made.stderr
    assert scopes(key) == ["metrics", "read"]
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o600
    for shown in (run("keys", "list").output, run("keys", "list", "--format", "json").output, FILE.read_text()):
        assert KEY.search(shown) is None
        assert key[6:] not in shown


def test_list_says_who_has_which_scopes_until_when(run: Run) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=2)
    run("keys", "create", "feed", "--scope", "ingest")
    run("keys", "create", "desk", "--scope", "operate", "--scope", "read", "--expires", tomorrow)
    rows = json.loads(run("keys", "list", "--format", "json").stdout)
    assert [(row["name"], row["scopes"], row["expires"]) for row in rows] == [
        ("feed", "ingest", None), ("desk", "read operate", str(tomorrow)),
    ]  # fmt: skip
    assert "feed" in run("keys", "list").stdout


def test_a_revoked_key_opens_nothing_and_the_others_do(run: Run) -> None:
    first, second = (run("keys", "create", name, "--scope", "read").stdout.strip() for name in ("a", "b"))
    assert "1 left" in run("keys", "revoke", "a").stdout
    assert (scopes(first), scopes(second)) == (None, ["read"])
    assert "stays guarded" in run("keys", "revoke", "b").stderr
    assert scopes(second) is None
    again = run("keys", "create", "a", "--scope", "operate").stdout.strip()
    assert (scopes(first), scopes(again)) == (None, ["operate"])


def test_the_file_lies_beside_the_store_or_where_the_setting_says(run: Run) -> None:
    run("keys", "create", "a", "--scope", "read", "--store", "other.store")
    run("keys", "create", "a", "--scope", "read", "--set", "keys=my.keys")
    assert sorted(path.name for path in Path().iterdir()) == ["my.keys", "other.store.keys"]


@pytest.fixture
def kept(run: Run) -> bytes:
    """The file of keys, which has one."""
    run("keys", "create", "a", "--scope", "read")
    return FILE.read_bytes()


@each(
    ("arguments", "code", "message"),
    [
        (("create", "a", "--scope", "read"), 1, "holds already"),
        (("create", "b", "--scope", "read", "--expires", "2020-01-01"), 1, "expires is 2020-01-01"),
        (("create", "b c", "--scope", "read"), 1, "'b c'"),
        (("create", "b", "--scope", "all"), 2, "ingest"),
        (("create", "b"), 2, "--scope"),
        (("create", "b", "--scope", "read", "--expires", "soon"), 2, "2026-01-31"),
        (("revoke", "b"), 1, "holds a"),
        (("revoke", "b", "--store", "none"), 1, "none.keys"),
        (("list", "--store", "none"), 1, "'dpdau keys create' makes it"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_changes_nothing(
    run: Run, kept: bytes, arguments: tuple[str, ...], code: int, message: str
) -> None:
    refused = run("keys", *arguments, code=code)
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert FILE.read_bytes() == kept
    assert [path.name for path in Path().iterdir()] == [FILE.name]


@pytest.mark.parametrize("command", [("keys", "list"), ("serve", "--no-pages", "--port", "0")])
def test_a_file_that_others_may_read_stops_what_needs_it(run: Run, command: tuple[str, ...]) -> None:
    run("keys", "create", "a", "--scope", "read")
    FILE.chmod(0o644)
    said = run(*command, code=1).stderr
    assert f"chmod 600 {FILE}" in said
    assert "Listening" not in said


def test_a_service_whose_setting_names_a_file_does_not_start_without_it(run: Run) -> None:
    said = run("serve", "--no-pages", "--port", "0", "--set", "keys=my.keys", code=1).stderr
    assert "keys is 'my.keys', and there is no such file" in said
    assert "Listening" not in said
