"""Fixtures that several files use."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.examples import load_profile
from tests.places import ROOT
from workbench.cli.main import main

load_profile()


def pytest_configure(config: pytest.Config) -> None:
    """Designs are computed once for all workers and runs of the same code, in a cache that is not the user's."""
    # Altair imports jsonschema, which would build forty parsers, for seconds in every worker, to judge formats that
    # nobody here has. Without the package it does without them.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    os.environ["DPDAU_CACHE"] = str(ROOT / ".cache" / "designs")


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


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that the test starts obey SIGINT, also where this one ignores it, as jobs in the background do.

    A process inherits which signals are ignored, but not which are handled.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
