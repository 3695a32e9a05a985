"""Every attack is withstood by the code that releases, and each of its broken twins falls to it, by the right reading.

Power. An attack that counts the alarms of a test whose threshold was fixed beforehand shows more than a true claim once
in 10,000 readings; the twins, even in the quick runs that are tested here, are caught with a probability above 0.9999
(the tests of power compute both from the binomial and the normal distribution). Votes on noise err as
tests/dp/auditing/test_closeness.py states. All other readings are exact.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, norm

from dp.accounting.gaussian import epsilon_for, mu_for
from dp.auditing.attacks import (
    ATTACKS,
    OURS,
    Observation,
    Outcome,
    Setting,
    adaptive,
    attack_of,
    differencing,
    rejoin,
    run_attack,
    support,
)
from dp.auditing.attacks.change import measured_over_certified
from dp.auditing.attacks.fixed_threshold import ATTACK_CONFIDENCE, mu_lower_bound
from dp.auditing.attacks.late import by_day
from dp.auditing.attacks.logs import LogRow, day, log_of_rows
from dp.auditing.attacks.outcome import Attack
from dp.auditing.attacks.poisoning import ADDED, KNOWN_SALTS, LIMIT, REGISTERS, SALTS, SAMPLE, USERS, highest_ranks
from dp.auditing.attacks.processes import at_once
from dp.auditing.attacks.repeated_query import TICKS
from dp.auditing.bounds import Alarms, epsilon_bound
from dp.mechanisms import linear_design
from dp.mechanisms.sparse_vector import SparseVector, calibrated
from dp.sketches.keys import keys_of
from dp.sketches.salts import Salt, Salts
from dp.units import protected_class
from tests.oracles.mechanism_instances import strategy_matrix

pytestmark = pytest.mark.slow

NOW = datetime(2026, 6, 1, 12)
QUICK = ("repeated-query", "support")
"""Attacks that take less than a second."""

FALLS = {
    ("repeated-query", "noise drawn anew for every answer"): (
        "different answers", "noise that averaging removes", "under other names",
    ),
    ("rewritten-log", "a stream named by the bytes of the log"): tuple(
        f"{what}: rewritings with {other}"
        for what in ("a user-day outside", "a user-day within", "the same rows")
        for other in ("another name or charge", "other bytes", "another charge after it")
    ),
    ("differencing", "each series calibrated as if it were alone"): ("the best test of all series",),
    ("rejoin", "a counter of flips that erasure resets"): (
        "flips of the user", "damped-square-root", "salts and compactions: flips of the user",
        "salts and compactions: change of the measurements over the certificate, damped-square-root",
    ),
    ("rejoin", "frozen users who thaw after an erasure"): (
        "in the counts of a level", "the number of frozen users of a level", "became fewer", "refused",
        "the certificate of the level",
    ),
    ("rejoin", "two changes of salts"): ("flips of the user", "damped-square-root"),
    ("adaptive", "the same noise whenever a count returns"): ("answers that return",),
    ("adaptive", "half the noise"): ("the likelihood ratio",),
    ("adaptive", "sparse-vector with edges that keep their noise"): ("the lowest answer",),
    ("adaptive", "sparse-vector releasing what its test compared"): ("the lowest answer",),
    ("late", "counting by day and not by arrival"): ("counts of published days", "changes before the arrival"),
    ("poisoning", "a salt that is known"): (
        "kmv, smallest keys: mean", "hll, highest ranks: mean", "all in the sample: mean", "none in the sample: mean",
    ),
    ("support", "Laplace noise drawn in floats"): ("off the grid", "neighbouring count cannot give"),
    ("ledger", "check, then insert"): (
        "threads that charge", "processes that charge", "tiny charges",
        "no amounts", "charges for one key", "under a key that was used",
    ),
    ("ledger", "a budget that resets itself every month"): ("clock went to and fro", "outside the period"),
    ("noise", "a scale a fifth too small"): ("secure draws are not close to seeded ones", "close to the claimed law"),
    ("noise", "a mean a quarter of a scale off"): ("secure draws are not close to seeded", "close to the claimed law"),
    ("noise", "the variance as deviation"): ("secure draws are not close to seeded ones", "close to the claimed law"),
    ("noise", "Laplace for Gaussian"): ("secure draws are not close to seeded ones", "close to the claimed law"),
    ("noise", "no draw beyond one and a half deviations"): (
        "secure draws are not close to seeded ones", "close to the claimed law",
    ),
    ("noise", "every draw twice"): ("in pairs with the draw before",),
    ("noise", "a generator seeded anew at every call"): ("in pairs with another call",),
    ("noise", "draws in single precision"): ("even in their last bits",),
    ("noise", "half the noise"): (
        "close to the claimed law", "(ε, δ)-private", "gaussian: votes of 5 that released", "damped-square-root: votes",
    ),
}  # fmt: skip
"""Which readings of a twin must be beyond their limits, by a part of their names."""


def setting(folder: Path, seed: int = 20260701, quick: bool = True) -> Setting:
    return Setting(np.random.default_rng(seed), folder, NOW, quick)


def marked(*cases: tuple[str, ...]) -> list[object]:
    return [
        pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.slow, id=", ".join(case)) for case in cases
    ]


# --- The attacks -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """What an attack read the first time, kept because some of them take seconds."""
    return functools.cache(lambda name: run_attack(name, setting(tmp_path_factory.mktemp("first"))))


@pytest.mark.parametrize("name", marked(*((name,) for name in ATTACKS)))
def test_what_we_release_withstands(name: str, first_run: Callable[[str], Outcome]) -> None:
    outcome = first_run(name)
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


@pytest.mark.parametrize("name", marked(*((name,) for name in ATTACKS)))
def test_the_same_seed_gives_the_same_readings(name: str, first_run: Callable[[str], Outcome], tmp_path: Path) -> None:
    """Noise that is seeded is the same; what is drawn by OpenDP, and who wins a race, shows in no reading."""
    assert run_attack(name, setting(tmp_path)) == first_run(name)


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
    assert Observation("ε", measured, limit).held is held
    others = (Observation("more", 0, 0), Observation("ε", measured, limit))
    assert Outcome("name", "threat", "criterion", OURS, others).held is held


def test_an_outcome_is_plain_json() -> None:
    outcome = Outcome("name", "threat", "criterion", OURS, (Observation("ε", 0.5, 1.0), Observation("days", 8)))
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
        mu_lower_bound(trials - few, few, trials) / claimed,
        mu_lower_bound(trials - many, many, trials) / claimed,
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
    assert epsilon_for(mu_lower_bound(0, 1_000, 1_000), adaptive.GUARANTEE.delta) > adaptive.GUARANTEE.epsilon


def test_power_against_sparse_vector_s_twins() -> None:
    """By the exact probabilities of its alarms a twin escapes once in 10,000 runs or less; half as many series miss."""
    # Errors are geometric noise, all but exponential, above what is constant: the lowest of LEARNT − 1 of them or more.
    scale = 2 / adaptive.PURE.epsilon
    lowest = adaptive.LEARNING_RELEASES - 1
    recognised = lowest / (lowest + 1)
    mistaken = math.exp(-1 / scale) * recognised

    def caught(trials: int) -> float:
        count = np.arange(trials + 1)
        shown = np.array([epsilon_bound(Alarms(true, trials, count, trials), 0.0, ATTACK_CONFIDENCE) for true in count])
        chance = np.outer(binom.pmf(count, trials, recognised), binom.pmf(count, trials, mistaken))
        return float(chance[shown > adaptive.PURE.epsilon].sum())

    assert caught(700) > 0.9999
    assert caught(350) < 0.99


def test_power_of_poisoning() -> None:
    """Sketches that were moved by 1.5 of their standard errors are seen; honest ones are not."""
    assert norm.sf(LIMIT - 1.5 * math.sqrt(SALTS)) > 0.9999
    assert 2 * norm.sf(LIMIT) == pytest.approx(1e-5)
    # Users who are not counted at all are the mildest of the poisons.
    moved = ADDED / SAMPLE.standard_error(USERS + ADDED)
    assert norm.sf(LIMIT - moved * math.sqrt(KNOWN_SALTS)) > 0.9999


def test_nothing_is_shown_by_a_test_that_guesses() -> None:
    assert mu_lower_bound(500, 500, 1_000) == 0.0
    assert mu_lower_bound(500, 510, 1_000) == 0.0
    assert mu_lower_bound(0, 0, 1_000) == 0.0


@pytest.mark.parametrize("kind", [SparseVector, adaptive.EdgesKeepNoise, adaptive.ReleasesComparedCount])
def test_the_errors_of_sparse_vector_are_as_its_power_assumes(kind: type[SparseVector]) -> None:
    """Noise of a test, less that of an edge: fresh for ours, one for all for one twin, and none for the other."""
    one = calibrated(protected_class("user-day", 1, 2, None), 1, *adaptive.PURE)
    mechanism = kind(one.hull, one.horizon, one.releases, one.threshold, one.noise)
    draws = np.random.default_rng(11)
    found = np.array([adaptive.steer(mechanism, False, draws) for _ in range(300)])
    above = found[:, 0] - found[:, 1]
    scale = 2 / adaptive.PURE.epsilon
    mistaken = np.count_nonzero(above >= 1) / len(above)
    expected = math.exp(-1 / scale) * (adaptive.LEARNING_RELEASES - 1) / adaptive.LEARNING_RELEASES
    if kind is SparseVector:
        assert found[:, 0].min() < -scale
        assert mistaken > 0.9
    else:
        # Five standard errors.
        assert mistaken == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / len(above)))
    assert (found[:, 0] >= 0).all() == (kind is adaptive.ReleasesComparedCount)


# --- What the attacks are made of ------------------------------------------------------------------------------------


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


def test_a_log_is_in_the_order_of_arrival_and_can_be_backdated(tmp_path: Path) -> None:
    operations = [LogRow("ann", 3, "-", 5), LogRow("ann", 3, "+", 4), LogRow("ann", 6, "erase", 6)]
    query = 'SELECT op, "at" - (SELECT MIN("at") FROM operations) FROM operations ORDER BY seq'
    with log_of_rows(operations, tmp_path) as log:
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
        numbers = support.textbook_laplace(generator, 2_000, count)
        assert support.textbook_support(numbers, count).all()
        assert support.textbook_support(numbers, 1 - count).mean() < 0.5
    # Numbers that nothing gives, and numbers that are not on the grid.
    assert not support.textbook_support(np.nextafter(numbers, np.inf), count).all()
    assert support.on_grid(np.array([0.5, -3.0, 2.0**-24, 2.0**-25, 0.1])).tolist() == [True, True, True, False, False]


def test_an_inspection_that_proves_nothing_is_refused() -> None:
    useless = support.ReleaseSupport(lambda count: np.array([float(count)]), lambda numbers, count: numbers > 7)
    with pytest.raises(RuntimeError, match="proves nothing"):
        support.attack(useless)


def test_processes_work_at_once_and_apart() -> None:
    answers = at_once(eval, ["'a', __import__('os').getpid()", "'b', __import__('os').getpid()"])
    assert [name for name, _ in answers] == ["a", "b"]
    assert len({process for _, process in answers} | {os.getpid()}) == 3
    assert at_once(eval, []) == []


def test_a_process_that_fails_is_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="one of 2 processes"):
        at_once(math.sqrt, [4.0, -1.0])
    assert "math domain error" in capfd.readouterr().err


def test_counts_of_a_compacted_sample_are_those_of_the_whole_log(tmp_path: Path) -> None:
    """Under a change of salts, with tombstones; without them they are not."""
    given = setting(tmp_path)
    salts = Salts(((date.min, Salt(bytes(16))), (day(12), Salt(bytes(range(16))))))
    user = rejoin._in_samples(salts, (True, True))
    operations = [operation._replace(user=user) for operation in rejoin.come_and_go(2, 2)]
    operations += [LogRow(f"user {number}", 3, "+", 3) for number in range(8)]
    whole, compacted, forgotten = (
        rejoin.counts_with_restarts(
            log_of_rows(operations, given.new_folder()), stops, given, remember, rejoin.sampled_counts(salts)
        )
        for stops, remember in (((), True), ((2, 14), True), ((2, 14), False))
    )
    assert all((whole[asked] == compacted[asked]).all() for asked in whole)
    assert any((whole[asked] != forgotten[asked]).any() for asked in whole)


def test_a_module_is_an_attack() -> None:
    attack = attack_of(support)
    assert attack.criterion == support.CRITERION
    assert attack.threat.startswith("Somebody looks")
    readings = (Observation("a number", 0.0, 1.0),)
    mine = {"mine": Attack("Somebody. They win if.", "It holds.", {OURS: lambda _: readings})}
    assert run_attack("mine", setting(Path()), attacks=mine).readings == readings
    with pytest.raises(ValueError, match="attack is 'support'; choose one of mine"):
        run_attack("support", setting(Path()), attacks=mine)
