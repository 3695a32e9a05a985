"""`dpdau renew`: it says what it charges, asks, and charges once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import Run
from workbench.service import load_settings, open_service

TODAY = datetime.now(UTC).date()
FIRST = TODAY - timedelta(days=3)
SET = ("--set", f"first_day={FIRST},horizon=2")


def charges() -> int:
    with open_service(
        load_settings(None, {}, [("first_day", str(FIRST)), ("horizon", "2")]), lambda: datetime.now(UTC)
    ) as one:
        return len(one.charges())


@pytest.mark.slow
def test_a_renewal_is_said_asked_for_and_charged_once(run: Run) -> None:
    assert "there is no store" in run("renew", code=1).stderr
    run("close", "--through", FIRST + timedelta(days=1), *SET)
    assert "dpdau renew" in run("close", "--through", TODAY, *SET, code=1).stderr
    # Nobody answers.
    said = run("renew", *SET, code=1).stderr
    assert f"The next period begins on {FIRST + timedelta(days=2)}" in said
    assert "ε 1.2 and δ 3e-06 are charged to the budget 'live'" in said
    assert "Charge it now?" in said
    assert charges() == 3
    assert f"renewed: {FIRST + timedelta(days=2)} to {TODAY}" in run("renew", "--yes", *SET).stderr
    assert "charged already" in run("renew", "--yes", *SET).stderr
    assert "charged already" in run("renew", "--from", FIRST + timedelta(days=2), *SET).stderr
    assert charges() == 6
    run("close", "--through", TODAY, *SET)
    assert json.loads(run("mau", "--day", TODAY, "--format", "json", *SET).stdout)["day"] == TODAY.isoformat()
    small = (*SET, "--set", "mau.epsilon=5")
    assert "budget 'live' is too small: requested epsilon 5.7" in run("renew", "--yes", *small, code=3).stderr
    assert "mau.window is 28 now and was 30" in run("renew", "--yes", *SET, "--set", "mau.window=28", code=1).stderr
    assert charges() == 6


def test_settings_say_where_no_horizon_is_needed(run: Run) -> None:
    assert '\n# horizon = "unlimited" would cost' in run("settings").stdout
    assert "would cost" not in run("settings", "--set", "horizon=unlimited").stdout
    assert "would cost" not in run("settings", "--set", "mau.unit=user").stdout
