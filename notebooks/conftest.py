"""Notebooks that read logs beside the repository are skipped where these are absent."""

from __future__ import annotations

import pytest

from tests.places import absent_logs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the cells of notebooks whose logs are absent."""
    absent = {path: absent_logs(path) for path in {item.path for item in items if item.path.suffix == ".ipynb"}}
    for item in items:
        if logs := absent.get(item.path):
            item.add_marker(pytest.mark.skip(reason=f"{', '.join(logs)} is not in shared/data"))
