"""A browser and a demonstration that it looks at, for a module: as long as they live, no other test may use asyncio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.workbench.browser.look import PATIENCE_MS
from workbench.maintenance.screenshots import chromium
from workbench.maintenance.server import run_server


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A demonstration of three days for a module that may change it; its budget has room for one fresh DAU."""
    folder = tmp_path_factory.mktemp("demo")
    command = ["demo", "--folder", str(folder), "--days", "3", "--port", "0", "--set", "budget_epsilon=2.8"]
    with run_server(command, folder, ready="days filled and closed") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as launched:
        yield launched
