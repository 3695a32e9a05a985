"""Mechanisms, sketches and accountants of another package: installed, found by name, released with.

`tests/extension` is such a package, and the documentation of how to write one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

UV = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
FREE = ("--from", "2024-01-01", "--to", "2024-02-09")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, and the package installed beside it."""
    if not Path(UV).exists():
        pytest.skip("uv is not installed")
    made = tmp_path_factory.mktemp("extension")
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation", "--python", sys.executable,
         "--target", str(made / "installed"), str(ROOT / "tests" / "extension")],
        check=True, capture_output=True,
    )  # fmt: skip
    run(made, "generate", "--users", "300", "--days", "40", "--seed", "1", "--out", "log.csv")
    return made


def run(folder: Path, *words: str, installed: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "installed") if installed else ""}
    command = str(Path(sys.executable).with_name("dpdau"))
    return subprocess.run([command, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["weekly", "held"])
def test_a_mechanism_is_released_with(folder: Path, mechanism: str) -> None:
    shown = run(
        folder, "release", "log.csv", "--metric", "mau", "--epsilon", "1", "--mechanism", mechanism, *FREE,
        "--ledger", f"{mechanism}.ledger", "--format", "json",
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    rows = json.loads(shown.stdout)
    assert len(rows) == 40
    assert {(row["mechanism"], row["secure"]) for row in rows} == {(mechanism, True)}
    assert rows[0]["delta"] == (0.0 if mechanism == "held" else 1e-6)
    assert len({row["estimate"] for row in rows}) == (1 if mechanism == "held" else 40)


@pytest.mark.slow
def test_it_is_compared_and_listed_where_it_is_installed_and_unknown_elsewhere(folder: Path) -> None:
    table = run(folder, "mechanisms", "--mechanism", "weekly", "--mechanism", "held", "--no-bound", "--format", "json")
    assert table.returncode == 0, table.stderr
    weekly, held = json.loads(table.stdout)
    assert weekly["rms_std"] > 20
    assert (held["memory"], held["rms_std"]) == (1, None)
    missing = run(folder, "mechanisms", "--mechanism", "weekly", installed=False)
    assert missing.returncode == 2
    assert "'weekly' is not one of" in missing.stderr


@pytest.mark.slow
def test_a_mechanism_that_is_not_linear_is_audited_by_its_own_neighbours_and_tried(folder: Path) -> None:
    """One file and an entry point: nothing else knows of it."""
    audited = run(folder, "audit", "--mechanism", "held", "--horizon", "20", "--trials", "40000", "--format", "json")
    assert audited.returncode == 0, audited.stderr
    (row,) = json.loads(audited.stdout)
    assert 0.7 < row["measured"] < 1
    assert not row["flagged"]
    script = """
import numpy as np
from dp.units import protected_class
from experiments.kinds.mechanisms.trials import Observed, trial_errors

counts = np.arange(50, 70)
observed = Observed(counts, counts, np.array(()))
generator = np.random.default_rng(1)
found = trial_errors("held", protected_class("user-day", 7, 2, 20), (1.0, 1e-6, 1.0), observed, 500, generator)
print(found.delta, found.memory, bool(np.allclose(found.errors.mean(axis=0) + counts, 50, atol=0.5)))
"""
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(folder / "installed")},
    )  # fmt: skip
    assert shown.stdout == "0.0 1 True\n", shown.stderr


@pytest.mark.slow
def test_an_accountant_and_a_sketch_are_found(folder: Path) -> None:
    spec = folder / "spec.toml"
    spec.write_text('[[release]]\nmechanism = "pure"\nepsilon = 0.5\ncount = 2\n')
    composed = run(folder, "compose", str(spec), "--delta", "0", "--format", "json")
    assert composed.returncode == 0, composed.stderr
    epsilons = {row["accountant"]: row["epsilon"] for row in json.loads(composed.stdout)["accountants"]}
    assert (epsilons["naive"], epsilons["twice"]) == (1.0, 2.0)
    shown = run(folder, "compose", str(spec), "--delta", "0")
    assert shown.returncode == 0, shown.stderr
    assert "twice the sum" in shown.stdout
    script = "import dp.sketches as s; print(s.family_of('sorted-set').summary); s.family_of('nothing')"
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(folder / "installed")},
    )  # fmt: skip
    assert shown.stdout == "the set of all keys, from another package\n"
    assert "sketch is 'nothing'; choose one of exact" in shown.stderr
    assert "sorted-set" in shown.stderr
