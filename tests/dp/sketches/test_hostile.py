"""What somebody who does not mean well, or is merely unlucky, does to sketches: extremes, other pasts, secrets."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from dp.accounting.composition import Guarantee
from dp.intervals.sample import fewest_users, most_users
from dp.ledger import LedgerError, open_ledger
from dp.mechanisms.joint import Exceptions
from dp.release import Request, Sample, plan_release
from dp.sketches import SKETCHES, SketchDesign
from dp.sketches.exact import Exact
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.keys import keys_of
from dp.sketches.salts import Salt, Salts
from dp.sketches.windows import DailySketches
from tests.conftest import Run
from tests.laws import each
from tests.oracles.stated import publish, simulate_rows

FIRST = date(2026, 1, 1)
TICKS = 24
RATE = 0.2
USUAL = Request(
    {"mau": 30}, "user-day", 2, Guarantee(1.0, 1e-6), "damped-square-root", FIRST, TICKS, {"mau": 1.0},
    sketch="fixed-rate", sample=Sample(RATE, "a1b2c3d4"),
)  # fmt: skip
EVERYBODY = replace(USUAL, sketch="exact", sample=None)
COUNTS = {"mau": np.arange(4000, 4000 + TICKS)}
SECRET = b"SECRETSECRETSECR"


# --- Secrets ---------------------------------------------------------------------------------------------------------


def test_a_store_of_daily_sketches_does_not_show_its_salt() -> None:
    salts = Salts(((date.min, Salt(SECRET)),))
    kept = DailySketches(Exact(), salts, 7, {}).add(FIRST, lambda key: keys_of(["ann"], getattr(key, "key", key)))
    assert kept.merged(FIRST, 7).estimate() == 1
    assert "SECRET" not in repr(kept)


@pytest.mark.parametrize("name", [name for name, family in SKETCHES.items() if "salt" in family.example])
def test_a_design_with_a_salt_does_not_show_it(name: str) -> None:
    family = SKETCHES[name]
    design = family.make(**{**family.example, "salt": SECRET})
    assert "SECRET" not in repr(design) + repr(design.empty())
    with pytest.raises(ValueError, match="salt has 7 bytes") as refused:
        family.make(**{**family.example, "salt": SECRET[:7]})
    assert "SECRET" not in str(refused.value)


# --- Another sample, or none, is another stream ----------------------------------------------------------------------


@each(
    "other",
    [
        replace(USUAL, sample=Sample(0.25, "a1b2c3d4")),
        replace(USUAL, sample=Sample(RATE, "ffffffff")),
        EVERYBODY,
        replace(EVERYBODY, sketch="bitmap"),
    ],
)
def test_a_stream_is_not_continued_with_another_sketch(tmp_path: Path, other: Request) -> None:
    """The counts are the same throughout, so that nothing but the parameters can tell."""
    now = datetime(2026, 6, 1)
    with open_ledger(tmp_path / "ledger") as ledger:
        ledger.create_budget("default", Guarantee(5.0, 1e-3), FIRST, None)
        publish(ledger, "s", "default", plan_release(USUAL), {"mau": COUNTS["mau"][:10]}, now)
        with pytest.raises(LedgerError):
            publish(ledger, "s", "default", plan_release(other), COUNTS, now)
        assert ledger.budget("default").remaining.epsilon == 4.0


def test_exact_and_bitmap_are_two_streams(tmp_path: Path) -> None:
    now = datetime(2026, 6, 1)
    with open_ledger(tmp_path / "ledger") as ledger:
        ledger.create_budget("default", Guarantee(5.0, 1e-3), FIRST, None)
        publish(ledger, "s", "default", plan_release(EVERYBODY), COUNTS, now)
        with pytest.raises(LedgerError):
            publish(ledger, "s", "default", plan_release(replace(EVERYBODY, sketch="bitmap")), COUNTS, now)


# --- Salts that change -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_windows_that_hang_together_need_one_sample() -> None:
    """Also with a W_BOUND that is even and a single change."""
    request = replace(
        USUAL, windows={"dau": 1, "mau": 30}, shares={"dau": 1.0, "mau": 1.0}, unit="user", on_time=Exceptions(0, 0)
    )
    plan_release(request)
    with pytest.raises(ValueError, match="on_time needs one sample"):
        plan_release(replace(request, sample=Sample(RATE, "a1b2c3d4", ((5, "y5"),))))


def test_the_longest_of_several_windows_says_how_far_salts_are_apart() -> None:
    request = replace(USUAL, windows={"dau": 1, "wau": 7}, shares={"dau": 1.0, "wau": 1.0})
    plan_release(replace(request, sample=Sample(RATE, "a1b2c3d4", ((5, "y5"), (12, "y12")))))
    with pytest.raises(ValueError, match="7 days apart"):
        plan_release(replace(request, sample=Sample(RATE, "a1b2c3d4", ((5, "y5"), (11, "y11")))))


def test_salts_that_change_within_an_endless_horizon_are_seen(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long after the last tick that is asked for."""
    log = tmp_path / "log.csv"
    log.write_text("user,day\nann,2024-01-01\nbob,2024-01-02\n")
    command = ("release", log, "--metric", "mau", "--from", "2024-01-01", "--to", "2024-01-03", "--epsilon", 1,
               "--horizon", "unlimited", "--sketch", "fixed-rate", "--rate", 0.5,
               "--simulate", "--seed", 1)  # fmt: skip
    lines = [f"2000-01-01 {1:032x}", f"2031-01-01 {2:032x}"]
    monkeypatch.setenv("DPDAU_SALT", "\n".join([*lines, f"2031-01-31 {3:032x}"]))
    run(*command)
    monkeypatch.setenv("DPDAU_SALT", "\n".join([*lines, f"2031-01-30 {3:032x}"]))
    assert "30 days apart" in run(*command, code=1).stderr


# --- Keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_huge_id_among_small_ones_changes_nobody_s_key() -> None:
    """From 2^19 bytes on the number of words no longer fits the 16 bits by which ids are sorted."""
    ids = ["x" * 2**19, *("bob" * number for number in range(12)), "y" * (2**19 + 8), "eve"]
    assert keys_of(ids, SECRET).tolist() == [int(keys_of([one], SECRET)[0]) for one in ids]


# --- Intervals of mechanisms whose noise is bounded, not known -------------------------------------------------------


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_half_of_what_may_be_missed_is_left_for_the_sample(level: float) -> None:
    """The noise's part is that of a count at the level 1 − α/2; at 1 − α it would be narrower."""
    changes = {"mechanism": "sparse-vector", "ci_level": level}
    sampled = simulate_rows(plan_release(replace(USUAL, **changes)), COUNTS, 7)
    halved, whole = (
        simulate_rows(plan_release(replace(EVERYBODY, mechanism="sparse-vector", ci_level=one)), COUNTS, 7)
        for one in ((1 + level) / 2, level)
    )
    for row, wide, narrow in zip(sampled, halved, whole, strict=True):
        if row["noise_low"] is None:
            continue
        assert row["noise_low"] == pytest.approx(wide["ci_low"] / RATE)
        assert row["noise_high"] == pytest.approx(wide["ci_high"] / RATE)
        assert row["noise_high"] > narrow["ci_high"] / RATE


def test_the_bound_on_frozen_users_is_raised_to_all_users() -> None:
    """At α/2 for the sample and α/2 for the tests of the mechanism."""
    request = replace(USUAL, unit="user", mechanism="adaptive-flippancy", guarantee=Guarantee(4.0, 1e-6))
    plan = plan_release(request)
    assert isinstance(plan.freeze, tuple)
    counts = np.column_stack([np.full((TICKS, len(plan.freeze)), 900), np.zeros((TICKS, len(plan.freeze)), int)])
    halved = replace(request, sketch="exact", sample=None, ci_level=0.975)
    rows, of_all = (simulate_rows(plan_release(one), {"mau": counts}, 7) for one in (request, halved))
    for row, counted in zip(rows, of_all, strict=True):
        assert row["w_bound"] == counted["w_bound"]
        assert row["bias_bound"] == most_users(np.array([counted["bias_bound"]]), RATE, 0.025)[0]
        assert row["bias_bound"] > counted["bias_bound"] / RATE or counted["bias_bound"] == 0


@each("whole", [1, 4, 37])
def test_sizes_between_whole_numbers_are_those_that_a_sample_can_have(whole: int) -> None:
    """A sample of at least 3.2 users has at least 4; one of at most 3.7 has at most 3."""
    between = np.array([whole - 0.8, whole - 0.3, whole])
    assert len(set(fewest_users(between, 0.1, 0.0125).tolist())) == 1
    between = np.array([whole, whole + 0.3, whole + 0.8])
    assert len(set(most_users(between, 0.1, 0.0125).tolist())) == 1


# --- Extremes --------------------------------------------------------------------------------------------------------


def test_bytes_of_users_whom_the_rate_does_not_keep_are_refused() -> None:
    everybody = np.arange(-(2**63), 2**63 - 1, 2**57, dtype=np.int64)
    data = FixedRate(1.0).empty().add(everybody).to_bytes()
    assert FixedRate(1.0).from_bytes(data).estimate() == len(everybody)
    with pytest.raises(ValueError, match=r"does not keep"):
        FixedRate(0.5).from_bytes(data)


@pytest.mark.parametrize("name", ["order-invariant", "fm"])
def test_full_registers_say_that_nothing_is_known(name: str) -> None:
    family = SKETCHES[name]
    design = family.make(**family.example)
    count = len(design.empty().to_bytes())
    highest = 0
    while _is_sketch(design, bytes([highest + 1]) * count):
        highest += 1
    full = design.from_bytes(bytes([highest]) * count)
    assert full.estimate() == math.inf
    assert full.bounds(2)[1] == math.inf


def _is_sketch(design: SketchDesign, data: bytes) -> bool:
    try:
        design.from_bytes(data)
    except ValueError:
        return False
    return True


def test_a_horizon_beyond_the_calendar_is_a_number_like_any_other(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPDAU_SALT", "00112233445566778899aabbccddeeff")
    log = tmp_path / "log.csv"
    log.write_text("user,day\nann,2024-01-01\nbob,2024-01-02\n")
    run("release", log, "--metric", "dau", "--from", "2024-01-01", "--to", "2024-01-03", "--epsilon", 1, "--simulate",
        "--seed", 1, "--horizon", 3_000_000, "--sketch", "fixed-rate", "--rate", 0.5)  # fmt: skip
