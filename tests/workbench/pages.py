"""What the tests of the pages share."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import msgspec
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from dp.presence.daily import day_number
from tests.patience import PATIENCE_SECONDS
from tests.places import ROOT
from workbench.service import ADD, Operation, Service, Settings

APP = str(ROOT / "workbench" / "app.py")
FIRST = date(2026, 1, 1)
USERS = [f"user-{number:02}" for number in range(20)]


def settings_of(folder: Path) -> Settings:
    return Settings(
        store=str(folder / "store"),
        ledger=str(folder / "ledger"),
        first_day=FIRST,
        future_days=True,
        show_truth=True,
    )


def answered(page: AppTest) -> AppTest:
    """A research page whose answer is whole, not only begun."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not [one for one in page.get("download_button") if one.key == "reproduce"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        tidy(page.run())
    return page


def opened_page(settings: Settings, address: str, **query: str) -> AppTest:
    """A page of the app as somebody sees it who opens it by its address, with what stands after the question mark."""
    page = AppTest.from_file(APP, default_timeout=PATIENCE_SECONDS)
    page.secrets["dpdau"] = {"settings": msgspec.json.encode(settings).decode()}
    page._page_hash = calc_hash(address)
    for name, value in query.items():
        page.query_params[name] = value
    return tidy(page.run())


def press(page: AppTest, label: str) -> AppTest:
    (button,) = [one for one in page.button if one.label == label]
    return tidy(button.click().run())


def feed(service: Service, day: date, users: list[str] = USERS) -> None:
    service.ingest([Operation(user, day_number(day), ADD) for user in users])


def tidy(page: AppTest) -> AppTest:
    assert not page.exception
    return page


def texts(page: AppTest) -> str:
    return "\n".join(str(one.value) for kind in (page.markdown, page.caption, page.info, page.code) for one in kind)
