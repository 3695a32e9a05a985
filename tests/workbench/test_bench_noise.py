"""The bench of many series measures a release of that many."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Run
from workbench.bench import noise as bench


def test_every_mechanism_has_a_row_of_its_own(run: Run) -> None:
    shown = run("bench", "noise", "--series", 5, "--ticks", 9, "--mechanism", "laplace", "--mechanism", "honaker-tree",
                "--format", "json")  # fmt: skip
    rows = json.loads(shown.stdout)
    assert [(row["mechanism"], row["series"], row["ticks"]) for row in rows] == [
        ("laplace", 5, 9), ("honaker-tree", 5, 9),
    ]  # fmt: skip
    for row in rows:
        assert min(row["draws_per_cpu_second"], row["peak_rss_gib"]) > 0


def test_all_series_are_drawn_from_both_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, int] = {}

    def counting(name: str, source):
        def counted(noise, size):
            drawn[name] = drawn.get(name, 0) + size
            return source(noise, size)

        return counted

    seeded = bench.source_of_block
    monkeypatch.setattr(bench, "secure_source", counting("secure", bench.secure_source))
    monkeypatch.setattr(bench, "source_of_block", lambda *block: counting("seeded", seeded(*block)))
    bench.bench_noise(7, 4, ["gaussian"], 1)
    assert drawn == {"secure": 28, "seeded": 28}


def test_what_is_no_release_is_refused() -> None:
    with pytest.raises(ValueError, match="series = 2: must be at least 3"):
        bench.bench_noise(2, 4, ["laplace"], 1)
    with pytest.raises(ValueError, match="ticks = 0: must be at least 1"):
        bench.bench_noise(3, 0, ["laplace"], 1)
    with pytest.raises(ValueError, match="depends on the data"):
        bench.bench_noise(3, 4, ["sparse-vector"], 1)
