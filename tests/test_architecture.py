"""Imports run one way, as docs/architecture.md says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.places import ROOT

LIBRARY = {
    "dp.log", "dp.presence", "dp.sketches", "dp.intervals", "dp.units", "dp.noise", "dp.mechanisms", "dp.accounting",
    "dp.ledger", "dp.release",
}  # fmt: skip

# What each part may import of this project; itself is always allowed.
ALLOWED: dict[str, set[str]] = {
    "dp.log": set(),
    "dp.presence": {"dp.log"},
    "dp.intervals": set(),
    "dp.sketches": {"dp.log", "dp.presence", "dp.intervals"},
    "dp.units": set(),
    "dp.noise": set(),
    "dp.mechanisms": {"dp.units", "dp.noise"},
    "dp.accounting": {"dp.units", "dp.noise", "dp.mechanisms"},
    "dp.ledger": {"dp.accounting"},
    "dp.release": LIBRARY - {"dp.log", "dp.presence"},
    "dp.auditing": LIBRARY,
    "experiments": LIBRARY | {"dp.auditing"},
    "workbench.service": LIBRARY,
    "workbench": LIBRARY | {"dp.auditing", "experiments", "workbench.service"},
}
FRAMEWORKS = {"altair", "click", "fastapi", "prometheus_client", "rich", "starlette", "streamlit", "uvicorn"}
FOREIGN_TO_DP = {
    "click",
    "rich",
    "matplotlib",
    "altair",
    "streamlit",
    "fastapi",
    "flask",
    "requests",
    "experiments",
    "workbench",
}


def part_of(module: str) -> str:
    """The part of the house a module belongs to: dp.X, experiments, workbench.service or the rest of workbench."""
    pieces = module.split(".")
    return ".".join(pieces[:2]) if pieces[0] == "dp" or pieces[:2] == ["workbench", "service"] else pieces[0]


def imports(source: str) -> set[str]:
    """All modules that a source text imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def violations(module: str, source: str) -> set[str]:
    part = part_of(module)
    own = {name for name in imports(source) if name.split(".")[0] in ("dp", "experiments", "workbench")}
    reached = {part_of(name) for name in own} - {part, "dp"}
    return reached - ALLOWED[part]


SOURCES = sorted(path for folder in ("dp", "experiments", "workbench") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    source = path.read_text(encoding="utf-8")
    if module == "dp":
        assert not imports(source)
        return
    assert not violations(module, source)
    if module.startswith("dp."):
        assert not {name.split(".")[0] for name in imports(source)} & FOREIGN_TO_DP
    if module.startswith("workbench.service"):
        assert not {name.split(".")[0] for name in imports(source)} & FRAMEWORKS


def test_an_arrow_that_runs_back_is_seen() -> None:
    assert violations("dp.units", "from dp.release import Request") == {"dp.release"}
    assert violations("dp.mechanisms.linear", "def f():\n    import dp.presence") == {"dp.presence"}
    assert violations("experiments.engine.runner", "from workbench import cli") == {"workbench"}
    assert violations("workbench.service.store", "from workbench.cli.output import write_rows") == {"workbench"}
    assert not violations("workbench.cli.main", "from dp.release import Request")
    assert not violations("workbench.api.app", "from workbench.service import Service")
