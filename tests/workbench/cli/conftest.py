"""The log that most tests of commands read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workbench.cli.common import generated_log


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated_log(tmp_path_factory.mktemp("log"), 400)
