"""What the tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def nothing_stays_open() -> Iterator[None]:
    import streamlit as st

    yield
    st.cache_resource.clear()
