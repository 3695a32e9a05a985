"""The live service withstands its attack, and each of its broken twins falls to it, by the right reading.

Power. Nothing here is drawn but noise on a grid of 2⁻²⁴ users: two draws agree with a chance below 10⁻⁶, so a row that
was drawn again is told, and readings do not depend on the draws. Whoever must win a race has no say in any reading.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from dp.auditing.attacks import OURS, Observation, Setting, attack_of
from workbench.attacks import service as attack_service
from workbench.attacks.asking import FixedClock, ask, changes_between, days_of, settings_of, together
from workbench.attacks.service import TARGETS
from workbench.service import open_service

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

FALLS = {
    "a service that trusts the ledger it finds": ("old ledger was put back", "running service", "given a new ledger"),
    "a ledger for every process": ("rows of one day", "answers to one request"),
    "keys of requests that are forgotten": ("answers to one request", "ε charged"),
    "a budget for every month of the clock": ("ε of fresh releases", "outside the period"),
    "a counter of flips that erasure resets": ("flips of the user", "over the certificate"),
}
"""Which readings of a twin must be beyond their limits, by a part of their names; all others hold."""

UNCLAIMED = {
    "both were put back": 15,
    "a copy that went on by itself": 15,
    "an old ledger after a crash": 3,
    "by a clock put forward": 2,
    "taken back and reported again": 6,
}
"""What nothing is claimed of, and how bad it is: of 15 rows after the copy all change, for instance."""


def setting(folder: Path, seed: int = 20260701) -> Setting:
    return Setting(np.random.default_rng(seed), folder, NOW, quick=True)


def reading(readings: tuple[Observation, ...], part: str) -> Observation:
    (found,) = (one for one in readings if part in one.what)
    return found


@pytest.mark.slow
def test_the_service_withstands(tmp_path: Path) -> None:
    readings = TARGETS[OURS](setting(tmp_path))
    assert [one for one in readings if not one.held] == []
    unclaimed = {one.what: one.measured for one in readings if one.allowed is None}
    assert len(unclaimed) == len(UNCLAIMED)
    for part, measured in UNCLAIMED.items():
        assert reading(readings, part).measured == measured, part
    # Every limit is reached where it is not 0, so none of them is met by a service that does nothing.
    for part in ("rows of one day", "answers to one request", "ε charged", "ε of fresh releases", "flips of the user"):
        assert reading(readings, part).measured == 1, part
    # Whatever the seed, the clock and the noise.
    assert TARGETS[OURS](setting(tmp_path, seed=7)) == readings


@pytest.mark.parametrize("twin", [pytest.param(twin, marks=pytest.mark.slow) for twin in FALLS])
def test_a_broken_twin_falls(twin: str, tmp_path: Path) -> None:
    readings = TARGETS[twin](setting(tmp_path))
    fallen = [one.what for one in readings if not one.held]
    assert all(any(part in what for what in fallen) for part in FALLS[twin])
    assert [what for what in fallen if not any(part in what for part in FALLS[twin])] == []


def test_every_twin_is_known_here() -> None:
    assert [OURS, *FALLS] == list(TARGETS)


def test_the_threat_is_two_sentences() -> None:
    attack = attack_of(attack_service)
    assert attack.threat.count(". ") == 1
    assert "They win if" in attack.threat
    assert attack.threat.endswith(".")


def test_a_service_that_refuses_everything_does_not_withstand(tmp_path: Path) -> None:
    """What nobody was told cannot differ; so it is read how much that is."""
    given = setting(tmp_path)
    settings = settings_of(given, {"budget_epsilon": 0.1})
    days = days_of(given)
    told = ask(open_service, settings, FixedClock(NOW), days, "key")
    assert told == {}


def test_what_was_told_until_it_was_refused_counts(tmp_path: Path) -> None:
    given = setting(tmp_path)
    # Room for the series, two fresh releases, and no third.
    settings = settings_of(given, {"budget_epsilon": 1.2 + 2 * 0.3})
    days = days_of(given)
    told = ask(open_service, settings, FixedClock(NOW), days, "key")
    assert [what[1] for what in told if len(what) == 3] == [str(day) for day in days[:2]]
    assert ("mau", str(days[2])) in told
    assert ("dau", str(days[3])) not in told
    assert {len(rows) for rows in told.values()} == {1}
    assert json.loads(next(iter(told["dau", str(days[0])])))["secure"]


def test_rows_are_told_apart() -> None:
    first, second = {("dau", "1"): {"a"}, ("wau", "1"): {"b"}}, {("dau", "1"): {"a"}, ("wau", "1"): {"c"}}
    assert changes_between(first, first) == 0
    assert changes_between(first, second) == 1
    assert changes_between(first, {}) == 0
    assert together([first, second]) == {("dau", "1"): {"a"}, ("wau", "1"): {"b", "c"}}
