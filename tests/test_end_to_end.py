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


def readme_lines() -> str:
    """The shell lines between the marks of the live tour."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- live tour -->\n```sh\n(.*?)```", text, flags=re.DOTALL)
    return str(block)


def documents(said: str) -> list[Any]:
    """All JSON documents in a text, one after the other."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while (start := re.compile(r"[\[{]").search(said, position)) is not None:
        document, position = decoder.raw_decode(said, start.start())
        found.append(document)
    return found


def run(lines: str, folder: Path) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As they stand, but for the port, and with the program of this environment; what they leave running is stopped.
    assert "8000" in lines
    lines = lines.replace("uv run dpdau", "dpdau").replace("8000", str(port))
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("DPDAU_", "SERVICE_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    script = f"set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{lines}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_live_tour_of_the_readme(tmp_path: Path) -> None:
    (
        posted_1, closed_1, posted_2, closed_2, posted_3, closed_3, dau, mau, retracted, closed_4, moved,
        fresh, budget, restarted,
    ) = documents(run(readme_lines(), tmp_path))  # fmt: skip
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
