"""The pages: `streamlit run workbench/app.py` alone, or mounted under /ui in the process of the service."""

from __future__ import annotations

import functools
import importlib
import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import streamlit as st

from workbench.cli.options import CONFIG_FILE
from workbench.figure import CACHE
from workbench.service import Service, Settings, load_settings, open_service

# A file, because the browser would fetch an icon by name from elsewhere.
ICON = Path(__file__).parent / "icon.svg"
STYLE = Path(__file__).parent / "views" / "style.css"


@dataclass(frozen=True)
class AppPage:
    """One page.

    Attributes:
        address: the last part of its address.
        module: whose function `page` draws it.
        live: whether it is about the live service and is given it; the others are given the folder of shards.
    """

    address: str
    title: str
    icon: str
    module: str
    live: bool = False


APP_PAGES = (
    AppPage("live", "Live", ":material/monitoring:", "workbench.views.live.page", live=True),
    AppPage("operate", "Operate", ":material/tune:", "workbench.views.operate.page", live=True),
    AppPage("plan", "Plan", ":material/edit_calendar:", "workbench.views.plan.page"),
    AppPage("tradeoff", "ε × W_BOUND", ":material/balance:", "workbench.views.tradeoff.page"),
    AppPage("mechanisms", "Mechanisms", ":material/scatter_plot:", "workbench.views.mechanisms.page"),
    AppPage("coverage", "Coverage", ":material/target:", "workbench.views.coverage.page"),
    AppPage("attacks", "Attacks", ":material/swords:", "workbench.views.attacks.page"),
    AppPage("sketches", "Sketches", ":material/grain:", "workbench.views.sketches.page"),
)


@dataclass(frozen=True)
class OpenService:
    """An open service and what closes it."""

    service: Service
    closing: ExitStack


@st.cache_resource(show_spinner=False, on_release=lambda opened: opened.closing.close())
def open_once(settings: bytes) -> OpenService:
    """The process's one service for these settings (JSON)."""
    closing = ExitStack()
    chosen = msgspec.json.decode(settings, type=Settings)
    return OpenService(closing.enter_context(open_service(chosen, lambda: datetime.now(UTC), beside=True)), closing)


def settings_json() -> bytes:
    """The settings of the service that has mounted the app; else those of the file and the environment.

    Raises:
        SettingsError: a setting cannot be used.
    """
    # Asked first, because without any secrets a look into them is an error.
    if st.secrets.load_if_toml_exists() and "dpdau" in st.secrets:
        return str(st.secrets["dpdau"]["settings"]).encode()
    named = os.environ.get("DPDAU_CONFIG")
    file = Path(named or CONFIG_FILE)
    return msgspec.json.encode(load_settings(file if named or file.exists() else None, os.environ))


def _service() -> Service | None:
    """The live service; where it cannot be opened, the page says why."""
    from dp.ledger import LedgerError
    from workbench.service import Refused, SettingsError, StoreError
    from workbench.views.text import literal

    try:
        return open_once(settings_json()).service
    except (SettingsError, StoreError, LedgerError, Refused) as error:
        st.error(f"The service cannot be opened: {literal(str(error))}", icon=":material/error:")
        return None


def _draw(page: AppPage) -> None:
    """Draw a page, or say that store or ledger cannot be used, and look until they can."""
    from workbench.views.watch import if_usable, keep_watch

    drawn = if_usable(lambda: _draw_all(page))
    if not drawn:
        st.error(
            "The service cannot work now; its log says why. This page comes back by itself.", icon=":material/error:"
        )
        keep_watch(_usable, None)


def _usable() -> bool:
    service = _service()
    # It reads both files.
    return service is not None and service.vitals().published >= 0


def _draw_all(page: AppPage) -> bool:
    """Draw what is on every page, then the page; returns true. A page's module is imported when it is first drawn."""
    from workbench.views.standing import draw_standing
    from workbench.views.strip import draw_strip

    choice = draw_strip()
    service = _service()
    if service is not None:
        draw_standing(service)
    draw = importlib.import_module(page.module).page
    if page.live:
        if service is not None:
            draw(service, choice)
    else:
        draw(choice, CACHE)
    return True


def main() -> None:
    """Draw the page that was asked for."""
    st.set_page_config(page_title="dpdau", page_icon=str(ICON), layout="wide")
    # Not in a folder "pages": Streamlit would take its modules for scripts and run them before it gets here.
    listed = [
        st.Page(functools.partial(_draw, page), title=page.title, icon=page.icon, url_path=page.address)
        for page in APP_PAGES
    ]
    start = st.Page(lambda: None, title="dpdau", url_path="start", default=True, visibility="hidden")
    chosen = st.navigation([start, *listed], position="top")
    if chosen == start:
        # The first page has an address of its own, which can be passed on like that of any other.
        given = [(name, value) for name in st.query_params for value in st.query_params.get_all(name)]
        st.switch_page(listed[0], query_params=given)
    st.html(STYLE)
    chosen.run()


if __name__ == "__main__":
    main()
