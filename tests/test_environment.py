"""Files that must agree: environment.yml with the lock, and the lock with pyproject.toml."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT
from workbench.maintenance.environment import environment_text


def test_environment_file_is_what_the_command_writes() -> None:
    assert (ROOT / "environment.yml").read_text(encoding="utf-8") == environment_text(ROOT)


def test_environment_names_every_direct_dependency_with_one_version() -> None:
    pins = re.findall(r"^ {6}- ([a-z0-9_.-]+)==([0-9.a-z]+)$", environment_text(ROOT), flags=re.MULTILINE)
    names = [name for name, _ in pins]
    assert {"numpy", "scipy", "pandas", "duckdb", "opendp", "matplotlib", "pytest"} <= set(names)
    assert len(names) == len(set(names))


def test_an_unlocked_dependency_is_an_error(tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(text.replace('"click>=', '"no-such-thing>=1", "click>='), encoding="utf-8")
    shutil.copy(ROOT / "uv.lock", tmp_path)
    with pytest.raises(KeyError, match="no-such-thing"):
        environment_text(tmp_path)


def test_lock_file_belongs_to_pyproject() -> None:
    uv = shutil.which("uv") or (str(ROOT / ".uv/bin/uv") if (ROOT / ".uv/bin/uv").exists() else None)
    if uv is None:
        pytest.skip("uv is not installed")
    # --offline: only the lock file is compared; what it already has needs no registry.
    checked = subprocess.run([uv, "lock", "--check", "--offline"], cwd=ROOT, capture_output=True, text=True)
    if "offline" in checked.stderr.lower() and checked.returncode != 0:
        pytest.skip("uv's cache does not hold what the check needs")
    assert checked.returncode == 0, checked.stderr
