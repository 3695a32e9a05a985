"""What the tests of pages share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def nothing_stays_open() -> Iterator[None]:
    import streamlit as st

    main = sys.modules["__main__"]
    yield
    st.cache_resource.clear()
    # A page that has run is the main module, which the processes of a pool would run again.
    sys.modules["__main__"] = main
