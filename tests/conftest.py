"""Fixtures that several files use."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.examples import load_profile
from tests.oracles import postgres
from tests.places import ROOT
from workbench.cli.main import main

load_profile()


MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 2**30
"""Free memory beyond which the files of tests lie there: a run leaves less than a quarter of that."""


def pytest_configure(config: pytest.Config) -> None:
    """Designs are computed once for all workers and runs of the same code, in a cache that is not the user's."""
    os.environ["DPDAU_CACHE"] = str(ROOT / ".cache" / "designs")
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        # Stores wait for the disk at every commit. What a killed process leaves is the same in memory.
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
    # Spark's process lives too briefly for the time that its second compiler takes: a third of all.
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


def pytest_collection() -> None:
    """What is made while tests are collected stays, so that a search for garbage is in vain."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Tests do make garbage, and what was there before is not searched for it again."""
    gc.freeze()
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file whose every test is left out is not imported, because that took half of the time of the collection.

    Neither is the conftest of a folder of such files. What the command line names is always collected.
    """
    left_out = whole_marks(config.option.markexpr)
    if not left_out or collection_path.name in " ".join(config.args):
        return None
    folder = collection_path.is_dir()
    files = sorted(collection_path.rglob("test_*.py")) if folder else [collection_path]
    return True if files and all(left_out & marks_of_all(file) for file in files) else None


@cache
def marks_of_all(path: Path) -> frozenset[str]:
    """The marks that every test of a file has."""
    if not path.match("test_*.py"):
        return frozenset()
    marked = re.search(r"^pytestmark = (\[.*?^\]|.*?$)", path.read_text(encoding="utf-8"), re.M | re.S)
    return frozenset(re.findall(r"pytest\.mark\.(\w+)", marked[1])) if marked else frozenset()


def whole_marks(expression: str) -> set[str]:
    """The marks with which no test meets an expression: slow and spark for "not slow and not spark"."""
    terms = expression.split(" and ")
    return set() if " or " in expression else {term[4:] for term in terms if re.fullmatch(r"not \w+", term)}


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder; fails the test on an exit code that is not expected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DPDAU_LEDGER", raising=False)
    monkeypatch.delenv("SERVICE_API_KEY", raising=False)
    # What a command says must not depend on how busy the machine is.
    monkeypatch.setattr("experiments.engine.progress.PATIENCE_SECONDS", 3600.0)

    def call(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
        return result

    return call


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server for this test process; skips where there is none."""
    if not postgres.AVAILABLE:
        pytest.skip("needs Debian's postgresql and the extra postgres")
    with postgres.server() as running:
        yield running


@pytest.fixture
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tests put stores and ledgers: in files, or in a new PostgreSQL database for each folder."""
    if request.param == "postgres":
        monkeypatch.setenv(postgres.PORT, str(request.getfixturevalue("postgres_server").port))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `database` runs on both, but for one that is marked as too long for it."""
    if "database" in metafunc.fixturenames:
        if metafunc.definition.get_closest_marker("files_only"):
            metafunc.parametrize("database", ["sqlite"], indirect=True)
            return
        on_postgres = pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])
        metafunc.parametrize("database", ["sqlite", on_postgres], indirect=True)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that the test starts obey SIGINT, also where this one ignores it, as jobs in the background do.

    A process inherits which signals are ignored, but not which are handled.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
