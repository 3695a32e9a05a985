"""The runbook: every line of it runs, and every alert is in it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.oracles import postgres
from tests.places import ROOT
from tests.test_end_to_end import path_line, run

TEXT = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")


def test_every_alert_is_explained_in_the_runbook() -> None:
    (group,) = yaml.safe_load((ROOT / "docs/operating/alerts.yml").read_text(encoding="utf-8"))["groups"]
    headings = re.findall(r"^### (Dpdau\w+)$", TEXT, re.MULTILINE)
    assert headings == [rule["alert"] for rule in group["rules"]]
    places = [rule["annotations"]["runbook"] for rule in group["rules"]]
    assert places == [f"docs/runbook.md#{name.lower()}" for name in headings]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the runbook's lines use curl")
def test_every_line_of_the_runbook_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"sh", "postgres"}
    done = run("\n".join([path_line(), *(lines for language, lines in blocks if language == "sh")]), tmp_path)
    assert "error  " not in done.stdout
    assert done.stdout.count("ok       key content") == 3
    assert '{"accepted":3,"late":0,"seq":3}' in done.stdout
    assert '{"accepted":2,"late":0,"seq":5}erased\n' in done.stdout
    assert "dpdau_store_usable 1.0" in done.stdout
    assert "closed already; nothing to do" in done.stderr
    (row,) = set(re.findall(r"^mau,30,.*$", done.stdout, re.MULTILINE))
    assert row.endswith(",True")
    assert "Traceback" not in done.stderr
    assert "renewed: " in done.stderr
    assert "dpdau.store.key is rotated" in done.stderr
    keys = [(tmp_path / folder / "dpdau.store.key").stat().st_size for folder in ("backup-1", "backup-2", ".")]
    assert keys == [32, 64, 64]
    assert {path.name for path in (tmp_path / "backup-1").iterdir()} == {
        "dpdau.store",
        "dpdau.store.key",
        "dpdau.ledger",
    }


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(shutil.which("curl") is None, reason="the runbook's lines use curl")
@pytest.mark.skipif(not postgres.AVAILABLE, reason="needs Debian's postgresql and the extra postgres")
def test_every_line_about_postgres_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```postgres\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    with postgres.server(durable=True) as server:
        urls = {
            name: postgres.database_of(tmp_path / name, server.port).replace("+psycopg", "")
            for name in ("DATABASE", "RESTORED")
        }
        given = [f'PATH="$PATH:{postgres.binaries()}"', *(f"{name}={url}" for name, url in urls.items())]
        lines = "\n".join([path_line(), *given, "today=$(date -u +%F)", *blocks])
        done = run(lines.replace("8001", str(postgres.free_port())), tmp_path)
    assert "error  " not in done.stdout
    assert done.stdout.count("ok       synchronous_commit") == 2
    assert done.stdout.count('{"accepted":1,"late":0}') == 2
    published = re.findall(r"^│ mau .*$", done.stdout, re.MULTILINE)
    assert len(published) == 2
    assert len(set(published)) == 1
    assert "Traceback" not in done.stderr
