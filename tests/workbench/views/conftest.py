"""A store for the pages that show the live service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.workbench.pages import settings_of
from workbench.service import Service, Settings, open_service


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """A second service on the same store, as another process would have it."""
    with open_service(settings, lambda: datetime.now(UTC)) as opened:
        yield opened
