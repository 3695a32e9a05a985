"""What the tests of pages share, and the databases that the suites of the service run on."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.oracles import postgres, service_model


@pytest.fixture
def nothing_stays_open() -> Iterator[None]:
    import streamlit as st

    main = sys.modules["__main__"]
    yield
    st.cache_resource.clear()
    # A page that has run is the main module, which the processes of a pool would run again.
    sys.modules["__main__"] = main


@pytest.fixture
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `settings_in` puts store and ledger: in files, or in a new PostgreSQL database for each folder."""
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        monkeypatch.setattr(service_model, "places_in", postgres.places_on(server.port))
        monkeypatch.setenv(postgres.PORT, str(server.port))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `database` runs on both."""
    if "database" in metafunc.fixturenames:
        on_postgres = pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])
        metafunc.parametrize("database", ["sqlite", on_postgres], indirect=True)
