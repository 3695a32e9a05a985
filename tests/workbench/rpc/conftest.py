"""A service in an empty folder, and a client of it over HTTP and over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.workbench.api.common import NOW, local, settings_in
from tests.workbench.rpc.common import calling, serving
from workbench.api.app import create_app
from workbench.service import Service, open_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with open_service(settings_in(tmp_path), lambda: NOW) as opened:
        yield opened


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with local(app) as made:
        yield made


@pytest.fixture
def stub(app: FastAPI) -> Iterator[Any]:
    with serving(app) as port, calling(port) as made:
        yield made
