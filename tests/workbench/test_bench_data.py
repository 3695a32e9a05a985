"""The bench of the data column measures what it says, and compares equals with equals."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from dp.log import read_log
from workbench.bench import data as bench
from workbench.bench.questions import bench_questions


@pytest.mark.slow
def test_ours_and_the_peer_are_measured_on_the_same_counts() -> None:
    rows = bench.bench_data(2_000, 200, 30, (1, 7), 4, 1)
    assert [row["events"] for row in rows] == [500, 1_000, 2_000]
    for row in rows:
        assert row["cpu_ratio"] == round(row["cpu_seconds"] / row["peer_cpu_seconds"], 2)
        assert 0 < row["read"] + row["count"] <= row["total"] + 0.002
        assert min(row["peak_rss_gib"], row["peer_peak_rss_gib"]) > 0.01


def test_other_counts_than_the_peers_end_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, f'{{"counts": [{int("ours" in command)}]}}')

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(RuntimeError, match="the counts of 7 days differ"):
        bench.bench_data(400, 40, 30, (1, 7), 4, 1)


def test_the_log_adds_takes_back_and_erases(tmp_path: Path) -> None:
    bench._write_log(tmp_path / "log.parquet", 20_000, 2_000, 30, 1)
    with read_log(str(tmp_path / "log.parquet")) as log:
        found = dict(log.connection.execute("SELECT op, COUNT(*) FROM operations GROUP BY op").fetchall())
    assert sum(found.values()) == 20_000
    assert found[-1] / 20_000 == pytest.approx(0.15, abs=0.01)
    assert found[0] / 20_000 == pytest.approx(0.001, abs=0.0008)


def test_segments_are_measured_beside_windows_without_them() -> None:
    (row,) = bench_questions(2_000, 200, 30, 4, 1)
    assert (row["questions"], row["series"]) == (11, 3 + 3 + 1 + 6 * 4)
    assert row["ratio"] > 0
    with pytest.raises(ValueError, match="segments = 2: must be at least 3"):
        bench_questions(2_000, 200, 30, 2, 1)
