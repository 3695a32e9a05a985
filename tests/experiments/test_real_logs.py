"""Acceptance on the real logs: both load, and a private year of each is released. Skipped where the data is absent."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from experiments.real_log import LOGS, release_year
from tests.places import DATA

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real logs are not here"),
]


@pytest.mark.parametrize("name", LOGS)
def test_a_private_year(name: str, tmp_path: Path) -> None:
    paths = release_year(LOGS[name], DATA, name, tmp_path)
    assert all(path.exists() for path in paths)
    released = pd.read_parquet(tmp_path / f"{name}_release.parquet")
    truth = pd.read_parquet(tmp_path / f"{name}_truth.parquet")
    assert released["secure"].all()
    assert released.groupby("metric").size().to_dict() == {"dau": 365, "mau": 365, "wau": 365}
    error = (released["estimate"] - truth["count"]) / released["std"]
    # 1,095 standardised errors: chance puts one of them beyond six standard deviations twice in a million runs.
    assert error.abs().max() < 6
    assert 0.6 < (error**2).mean() ** 0.5 < 1.5
