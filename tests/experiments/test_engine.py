"""The engine: what a shard depends on, what a second run spares, and what stops it without harm."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as parquet
import pytest

from experiments.engine import executors, runner
from experiments.engine.code_fingerprint import _imports, closure, code_fingerprint
from experiments.engine.config import ExperimentConfig
from experiments.engine.tables import MARK, write_table
from experiments.kinds.loading import load
from experiments.kinds.mechanisms.config import MechanismConfig
from experiments.kinds.sketches.config import SketchConfig
from tests.experiments.test_experiments import CONFIG, SMALL, run
from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.places import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def names(config: type[ExperimentConfig]) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in closure(*config.kind.row_modules)}


def marks_of(path: Path) -> dict[str, str]:
    """What the metadata of a table says of its origin."""
    metadata = parquet.read_schema(path).metadata or {}
    return {
        name.removeprefix(MARK).decode(): value.decode() for name, value in metadata.items() if name.startswith(MARK)
    }


def command(config: Path, folder: Path, *more: str) -> list[str]:
    places = ["--results", str(folder / "out"), "--cache", str(folder / "cache")]
    return [sys.executable, "-m", "experiments", "run", str(config), *places, *more]


# Code.


def test_a_row_depends_on_the_code_that_its_kind_imports() -> None:
    mechanisms, sketches = names(MechanismConfig), names(SketchConfig)
    assert {
        "dp/mechanisms/linear.py",
        "dp/noise.py",
        "dp/presence/flips.sql",
        "experiments/kinds/mechanisms/row.py",
        "experiments/kinds/mechanisms/tasks.py",
    } <= mechanisms
    assert {"dp/sketches/hll.py", "dp/presence/flips.sql", "experiments/kinds/sketches/designs.py"} <= sketches
    assert not [name for name in mechanisms if "sketch" in name]
    assert not [name for name in sketches if "dp/mechanisms/" in name]
    assert not [name for name in mechanisms | sketches if name.endswith(("figures.py", "style.py", "cli.py"))]


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    files = {
        "dp/__init__.py": "",
        "dp/a.py": "def f():\n    try:\n        from dp.b import x\n    except OSError:\n        import dp.p.c",
        "dp/b.py": "import typing\nif TYPE_CHECKING:\n    import dp.typed\nelse:\n    import dp.other",
        "dp/p/__init__.py": "from dp import late",
        "dp/p/c.py": "class C:\n    from dp import a",
        "dp/p/q.sql": "SELECT 1",
        "dp/late.py": "import json",
        "dp/other.py": "",
        "dp/typed.py": "",
        "dp/nobody.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {path.relative_to(tmp_path).as_posix() for path in closure("dp.a", root=tmp_path)}
    assert found == set(files) - {"dp/typed.py", "dp/nobody.py"}
    with pytest.raises(ValueError, match=r"module is 'dp.none'"):
        closure("dp.a", "dp.none", root=tmp_path)


def parsed_imports(path: Path) -> Iterator[str]:
    """The oracle: what the parser finds."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


@pytest.mark.slow
def test_lines_show_every_import_that_the_parser_finds() -> None:
    for path in [*(ROOT / "dp").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]:
        shown, parsed = set(_imports(path)), set(parsed_imports(path))
        assert parsed <= shown, path
        # The example in the docstring of the public face.
        assert shown - parsed <= {"dp"}, path


@each(
    "text",
    [
        "import a, b.c as d",
        "import a  # import b",
        "from a import b as c, d  # from e import f",
        "from a import (\n    b,  # for (some) reason\n    # f,\n    c as d,\n)",
        "def f():\n    import a\n    if TYPE_CHECKING:  # not run\n        import b\n\n        import c\n    import d",
        "if TYPE_CHECKING:\n    from a import (\n        b,\n    )\nelse:\n    from c import d",
    ],
)
def test_imports_are_found_however_they_are_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert set(_imports(path)) == set(parsed_imports(path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ("dp/sketches/hll.py", {SketchConfig.kind.row_modules}),
        ("dp/mechanisms/tree.py", {MechanismConfig.kind.row_modules}),
        ("dp/presence/runs.sql", {MechanismConfig.kind.row_modules, SketchConfig.kind.row_modules}),
        ("dp/release/release.py", set()),
        ("experiments/engine/style.py", {(MechanismConfig.kind.figure_module,)}),
    ],
)
def test_a_changed_file_changes_what_depends_on_it(changed: str, kinds: set[tuple[str, ...]], tmp_path: Path) -> None:
    for folder in ("dp", "experiments"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / changed).open("a") as file:
        file.write("\n")
    groups = (MechanismConfig.kind.row_modules, SketchConfig.kind.row_modules, (MechanismConfig.kind.figure_module,))
    assert {group for group in groups if code_fingerprint(*group) != code_fingerprint(*group, root=tmp_path)} == kinds


# Executors.


class Numbered(NamedTuple):
    """A task that costs nothing, as large as one of mechanisms."""

    number: int
    truth: tuple[int, ...] = tuple(range(365))


def squared(task: Numbered) -> dict[str, Any]:
    return {"number": task.number, "square": task.number**2}


def ended(task: Numbered) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def collected(tasks: list[Numbered], jobs: int) -> list[dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for first, chunk in executors.compute_chunks(squared, tasks, jobs=jobs, scheduler=None):
        rows |= {number: timed.row for number, timed in enumerate(chunk, start=first)}
    return [rows[number] for number in range(len(tasks))]


@pytest.mark.slow
def test_every_row_comes_once_and_in_its_place() -> None:
    tasks = [Numbered(number) for number in range(301)]
    expected = [squared(task) for task in tasks]
    assert collected(tasks, 1) == collected(tasks, 2) == expected
    assert collected(tasks[:1], 2) == expected[:1]


@pytest.mark.slow
def test_a_task_costs_under_a_millisecond_to_hand_over() -> None:
    tasks = [Numbered(number) for number in range(4000)]
    began = 0.0
    for _ in executors.compute_chunks(squared, tasks, jobs=2, scheduler=None):
        began = began or time.perf_counter()  # the start of processes is no cost of a task
    assert (time.perf_counter() - began) / len(tasks) < 1e-3


@pytest.mark.slow
def test_a_process_that_is_ended_from_outside_is_an_error_that_says_so() -> None:
    tasks = [Numbered(number) for number in range(8)]
    with pytest.raises(ChildProcessError, match="ended from outside"):
        list(executors.compute_chunks(ended, tasks, jobs=2, scheduler=None))


# A second run.


@pytest.mark.slow
def test_a_run_from_the_cache_imports_nothing_heavy_and_draws_nothing(config_path: Path, tmp_path: Path) -> None:
    places = f"P({str(config_path)!r}), P({str(tmp_path / 'out')!r}), P({str(tmp_path / 'cache')!r})"
    script = (
        "import sys; from pathlib import Path as P; from experiments.engine.runner import run\n"
        "from experiments.kinds.loading import read\n"
        f"path, out, cache = {places}\n"
        "print(run(read(path), path, out, cache, jobs=1).computed)\n"
        "heavy = {'scipy', 'numpy', 'pandas', 'pyarrow', 'duckdb', 'matplotlib', 'dp.mechanisms'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )

    def ran() -> list[str]:
        answer = subprocess.run(
            [sys.executable, "-c", script], env=ENVIRONMENT, check=True, capture_output=True, text=True
        )
        return answer.stdout.splitlines()

    assert ran()[0] == "16"
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    assert len(before) == 4
    assert ran() == ["0", ""]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()} == before

    # A picture that is lost, or is not the one that was drawn, is drawn again; the table is left alone.
    picture = tmp_path / "out/small.svg"
    for harm in (picture.unlink, lambda: picture.write_text("<svg/>")):
        harm()
        assert ran()[0] == "0"
        assert {path: path.read_bytes() for path in before} == {path: kept for path, (_, kept) in before.items()}


def test_a_table_says_where_it_comes_from_and_its_bytes_do_not_say_when(tmp_path: Path) -> None:
    rows, marks = [{"x": 1, "y": 0.1}], {"config_sha256": "abc", "code_sha256": "def"}
    assert write_table(rows, tmp_path / "one.parquet", marks)
    assert write_table(rows, tmp_path / "two.parquet", marks)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert marks_of(tmp_path / "one.parquet") == marks
    # The same values keep the marks under which they were computed; others do not.
    assert not write_table(rows, tmp_path / "one.parquet", {**marks, "code_sha256": "ghi"})
    assert marks_of(tmp_path / "one.parquet") == marks
    assert write_table([{"x": 1, "y": 0.2}], tmp_path / "one.parquet", {**marks, "code_sha256": "ghi"})
    assert marks_of(tmp_path / "one.parquet")["code_sha256"] == "ghi"
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "two.parquet"), pd.DataFrame(rows))


@pytest.mark.slow
def test_a_question_in_other_words_gets_new_provenance(config_path: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    run(config_path, out, cache, jobs=1)
    config_path.write_text(SMALL.replace("Does it run?", "Does it walk?"))
    assert run(config_path, out, cache, jobs=1).computed == 0
    fingerprint = load(config_path).fingerprint
    assert json.loads((out / "small.json").read_text())["config_sha256"] == fingerprint
    assert marks_of(out / "small.parquet")["config_sha256"] == fingerprint


@pytest.mark.slow
def test_committed_table_comes_out_byte_by_byte(tmp_path: Path) -> None:
    rows = runner.tabulate(load(CONFIG), ROOT / ".cache/experiments").rows
    committed = ROOT / "results/epsilon_vs_error.parquet"
    write_table(rows, tmp_path / "again.parquet", marks_of(committed))
    assert (tmp_path / "again.parquet").read_bytes() == committed.read_bytes()


# Stopped.


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("alone", [True, False], ids=["the runner alone", "its whole group"])
def test_an_interrupt_ends_a_run_without_a_traceback(alone: bool, config_path: Path, tmp_path: Path) -> None:
    config_path.write_text(SMALL.replace("trials = 20", "trials = 20000"))
    child = subprocess.Popen(
        command(config_path, tmp_path, "--jobs", "2"),
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list((tmp_path / "cache").glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    if alone:
        child.send_signal(signal.SIGINT)
    else:
        os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 130, err
    assert not out
    *progress, last = err.splitlines()
    assert last == "Interrupted. Finished points are kept: the same command resumes from there."
    # Where no terminal shows a bar, lines do.
    assert all(re.fullmatch(r".* \(\d+ s\)", line) for line in progress), err
    kept = len(list((tmp_path / "cache").glob("*.json")))
    assert 2 <= kept < 16
    assert not list((tmp_path / "cache").glob(".*"))
    assert len(runner.plan_run(load(config_path), tmp_path / "cache").missing) == 16 - kept


@pytest.mark.slow
def test_a_run_that_is_killed_ten_times_ends_with_the_same_table(config_path: Path, tmp_path: Path) -> None:
    config_path.write_text(
        SMALL.replace("trials = 20", "trials = 4000").replace("[0.5, 1.0]", "[0.25, 0.5, 1.0, 2.0, 4.0, 8.0]")
    )
    config, cache, undisturbed = load(config_path), tmp_path / "cache", tmp_path / "undisturbed"
    run(config_path, undisturbed / "out", undisturbed / "cache", jobs=1)

    def kept() -> int:
        return 48 - len(runner.plan_run(config, cache).missing)

    moments = random.Random(20260101)
    counts = [0]
    for number in range(10):
        child = subprocess.Popen(
            command(config_path, tmp_path, "--jobs", "2" if number in (2, 6) else "1"),
            env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        # Most of a short run is imports, so the moments are counted from its first new point; one comes before it.
        while number != 3 and kept() == counts[-1] and child.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.1))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        counts.append(kept())
    assert counts == sorted(counts)
    assert len({count for count in counts if 0 < count < 48}) >= 4, counts
    finished = run(config_path, tmp_path / "out", cache, jobs=1)
    assert (finished.computed, finished.reused) == (48 - counts[-1], counts[-1])
    for name in ("small.parquet", "small.svg", "small.png"):
        assert (tmp_path / "out" / name).read_bytes() == (undisturbed / "out" / name).read_bytes()
