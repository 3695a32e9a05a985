"""Documentation that cannot drift: tables, the four places of a mechanism, links, the README's Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dp.mechanisms import MECHANISMS
from dp.sketches import SKETCHES
from experiments.documentation.blocks import fill
from tests.oracles.mechanism_instances import DATA_DEPENDENT_NAMES, MECHANISM_NAMES
from tests.oracles.sketch_instances import INSTANCES as SKETCH_INSTANCES
from tests.places import ROOT
from workbench.maintenance.report import BLOCKS, DOCUMENTS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.slow  # the mechanisms' tables design thirteen mechanisms for seven classes
@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_are_what_the_command_writes(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text == fill(text, BLOCKS), "run `make docs`"
    assert "<!-- begin" in text


def test_every_block_is_used_somewhere() -> None:
    used = set(re.findall(r"<!-- begin ([a-z-]+) -->", "".join((ROOT / name).read_text("utf-8") for name in DOCUMENTS)))
    assert used == set(BLOCKS)


def test_a_stale_number_is_seen() -> None:
    text = "<!-- begin headline -->\nabout 3 users\n<!-- end headline -->"
    assert fill(text) != text
    assert fill(fill(text)) == fill(text)


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_checks_named_in_the_proofs_exist() -> None:
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[a-z_]+\.py)`", text))
    assert named
    assert all((ROOT / name).exists() for name in named)


def test_python_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import date

    from dp.accounting.composition import Guarantee
    from dp.ledger import open_ledger
    from dp.log.generate import generate, write_log

    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    write_log(generate(50, 120, seed=1), tmp_path / "log.csv")
    with open_ledger(tmp_path / "dpdau.ledger") as ledger:
        ledger.create_budget("default", Guarantee(1.0, 1e-6), date(2020, 1, 1), None)
    scope: dict[str, object] = {}
    exec(code[1], scope)
    rows = scope["rows"]
    assert isinstance(rows, list)
    assert len(rows) == 120
