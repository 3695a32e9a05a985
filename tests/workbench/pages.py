"""What the tests of the pages share."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def tidy(page: AppTest) -> AppTest:
    assert not page.exception
    return page


def texts(page: AppTest) -> str:
    return "\n".join(str(one.value) for kind in (page.markdown, page.caption, page.info, page.code) for one in kind)
