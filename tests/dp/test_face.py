"""The public face: `import dp`, what it shows, and that its examples run in an empty folder."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import dp
from dp.counts import Counts
from dp.ledger import open_ledger
from dp.log import arrived_fingerprint, read_log, write_canonical
from dp.log.generate import generate, write_log
from dp.presence import compact
from dp.presence.tombstone_file import Compaction, read_compaction, write_compaction
from dp.release import default_stream, log_name
from dp.release.compacting import adopt, compacted
from dp.sketches.salts import Salt, Salts
from tests.laws import each
from tests.places import ROOT
from workbench.cli.main import main

NOW = datetime(2026, 6, 1)
DATES = {"first": "2024-01-01", "last": "2024-02-09"}


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    write_log(generate(400, 40, delete_rate=0.2, erase_rate=0.02, seed=7), path)
    return path


def test_importing_it_loads_nothing_heavy() -> None:
    script = (
        "import sys; before = set(sys.modules); import dp; "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "['dp']"


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert sorted(dp.__all__) == sorted(set(dp.__all__))
    assert set(dp.__all__) <= set(dir(dp))
    for name in dp.__all__:
        assert getattr(dp, name) is not None
        if callable(getattr(dp, name)):
            assert getattr(dp, name).__doc__
    assert re.fullmatch(r"\d+\.\d+\.\d+", dp.__version__)
    with pytest.raises(AttributeError, match="module 'dp' has no attribute 'nothing'"):
        _ = dp.nothing  # type: ignore[attr-defined]
    assert (ROOT / "dp" / "py.typed").exists()


def test_no_public_name_is_a_module_of_the_same_name() -> None:
    """A module that is imported takes the place of a function of its name."""
    for name in dp.__all__:
        assert not (ROOT / "dp" / f"{name}.py").exists()
        assert not (ROOT / "dp" / name).exists()


def test_plan_rehearse_publish(log_file: Path, tmp_path: Path) -> None:
    plan = dp.plan(["dau", "mau"], epsilon=1, **DATES)
    assert plan.promise.startswith("Promised: (1, 1e-06)-differential privacy over all 40 days together")
    assert list(plan.std) == ["dau", "mau"]
    assert plan.std["dau"] < plan.std["mau"] == plan.deviations["mau"].max()
    assert len(plan.deviations) == 40
    log = dp.read_log(log_file)
    rehearsal = plan.simulate(log, seed=1)
    assert isinstance(rehearsal, pd.DataFrame)
    assert not rehearsal["secure"].any()
    assert rehearsal.equals(plan.simulate(log_file, seed=1))
    assert str(rehearsal["day"].iloc[0].date()) == DATES["first"]
    ledger = str(tmp_path / "dpdau.ledger")
    released = plan.publish(log, ledger=ledger, now=NOW)
    assert released["secure"].all()
    texts = plan.publish(log, ledger=ledger, now=NOW, rows=True)
    assert [json.loads(text)["estimate"] for text in texts] == released["estimate"].tolist()
    assert texts == plan.publish(log_file, ledger=ledger, now=NOW, rows=True)
    with open_ledger(ledger) as opened:
        (charge,) = opened.charges()
        assert charge.stream == default_stream(plan.request, log_name([str(log_file)], Path(ledger)))
        assert opened.budget("default").spent == plan.guarantee
        assert plan.publish(log, ledger=opened, now=NOW, rows=True) == texts


@pytest.mark.slow
def test_the_defaults_are_those_of_the_command(log_file: Path) -> None:
    runner = CliRunner()
    options = ["--from", DATES["first"], "--to", DATES["last"], "--simulate", "--seed", "3", "--format", "json"]
    for metric in dp.METRICS:
        shown = runner.invoke(main, ["release", str(log_file), "--metric", metric, "--epsilon", "1", *options])
        assert shown.exit_code == 0, shown.output
        plan = dp.plan(metric, epsilon=1, **DATES)
        assert plan.simulate(log_file, seed=3, rows=True) == json.loads(shown.stdout)


@pytest.mark.parametrize("command", ["mechanisms", "calibrate"])
def test_tables_are_those_of_the_commands(command: str) -> None:
    names = ["laplace", "damped-square-root", "sparse-vector"]
    options = [word for name in names for word in ("--mechanism", name)]
    extra = {"mechanisms": ["--no-bound"], "calibrate": ["--target-std", "20"]}[command]
    words = [command, "--metric", "wau", "--horizon", "50", "--format", "json", *options, *extra]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0, shown.output
    asked = {"horizon": 50, "mechanisms": names}
    made = dp.compare("wau", **asked) if command == "mechanisms" else dp.calibrate("wau", target_std=20, **asked)
    assert made.astype(object).where(made.notna(), None).to_dict("records") == json.loads(shown.stdout)


def test_counts_that_are_not_the_plans_are_refused_before_anything_is_charged(log_file: Path, tmp_path: Path) -> None:
    """DAU of users who come and go often: what froze nobody is far from what is promised of frozen users."""
    frozen = dp.plan("dau", epsilon=1, unit="user", w_bound=8, **DATES)
    free = dp.plan("dau", epsilon=1, **DATES)
    wrong = free.count(log_file)
    assert wrong["dau"].values[-1] > 1.2 * frozen.count(log_file)["dau"].values[-1]
    ledger = tmp_path / "ledger"
    with pytest.raises(ValueError, match="nobody is frozen, but what is promised needs"):
        frozen.publish(wrong, ledger=ledger, now=NOW)
    with open_ledger(ledger) as opened:
        assert not opened.charges()
    assert len(frozen.publish(frozen.count(log_file), ledger=ledger, now=NOW)) == 40


def test_a_sample_is_counted_by_its_salts(log_file: Path) -> None:
    salts = Salts(((datetime(2000, 1, 1).date(), Salt(bytes(range(16)))),))
    plan = dp.plan("mau", epsilon=1, sketch="fixed-rate", rate=0.5, salts=salts, **DATES)
    counted = plan.count(log_file)["mau"]
    assert counted.sample == plan.request.sample
    rows = plan.simulate(log_file, seed=1)
    assert {"rate", "sketch_std"} <= set(rows)
    # Half of the users, each counted as two: within ten standard deviations of noise and sample.
    with read_log(log_file) as log:
        everybody = dp.plan("mau", epsilon=1, **DATES).count(log)["mau"]
    assert np.abs(2 * counted.values - everybody.values).max() < 10 * np.sqrt(everybody.values.max())


@pytest.mark.slow
@pytest.mark.parametrize("asked", [
    {"unit": "user", "w_bound": 2}, {"unit": "user", "w_bound": 3}, {"unit": "user-day"},
    {"unit": "user", "mechanism": "adaptive-flippancy"}, {"unit": "user", "first": "2024-01-20"},
], ids=str)  # fmt: skip
def test_a_compacted_log_is_counted_and_published_as_the_whole_one(
    log_file: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    through, now, ledger = datetime(2024, 1, 20).date(), {"now": NOW, "rows": True}, tmp_path / "ledger"
    small_file, left_file, key = tmp_path / "small.parquet", tmp_path / "left.json", bytes(32)
    plan = dp.plan(["dau", "mau"], epsilon=1, **{"horizon": 40, **DATES, **asked})
    early = dp.plan(["dau", "mau"], epsilon=1, **{"horizon": 40, **DATES, "last": "2024-01-25", **asked})
    first = early.publish(log_file, ledger=ledger, stream="s", **now)
    with dp.read_log(log_file) as log, open_ledger(ledger) as opened:
        small, left = compacted(log, through, opened, ["s"], key)
        assert small.users < log.users
        write_canonical(small, small_file)
        write_compaction(left, left_file)
        adopt(opened, ["s"], (log, None), (small, left))
    days = (through - plan.request.first).days
    whole, kept = plan.count(log_file), plan.count(small_file, tombstones=str(left_file))
    rehearsed = [plan.simulate(path, seed=1, **how) for path, how in (
        (log_file, {}), (small_file, {"tombstones": left_file}),
    )]  # fmt: skip
    for metric in ("dau", "mau"):
        assert (whole[metric].values[days:] == kept[metric].values[days:]).all()
        shown = [frame[frame["metric"] == metric]["estimate"].to_numpy()[days:] for frame in rehearsed]
        if "mechanism" not in asked:
            # Noise of data-dependent mechanisms goes by the days before as well.
            np.testing.assert_allclose(*shown)
    with pytest.raises(dp.LedgerError, match="past is not what it was"):
        plan.publish(small_file, ledger=ledger, stream="s", **now)
    with dp.read_log(small_file) as log:
        rows = plan.publish(log, ledger=ledger, stream="s", tombstones=read_compaction(left_file), **now)
    half = len(first) // 2
    assert rows[:half] == first[:half]
    assert len(rows) == 2 * len(kept["dau"].values)


def test_tombstones_go_with_their_log(log_file: Path, tmp_path: Path) -> None:
    plan = dp.plan("dau", epsilon=1, **DATES)
    day = datetime(2024, 1, 20).date()
    with dp.read_log(log_file) as log:
        small, tombstones = compact(log, day, {}, bytes(32))
        left = Compaction(tombstones, bytes(32), arrived_fingerprint(small, day))
    with pytest.raises(ValueError, match="these tombstones belong to another log"):
        plan.simulate(log_file, seed=1, tombstones=left)
    with pytest.raises(ValueError, match="tombstones go with a log"):
        plan.simulate(plan.count(log_file), seed=1, tombstones=left)
    with small:
        with pytest.raises(ValueError, match="tombstones go with the sketch 'exact'"):
            dp.plan("dau", epsilon=1, sketch="bitmap", **DATES).count(small, tombstones=left)
        with pytest.raises(ValueError, match="the tombstones count flips from no day"):
            dp.plan("dau", epsilon=1, unit="user", **DATES).count(small, tombstones=left)
        with pytest.raises(FileNotFoundError):
            plan.count(small, tombstones=tmp_path / "nothing.json")


@each(
    ("arguments", "message"),
    [
        ({"metrics": "qau"}, "metrics has 'qau'; choose from dau, wau, mau"),
        ({"first": "01.02.2024"}, "first is '01.02.2024'; it is a date"),
        ({"last": "2023-12-31"}, "last is 2023-12-31, before first"),
        ({"unit": "household"}, "unit is 'household'"),
        ({"mechanism": "magic"}, "mechanism is 'magic'"),
        ({"rate": 0.1}, "a rate goes with the sketch 'fixed-rate'"),
        ({"sketch": "fixed-rate", "rate": 0.1}, "rate and salts go together"),
        ({"epsilon": -1}, "epsilon is -1"),
        ({"split": {"mau": 1.0}}, "shares are for"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments: dict[str, object], message: str) -> None:
    usual = {"metrics": ["dau"], "epsilon": 1, **DATES}
    with pytest.raises(ValueError, match=re.escape(message)):
        dp.plan(**{**usual, **arguments})  # type: ignore[arg-type]


def test_other_windows_have_names_of_their_own(log_file: Path) -> None:
    plan = dp.plan({"14-day": 14}, epsilon=1, **DATES)
    assert plan.count(log_file)["14-day"].window == 14
    assert isinstance(plan.count(log_file)["14-day"], Counts)


EXAMPLES = ("dp.face.plan", "dp.face.tables", "dp.counts", "dp.auditing.by_name", "dp.log.reading", "dp.ledger.ledger")


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_docstrings_run(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_command_and_python_name_a_stream_alike(log_file: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "dpdau.ledger"
    command = ["release", str(log_file), "--metric", "dau", "--epsilon", "1", "--from", DATES["first"], "--to",
               DATES["last"], "--ledger", str(ledger), "--format", "json"]  # fmt: skip
    shown = json.loads(CliRunner().invoke(main, command).stdout)
    plan = dp.plan("dau", epsilon=1, **DATES)
    assert [json.loads(row) for row in plan.publish(log_file, ledger=ledger, rows=True)] == shown
    with dp.read_log(log_file) as log:
        assert [json.loads(row) for row in plan.publish(log, ledger=ledger, rows=True)] == shown
