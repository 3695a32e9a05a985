"""The commands that take a ledger take one in a database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.oracles import postgres

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def test_a_release_is_charged_once_to_a_ledger_in_a_database(
    run: Run, tmp_path: Path, postgres_server: postgres.Server
) -> None:
    url = postgres.database_of(tmp_path, postgres_server.port)
    assert "there is no ledger" in run("budget", "--ledger", url, code=1).stderr
    run("budget", "--ledger", url, "create", "year", "--epsilon", 2, "--delta", "1e-5")
    Path("log.csv").write_text("user,day,op\nann,2026-01-01,+\nbob,2026-01-02,+\n", encoding="utf-8")
    asked = (
        "release", "log.csv", "--metric", "dau", "--from", "2026-01-01", "--to", "2026-01-02", "--epsilon", 1,
        "--ledger", url, "--budget", "year", "--format", "json",
    )  # fmt: skip
    first = run(*asked).stdout
    Path("log.csv").unlink()
    assert run(*asked).stdout == first
    found = json.loads(run("budget", "--ledger", url, "--format", "json").stdout)
    assert [charge["budget"] for charge in found["charges"]] == ["year"]
    refused = run("release", "log.csv", *asked[2:8], "--epsilon", 1.5, *asked[10:], code=3)
    assert "exhausted" in refused.stderr
