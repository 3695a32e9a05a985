"""Releases by sketches on the command line, over real files, a real ledger and a real salt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dp.sketches import SKETCHES
from tests.conftest import Run
from tests.workbench.cli.common import PERIOD, generated_log, rows_of

pytestmark = pytest.mark.slow

SALT = "000102030405060708090a0b0c0d0e0f"
OTHER = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"


@pytest.fixture(autouse=True)
def _no_salt_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DPDAU_SALT", raising=False)
    monkeypatch.delenv("DPDAU_SALT_FILE", raising=False)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated_log(tmp_path_factory.mktemp("log"), 3000)


def sampled(log: Path, *more: object) -> tuple[object, ...]:
    return ("release", log, "--metric", "mau", *PERIOD, "--epsilon", 1, "--sketch", "fixed-rate", "--rate", 0.2, *more)


def test_a_sample_is_released_once_with_a_salt_that_is_made_and_kept(run: Run, log: Path, tmp_path: Path) -> None:
    first = run(*sampled(log, "--format", "json"))
    again = run(*sampled(log, "--format", "json"))
    rows = rows_of(first)
    assert first.stdout == again.stdout
    assert len(rows) == 60
    assert {(row["sketch"], row["rate"], row["secure"], row["epsilon_total"]) for row in rows} == {
        ("fixed-rate", 0.2, True, 1.0)
    }
    for row in rows:
        assert row["ci_low"] <= row["noise_low"] < row["estimate"] < row["noise_high"] <= row["ci_high"]
    assert "new salt in dpdau.salt" in first.stderr
    assert "new salt" not in again.stderr
    secret = tmp_path / "dpdau.salt"
    assert secret.stat().st_mode & 0o777 == 0o600
    (digits,) = (line.split()[-1] for line in secret.read_text().splitlines() if line and not line.startswith("#"))
    assert len(digits) == 32
    for result in (first, again):
        assert digits not in result.stdout + result.stderr
    assert digits.encode() not in (tmp_path / "dpdau.ledger").read_bytes()
    assert json.loads(run("budget", "--format", "json").stdout)["budgets"][0]["epsilon_spent"] == 1


def test_the_table_names_both_parts(run: Run, log: Path) -> None:
    shown = run(*sampled(log)).stdout
    assert "a sample of 20% of the users" in shown
    for column in ("sketch std", "noise low", "noise high", "ci low"):
        assert column in shown


def test_estimates_lie_around_the_counts(run: Run, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty salts, one day: the mean of 20 errors is within 4 of its standard deviations, and so is the spread."""
    truth = rows_of(run("exact", log, "--metric", "mau", *PERIOD, "--format", "json"))[-1]["count"]
    scaled = []
    for number in range(20):
        monkeypatch.setenv("DPDAU_SALT", f"{number:032x}")
        (*_, row) = rows_of(run(*sampled(log, "--simulate", "--seed", number, "--format", "json")))
        scaled.append((row["estimate"] - truth) / np.hypot(row["std"], np.sqrt(truth * 0.8 / 0.2)))
    assert abs(np.mean(scaled)) < 4 / np.sqrt(20)
    assert 0.5 < np.std(scaled) < 1.6


def test_a_stream_goes_on_across_a_rotation_but_not_with_another_past(run: Run, log: Path, tmp_path: Path) -> None:
    command = [*sampled(log, "--stream", "s", "--horizon", 60, "--format", "json")]
    part = ["2024-01-31" if word == "2024-02-29" else word for word in command]
    january = rows_of(run(*part))
    run("salt", "rotate", "--from", "2024-02-10")
    rows = rows_of(run(*command))
    assert rows[:31] == january
    assert len(rows) == 60
    (tmp_path / "dpdau.salt").unlink()
    assert "s" in run(*command, code=1).stderr


def test_a_rotation_of_the_past_is_refused(run: Run, log: Path) -> None:
    command = [*sampled(log, "--stream", "s", "--horizon", 60, "--format", "json")]
    run(*["2024-01-31" if word == "2024-02-29" else word for word in command])
    run("salt", "rotate", "--from", "2024-01-15")
    refused = run(*command, code=1).stderr
    assert "cannot be continued: the log's past is not what it was" in refused
    assert "no salt may come into force on a day that is published already" in refused


def test_an_odd_bound_does_not_go_with_a_salt_that_changes(
    run: Run, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPDAU_SALT", f"2000-01-01 {SALT}\n2024-02-10 {OTHER}")
    assert "must be even" in run(*sampled(log, "--unit", "user", "--w-bound", 3), code=1).stderr
    run(*sampled(log, "--unit", "user", "--w-bound", 4))


def test_a_second_rotation_does_not_go_with_whole_users(run: Run, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In, out and in again: two runs where W_BOUND 2 promises one."""
    monkeypatch.setenv("DPDAU_SALT", f"2000-01-01 {SALT}\n2024-01-10 {OTHER}\n2024-02-20 {OTHER[::-1]}")
    command = sampled(log, "--unit", "user", "--w-bound", 4)
    assert "with unit 'user' one salt may change" in run(*command, code=1).stderr
    run(*sampled(log))


def test_a_bitmap_is_released_as_the_count_is(run: Run, log: Path) -> None:
    for bound in (("--unit", "user-day"), ("--unit", "user", "--w-bound", 4)):
        command = ("release", log, *PERIOD, "--epsilon", 1, "--simulate", "--seed", 1, "--format", "json", *bound)
        exact, bitmap = rows_of(run(*command)), rows_of(run(*command, "--sketch", "bitmap"))
        assert [row["estimate"] for row in bitmap] == [row["estimate"] for row in exact]
        assert {row["sketch"] for row in bitmap} == {"bitmap"}


@pytest.mark.parametrize("sketch", [name for name, family in SKETCHES.items() if family.refusal])
def test_a_sketch_without_a_proof_is_refused_with_the_reason(run: Run, log: Path, sketch: str, tmp_path: Path) -> None:
    refused = run("release", log, "--metric", "mau", *PERIOD, "--epsilon", 1, "--sketch", sketch, code=2).stderr
    assert SKETCHES[sketch].refusal.rstrip(".") in refused
    assert not (tmp_path / "dpdau.ledger").exists()


def test_what_does_not_go_together_is_refused(run: Run, log: Path) -> None:
    command = ("release", log, "--metric", "mau", *PERIOD, "--epsilon", 1)
    assert "needs a --rate" in run(*command, "--sketch", "fixed-rate", code=2).stderr
    assert "--rate goes with" in run(*command, "--rate", 0.1, code=2).stderr
    assert "--engine duckdb only" in run(*sampled(log, "--engine", "local[1]"), code=2).stderr
    assert "rate is 1, which keeps everybody" in run(*command, "--sketch", "fixed-rate", "--rate", 1, code=1).stderr
    assert (
        len(rows_of(run(*sampled(log, "--horizon", 99_999_999, "--simulate", "--seed", 1, "--format", "json")))) == 60
    )
    assert "rate is -1.0" in run(*command, "--sketch", "fixed-rate", "--rate", -1, code=1).stderr


@pytest.mark.parametrize("mechanism", ["laplace", "optimal", "sparse-vector", "honaker-tree"])
def test_samples_go_with_other_mechanisms_and_consistent_counts(run: Run, log: Path, mechanism: str) -> None:
    consistent = () if mechanism == "sparse-vector" else ("--consistent",)
    command = ("release", log, *PERIOD, "--epsilon", 2, "--sketch", "fixed-rate", "--rate", 0.2, "--unit", "user")
    rows = rows_of(run(*command,
                       "--w-bound", 4, "--mechanism", mechanism, "--format", "json", *consistent))  # fmt: skip
    assert len(rows) == 180
    if consistent:
        by_day: dict[str, list[int]] = {}
        for row in rows:
            by_day.setdefault(row["day"], []).append(row["count"])
        assert all(counts == sorted(counts) for counts in by_day.values())
