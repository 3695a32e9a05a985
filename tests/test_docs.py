"""Documentation that cannot drift: tables, the four places of a mechanism, links, the README's Python."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dp.mechanisms import MECHANISMS
from dp.sketches import SKETCHES
from experiments.documentation.blocks import fill_blocks
from experiments.documentation.markdown import LINE_WIDTH
from tests.laws import each
from tests.oracles.mechanism_instances import DATA_DEPENDENT_NAMES, MECHANISM_NAMES
from tests.oracles.sketch_instances import INSTANCES as SKETCH_INSTANCES
from tests.places import ROOT
from workbench.maintenance.report import BLOCKS, DOCUMENTS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.slow  # the mechanisms' tables design thirteen mechanisms for seven classes
@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_are_what_the_command_writes(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text == fill_blocks(text, BLOCKS), "run `make docs`"
    assert "<!-- begin" in text


def test_every_block_is_used_somewhere() -> None:
    used = set(re.findall(r"<!-- begin ([a-z-]+) -->", "".join((ROOT / name).read_text("utf-8") for name in DOCUMENTS)))
    assert used == set(BLOCKS)


def test_a_stale_number_is_seen() -> None:
    text = "<!-- begin headline -->\nabout 3 users\n<!-- end headline -->"
    assert fill_blocks(text) != text
    assert fill_blocks(fill_blocks(text)) == fill_blocks(text)


def test_a_mechanism_stands_in_all_its_four_places() -> None:
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/mechanisms.md").read_text("utf-8"), re.MULTILINE))
    assert listed == set(MECHANISMS) == {*MECHANISM_NAMES, *DATA_DEPENDENT_NAMES}
    files = {path.stem.replace("_", "-") for path in (ROOT / "dp/mechanisms").glob("*.py")}
    shared = {
        "laplace": "independent", "gaussian": "independent", "binary-tree-laplace": "binary-tree",
        "b-ary-tree": "binary-tree",
    }  # fmt: skip
    assert {shared.get(name, name) for name in MECHANISMS} <= files


def test_a_sketch_stands_in_all_its_places() -> None:
    listed = set(re.findall(r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs/sketches.md").read_text("utf-8"), re.MULTILINE))
    assert listed == set(SKETCHES) == {instance.name for instance in SKETCH_INSTANCES}
    files = {path.stem.replace("_", "-") for path in (ROOT / "dp/sketches").glob("*.py")}
    assert set(SKETCHES) <= files


@each("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@each("page", PAGES)
def test_lines_of_prose_wrap(page: Path) -> None:
    code = False
    for line in page.read_text(encoding="utf-8").splitlines():
        code ^= line.startswith("```")
        assert code or len(line) <= LINE_WIDTH or line.startswith(("|", "#", "![")), line


def test_checks_named_in_the_proofs_exist() -> None:
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[a-z_/]+\.py)`", text))
    assert named
    assert all((ROOT / name).exists() for name in named)


@pytest.mark.slow
def test_python_in_the_readme_runs(tmp_path: Path) -> None:
    """As it stands, in a folder with nothing but the log that the tour makes."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"<!-- python tour -->\n```python\n(.*?)```", text, re.DOTALL)
    made = re.search(r"dpdau (generate [^\n]*)", text)
    assert code is not None
    assert made is not None
    command = [str(Path(sys.executable).with_name("dpdau")), *shlex.split(made[1])]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
    checks = "assert len(released) == 240 and released['secure'].all() and not rehearsal['secure'].any()"
    shown = subprocess.run(
        [sys.executable, "-c", f"{code[1]}\n{checks}"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert shown.stdout.startswith("Promised: (1, 1e-06)-differential privacy over all 120 days together")
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "dpdau.ledger"}
