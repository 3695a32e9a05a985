"""Looking whether something has happened: a page is drawn as a whole, and anew only when it has."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

import streamlit as st

from dp.ledger import Budget, LedgerError
from workbench.service import Refused, Service, unavailable

WATCH_SECONDS = 2.0
Result = TypeVar("Result")


@dataclass(frozen=True)
class PublicSnapshot:
    """What anybody may see of a service; another value means that a page is out of date.

    Attributes:
        published: days that are published; for a moment a day is closed and not yet published.
    """

    last: date | None
    budgets: tuple[Budget, ...]
    published: int


def look_in_public(service: Service) -> PublicSnapshot:
    """How the service stands now, for everybody."""
    return PublicSnapshot(service.status().last, tuple(service.budgets()), service.published_days())


def keep_watch(look: Callable[[], object], seen: object) -> None:
    """Look every two seconds, and ask for a new drawing once `look` finds anything else than was `seen`."""
    st.fragment(_watch, run_every=WATCH_SECONDS)(look, seen)


def _watch(look: Callable[[], object], seen: object) -> None:
    if if_usable(look) != seen:
        st.rerun()


def if_usable(action: Callable[[], Result]) -> Result | None:
    """What an action returns; None while store or ledger cannot be used."""
    try:
        return action()
    except (Refused, LedgerError, sqlite3.DatabaseError) as error:
        if unavailable(error) is None:
            raise
        return None
