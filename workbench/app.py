"""The pages: `streamlit run workbench/app.py` alone, or mounted under /ui in the process of the service."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import streamlit as st

from workbench.cli.options import CONFIG_FILE
from workbench.service import Service, Settings, load_settings, open_service

# A file, because the browser would fetch an icon by name from elsewhere.
ICON = Path(__file__).parent / "icon.svg"
CACHE = Path(".cache/experiments")


@dataclass(frozen=True)
class Opened:
    """An open service and what closes it."""

    service: Service
    closing: ExitStack


@st.cache_resource(show_spinner=False, on_release=lambda opened: opened.closing.close())
def opened_service(settings: bytes) -> Opened:
    """The process's one service for these settings (JSON)."""
    closing = ExitStack()
    chosen = msgspec.json.decode(settings, type=Settings)
    return Opened(closing.enter_context(open_service(chosen, lambda: datetime.now(UTC))), closing)


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


def _live() -> None:
    from dp.ledger import LedgerError
    from workbench.service import Refused, SettingsError, StoreError
    from workbench.views.live.page import page

    try:
        service = opened_service(settings_json()).service
    except (SettingsError, StoreError, LedgerError, Refused) as error:
        st.error(f"The service cannot be opened: {error}", icon=":material/error:")
        return
    page(service)


def _tradeoff() -> None:
    from workbench.views import tradeoff

    tradeoff.page(CACHE)


def main() -> None:
    """Draw the page that was asked for."""
    st.set_page_config(page_title="dpdau", page_icon=str(ICON), layout="wide")
    # Not in a folder "pages": Streamlit would take its modules for scripts and run them before it gets here.
    pages = [
        st.Page(_live, title="Live", icon=":material/monitoring:", url_path="live", default=True),
        st.Page(_tradeoff, title="ε × W_BOUND", icon=":material/balance:", url_path="tradeoff"),
    ]
    st.navigation(pages, position="top").run()


if __name__ == "__main__":
    main()
