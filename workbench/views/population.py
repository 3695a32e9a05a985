"""The generated population that research pages release: one choice that holds over them."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from experiments.engine.population import Population
from workbench.views.strip import SLIDER_WIDTH

USERS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
DAYS = (30, 60, 90, 180, 365)


@dataclass(frozen=True)
class PopulationChoice:
    """How many users there are, for how many days, and the share of their activity that is retracted later."""

    users: int
    days: int
    delete_rate: float


def draw_population() -> PopulationChoice:
    """Draw the sliders behind a button, into the container that is open, and return what is chosen."""
    with st.popover("Population", icon=":material/groups:"):
        users = st.select_slider(
            "Users", USERS, 5_000, format_func=lambda value: f"{value:,}", key="users", bind="query-params",
            width=SLIDER_WIDTH,
        )  # fmt: skip
        days = st.select_slider("Days", DAYS, 180, key="days", bind="query-params", width=SLIDER_WIDTH)
        retracted = st.slider(
            "Retracted later", 0, 50, 15, 5, format="%d%%", key="retracted", bind="query-params", width=SLIDER_WIDTH
        )
    return PopulationChoice(users, days, retracted / 100)


def population_words(population: Population) -> str:
    """A population in words."""
    return (
        f"Generated: {population.users:,} users, {population.days:,} days, {100 * population.delete_rate:g} % of the "
        "activity retracted later."
    )
