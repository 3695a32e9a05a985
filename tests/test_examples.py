"""Every hypothesis test follows the one profile: none chooses its own randomness or deadline."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.examples import ORDINARY, examples
from tests.places import ROOT

CHOOSERS = {Path("tests/examples.py"), Path("tests/test_examples.py")}


def test_the_loaded_profile_is_repeatable_unless_another_is_asked_for(request: pytest.FixtureRequest) -> None:
    asked = request.config.getoption("--hypothesis-profile") or os.environ.get("HYPOTHESIS_PROFILE", "repeatable")
    assert settings().derandomize == (asked == "repeatable")
    assert settings().deadline is None


def test_the_nightly_profile_is_random_and_tries_more() -> None:
    nightly = settings.get_profile("nightly")
    assert not nightly.derandomize
    assert nightly.max_examples > settings.get_profile("repeatable").max_examples == ORDINARY


def test_the_number_of_examples_grows_with_the_profile() -> None:
    assert examples(30).max_examples == 30 * settings().max_examples // ORDINARY


@pytest.mark.slow
def test_no_test_file_makes_settings_of_its_own() -> None:
    guilty = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = path.relative_to(ROOT)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported = {alias.name for alias in node.names} & {"hypothesis"}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hypothesis"):
                imported = {alias.name for alias in node.names} & {"settings", "seed", "_settings"}
            elif isinstance(node, ast.keyword):
                imported = {node.arg} & {"derandomize"}
            else:
                continue
            if imported and name not in CHOOSERS:
                guilty.append((str(name), imported))
    assert not guilty, "use `examples` of tests/examples.py"
