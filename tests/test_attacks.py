"""Every attack is withstood by the code that releases, and each of its broken twins falls to it, by the right reading.

Power. An attack that counts the alarms of a test whose threshold was fixed beforehand shows more than a true claim once
in 10,000 readings; the twins, even in the quick runs that are tested here, are caught with a probability above 0.9999
(the tests of power compute both from the binomial and the normal distribution). All other readings are exact.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, norm

from dp.accounting.gaussian import epsilon_for, mu_for
from dp.audit.attacks import ATTACKS, OURS, Outcome, Reading, Setting, adaptive, differencing, run_attack, support
from dp.audit.attacks.change import measured_over_certified, runs
from dp.audit.attacks.late import by_day
from dp.audit.attacks.logs import Operation, day, log_of
from dp.audit.attacks.outcome import Attack
from dp.audit.attacks.poisoning import ADDED, KNOWN_SALTS, LIMIT, REGISTERS, SALTS, SAMPLE, USERS, highest_ranks
from dp.audit.attacks.power import mu_disproved
from dp.audit.attacks.repeated_query import TICKS
from dp.mechanisms import linear_design
from dp.sketches.keys import keys_of
from dp.units import protected_class
from tests.mechanism_instances import strategy_matrix

NOW = datetime(2026, 6, 1, 12)
QUICK = ("repeated-query", "support", "ledger")
"""Attacks that take less than a second."""

FALLS = {
    ("repeated-query", "noise drawn anew for every answer"): (
        "different answers", "noise that averaging removes", "under other names",
    ),
    ("differencing", "each series calibrated as if it were alone"): ("the best test of all series",),
    ("rejoin", "a counter of flips that erasure resets"): ("flips of the user", "damped-square-root"),
    ("rejoin", "two changes of salts"): ("flips of the user", "damped-square-root"),
    ("adaptive", "the same noise whenever a count returns"): ("answers that return",),
    ("adaptive", "half the noise"): ("the likelihood ratio",),
    ("late", "counting by day and not by arrival"): ("counts of published days", "changes before the arrival"),
    ("poisoning", "a salt that is known"): (
        "kmv, smallest keys: mean", "hll, highest ranks: mean", "all in the sample: mean", "none in the sample: mean",
    ),
    ("support", "Laplace noise drawn in floats"): ("off the grid", "neighbouring count cannot give"),
    ("ledger", "check, then insert"): (
        "charge at the same time", "tiny charges", "no amounts", "charges for one key", "under a key that was used",
    ),
    ("ledger", "a budget that resets itself every month"): ("clock went to and fro", "outside the period"),
}  # fmt: skip
"""Which readings of a twin must be beyond their limits, by a part of their names."""


def setting(folder: Path, seed: int = 20260701, quick: bool = True) -> Setting:
    return Setting(np.random.default_rng(seed), folder, NOW, quick)


def marked(*cases: tuple[str, ...]) -> list[object]:
    return [
        pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.slow, id=", ".join(case)) for case in cases
    ]


# --- The attacks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", marked(*((name,) for name in ATTACKS)))
def test_what_we_release_withstands(name: str, tmp_path: Path) -> None:
    outcome = run_attack(name, setting(tmp_path))
    assert [reading for reading in outcome.readings if not reading.held] == []
    assert outcome.held


@pytest.mark.parametrize(("name", "target"), marked(*FALLS))
def test_a_broken_twin_falls(name: str, target: str, tmp_path: Path) -> None:
    outcome = run_attack(name, setting(tmp_path), target)
    assert not outcome.held
    for part in FALLS[name, target]:
        assert any(part in reading.what and not reading.held for reading in outcome.readings), part


def test_every_twin_is_known_here() -> None:
    assert set(FALLS) == {(name, twin) for name, attack in ATTACKS.items() for twin in attack.twins}
    assert all(attack.twins for attack in ATTACKS.values())


@pytest.mark.parametrize("name", marked(*((name,) for name in ATTACKS if name not in ("rejoin", "adaptive"))))
def test_the_same_seed_gives_the_same_readings(name: str, tmp_path: Path) -> None:
    first, second = (run_attack(name, setting(tmp_path, seed=5)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", list(ATTACKS))
def test_a_threat_is_two_sentences(name: str) -> None:
    attack = ATTACKS[name]
    assert attack.threat.replace("Mironov 2012, ", "").count(". ") == 1
    assert attack.threat.endswith(".")
    assert "They win if" in attack.threat
    assert attack.criterion
    assert next(iter(attack.targets)) == OURS


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="attack is 'magic'; choose one of repeated-query"):
        run_attack("magic", setting(tmp_path))
    with pytest.raises(ValueError, match="target is 'magic'; support is made against dpdau, Laplace"):
        run_attack("support", setting(tmp_path), "magic")


# --- Readings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "limit", "held"), [(1, 1, True), (1.1, 1, False), (9, math.inf, True), (math.nan, 1, False)]
)
def test_a_reading_is_held_up_to_its_limit(measured: float, limit: float, held: bool) -> None:
    assert Reading("ε", measured, limit).held is held
    others = (Reading("more", 0, 0), Reading("ε", measured, limit))
    assert Outcome("name", "threat", "criterion", OURS, others).held is held


def test_an_outcome_is_plain_json() -> None:
    outcome = Outcome("name", "threat", "criterion", OURS, (Reading("ε", 0.5, 1.0), Reading("days", 8)))
    described = json.loads(json.dumps(outcome.describe(), allow_nan=False))
    assert described["held"] is True
    assert [reading["limit"] for reading in described["readings"]] == [1.0, None]
    assert Attack("", "", {OURS: lambda _: ()}).twins == ()


# --- Power -----------------------------------------------------------------------------------------------------------


def shown_range(mu: float, claimed: float, trials: int, quantile: float = 1e-5) -> tuple[float, float]:
    """Between what the μ lies that the best test shows, over the claim, but for a chance of 4·`quantile`."""
    right = norm.cdf(mu / 2)
    few, many = (int(binom.ppf(level, trials, right)) for level in (quantile, 1 - quantile))
    return (
        mu_disproved(trials - few, few, trials) / claimed,
        mu_disproved(trials - many, many, trials) / claimed,
    )


def test_power_of_differencing() -> None:
    claimed = mu_for(*differencing.GUARANTEE)
    # Three series, each with the whole μ.
    assert shown_range(math.sqrt(3) * claimed, claimed, 40_000)[0] > 1
    weakest, _ = shown_range(claimed, claimed, 40_000)
    assert weakest > 0.5
    # Beyond the claim lies what has a chance of 1e-4 or less.
    assert shown_range(claimed, claimed, 40_000, 5.1e-5)[1] < 1
    assert shown_range(claimed, claimed, 200_000)[0] > 0.8
    # A thousand releases would not do.
    assert shown_range(math.sqrt(3) * claimed, claimed, 1_000)[0] < 1


def test_power_of_the_adaptive_attack() -> None:
    claimed = mu_for(*adaptive.GUARANTEE)
    assert shown_range(2 * claimed, claimed, 1_000)[0] > 1
    assert shown_range(claimed, claimed, 1_000)[0] > 0.4
    assert shown_range(claimed, claimed, 1_000, 5.1e-5)[1] < 1
    # A test that is right every time disproves the claim.
    assert epsilon_for(mu_disproved(0, 1_000, 1_000), adaptive.GUARANTEE.delta) > adaptive.GUARANTEE.epsilon


def test_power_of_poisoning() -> None:
    """Sketches that were moved by 1.5 of their standard errors are seen; honest ones are not."""
    assert norm.sf(LIMIT - 1.5 * math.sqrt(SALTS)) > 0.9999
    assert 2 * norm.sf(LIMIT) == pytest.approx(1e-5)
    # Users who are not counted at all are the mildest of the poisons.
    moved = ADDED / SAMPLE.standard_error(USERS + ADDED)
    assert norm.sf(LIMIT - moved * math.sqrt(KNOWN_SALTS)) > 0.9999


def test_nothing_is_shown_by_a_test_that_guesses() -> None:
    assert mu_disproved(500, 500, 1_000) == 0.0
    assert mu_disproved(500, 510, 1_000) == 0.0
    assert mu_disproved(0, 0, 1_000) == 0.0


# --- What the attacks are made of ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_averaging_a_twin_leaves_one_part_in_the_root_of_the_number_of_questions(tmp_path: Path) -> None:
    outcome = run_attack("repeated-query", setting(tmp_path, quick=False), "noise drawn anew for every answer")
    removed = next(reading.measured for reading in outcome.readings if "removes" in reading.what)
    # The ratio of two lengths of TICKS numbers that depend on each other.
    assert TICKS == 24
    assert 1 - 2 / math.sqrt(1_000) < removed < 1 - 0.5 / math.sqrt(1_000)


@pytest.mark.parametrize("name", ["laplace", "binary-tree", "damped-square-root", "optimal"])
def test_a_change_is_measured_by_the_strategy_s_matrix(name: str) -> None:
    design = linear_design(name, protected_class("user", 1, 4, 20))
    others = np.arange(100, 120)
    change = np.zeros(20, dtype=np.int64)
    change[3:6] = change[9:17] = 1
    measured = strategy_matrix(design.strategy, 20) @ change
    expected = np.linalg.norm(measured, ord=1 if name == "laplace" else 2) / design.sensitivity
    assert measured_over_certified(design, others + change, others) == pytest.approx(expected, rel=1e-12)
    assert runs(change) == 2
    assert runs(np.zeros(20, dtype=np.int64)) == 0


def test_a_log_is_in_the_order_of_arrival_and_can_be_backdated(tmp_path: Path) -> None:
    operations = [Operation("ann", 3, "-", 5), Operation("ann", 3, "+", 4), Operation("ann", 6, "erase", 6)]
    query = 'SELECT op, "at" - (SELECT MIN("at") FROM operations) FROM operations ORDER BY seq'
    with log_of(operations, tmp_path) as log:
        assert log.connection.execute(query).fetchall() == [(1, 0), (-1, 1), (0, 2)]
        assert by_day(log).connection.execute(query).fetchall() == [(1, 0), (-1, 0), (0, 3)]
    assert day(31).isoformat() == "2026-02-01"


def test_the_attacker_reads_hll_s_registers_right() -> None:
    """Of many candidates those are chosen that do to the sketch what all would do."""
    keys = keys_of([f"mallory {number}" for number in range(2_000)], bytes(16))
    chosen = highest_ranks(REGISTERS, keys)
    assert len(chosen) <= 2**REGISTERS.lg_k
    # A merged sketch estimates by its registers alone.
    every, few = (
        REGISTERS.empty().add(keys).merge(REGISTERS.empty().add(some)).to_bytes() for some in (keys, keys[chosen])
    )
    assert every == few
    alone = REGISTERS.empty().add(keys[chosen])
    assert alone.merge(alone).estimate() == REGISTERS.from_bytes(every).merge(REGISTERS.from_bytes(few)).estimate()


def test_the_inspection_of_floats_knows_what_each_count_can_give() -> None:
    generator = np.random.default_rng(3)
    for count in (0, 1):
        numbers = support.textbook(generator, 2_000, count)
        assert support.textbook_gives(numbers, count).all()
        assert support.textbook_gives(numbers, 1 - count).mean() < 0.5
    # Numbers that nothing gives, and numbers that are not on the grid.
    assert not support.textbook_gives(np.nextafter(numbers, np.inf), count).all()
    assert support.on_grid(np.array([0.5, -3.0, 2.0**-24, 2.0**-25, 0.1])).tolist() == [True, True, True, False, False]


def test_an_inspection_that_proves_nothing_is_refused() -> None:
    useless = support.Released(lambda count: np.array([float(count)]), lambda numbers, count: numbers > 7)
    with pytest.raises(RuntimeError, match="proves nothing"):
        support.attack(useless)
