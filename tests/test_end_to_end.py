"""The shell lines of the README, run by a shell against a real server, and what they must show."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.service_model import FIELDS
from tests.places import ROOT
from workbench.service import RETRACT, Operation, load_settings, open_service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the README's lines use curl"),
]


TOOLS = ("bash", "cat", "cp", "curl", "date", "df", "grep", "ls", "mkdir", "mv", "rm", "sed", "seq", "sleep")


def readme_lines(mark: str) -> str:
    """The shell lines of the README that follow a mark."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"<!-- {mark} -->\n```sh\n(.*?)```", text, flags=re.DOTALL)
    return str(block)


def path_line() -> str:
    """The tour's first line, which every shell needs."""
    return readme_lines("tour").splitlines()[0]


def documents(said: str) -> list[Any]:
    """All JSON documents in a text, one after the other."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while (start := re.compile(r"[\[{]").search(said, position)) is not None:
        document, position = decoder.raw_decode(said, start.start())
        found.append(document)
    return found


def run(lines: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run lines as they stand, but for the port, where the project is set up and nothing else: without uv, say."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "8000" in lines
    tools = folder / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "experiments").symlink_to(ROOT / "experiments")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("DPDAU_", "SERVICE_", "PY"))}
    environment |= {"PATH": str(tools), "DPDAU_CACHE": os.environ["DPDAU_CACHE"]}
    script = f"set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{lines.replace('8000', str(port))}"
    done = subprocess.run(
        [str(tools / "bash"), "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_machine_without_uv_has_dpdau_after_the_first_line(tmp_path: Path) -> None:
    done = run(f"{path_line()}\n! command -v uv  # 8000\ncommand -v dpdau\ndpdau --version", tmp_path)
    assert done.stdout.splitlines()[0] == str(tmp_path / ".venv/bin/dpdau")
    assert done.stdout.splitlines()[1].startswith("dpdau, version")


def test_make_says_the_line_when_it_has_set_up(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "grep", "bash", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    for goal in ("setup", "reproduce"):
        recipe = subprocess.run(
            ["make", "--dry-run", goal], cwd=ROOT, env={"PATH": str(tools)}, capture_output=True, text=True, check=True
        ).stdout
        says = recipe.splitlines()[-1]
        said = subprocess.run(["sh", "-c", says], env={"PATH": str(tools)}, capture_output=True, text=True, check=True)
        assert path_line().split("  ")[0] in said.stdout


def test_the_tour_of_the_readme(tmp_path: Path) -> None:
    *lines, last = readme_lines("tour").splitlines()
    assert last.split("#")[0].strip() == "dpdau demo"
    served = ["dpdau demo --days 2 --port 8000 &", "until curl -sf localhost:8000/dau/2026-01-02; do sleep 0.2; done",
              "kill $!; wait $!"]  # fmt: skip
    done = run("\n".join([*lines, *served]), tmp_path)
    for said in ("NOT PRIVATE: these are true counts", "charged ε 1, δ 1e-06", "Stopped."):
        assert said in done.stderr
    for file in ("log.csv", "release.json", "release.svg", "results/epsilon_vs_error.svg", "dpdau.ledger"):
        assert (tmp_path / file).stat().st_size > 0
    assert len(json.loads((tmp_path / "release.json").read_text())) == 3 * 120


def test_the_live_tour_of_the_readme(tmp_path: Path) -> None:
    (
        posted_1, closed_1, posted_2, closed_2, posted_3, closed_3, dau, mau, retracted, closed_4, moved,
        fresh, budget, restarted,
    ) = documents(run(f"{path_line()}\n{readme_lines('live tour')}", tmp_path).stdout)  # fmt: skip
    assert [posted["accepted"] for posted in (posted_1, posted_2, posted_3)] == [500, 500, 500]
    assert all([row["metric"] for row in rows] == ["dau", "wau", "mau"] for rows in (closed_1, closed_2, closed_3))
    assert set(dau) == set(mau) == set(fresh) == FIELDS
    assert (dau["day"], mau["day"], mau["window"]) == ("2026-01-03", "2026-01-03", 30)
    assert dau == closed_3[0]
    assert mau == closed_3[2]
    assert retracted == {"accepted": 900, "late": 900, "seq": 2400}
    # 300 of 500 users took everything back: the next day's MAU falls by far more than the noise.
    assert moved == closed_4[2]
    assert abs(mau["estimate"] - 500) < 6 * mau["std"]
    assert abs(moved["estimate"] - 200) < 6 * moved["std"]
    assert fresh["day"] == "2026-01-03"
    assert abs(fresh["estimate"] - 200) < 6 * fresh["std"]
    assert budget["budget"]["epsilon_spent"] == pytest.approx(0.3 + 0.4 + 0.5 + 0.5)
    assert len(budget["charges"]) == 4
    assert restarted == mau


def test_one_retraction_moves_the_count_by_one(tmp_path: Path) -> None:
    settings = load_settings(None, {}, [("store", str(tmp_path / "s")), ("ledger", str(tmp_path / "l"))])
    first = (date(2026, 1, 1) - date(1970, 1, 1)).days
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        for index in range(3):
            service.ingest([Operation(f"u{number}", first + index) for number in range(50)])
            service.close(date(2026, 1, 1 + index))
        published = service.release("mau", date(2026, 1, 3))
        service.ingest([Operation("u7", first + index, RETRACT) for index in range(3)])
        service.close(date(2026, 1, 4))
        assert [count.truth for count in service.truth("mau").counts] == [50, 50, 50, 49]
        spent = service.budget().spent.epsilon
        assert json.loads(service.fresh("mau", date(2026, 1, 3), "once"))["day"] == "2026-01-03"
        assert service.budget().spent.epsilon == pytest.approx(spent + 0.5)
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        assert service.release("mau", date(2026, 1, 3)) == published
