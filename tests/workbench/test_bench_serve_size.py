"""The measurement of the service at size, on a toy."""

from __future__ import annotations

import pytest

from workbench.bench.serve_size import SMALL, bench_size


@pytest.mark.slow
def test_everything_is_measured() -> None:
    said: list[str] = []
    rows = bench_size(SMALL, lambda stage, share: said.append(stage))
    assert [str(row["what"]) for row in rows] == said
    assert len(set(said)) == len(said) == 16
    assert {str(row["unit"]) for row in rows} == {"CPU s", "MiB", "bytes", "ratio", "a second", "ms", "s"}
    assert all(float(str(row["value"])) >= 0 for row in rows)
