"""A service in an empty folder, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.workbench.api.common import NOW, local, settings_in
from workbench.api.app import create_app
from workbench.service import Service, open_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with open_service(settings_in(tmp_path), lambda: NOW) as opened:
        yield opened


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with local(create_app(service)) as made:
        yield made
