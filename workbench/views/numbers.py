"""The numbers of an answer in one row, on a phone too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st


class ShownNumber(NamedTuple):
    """A number with its label and what it means."""

    label: str
    value: str
    meaning: str


def draw_numbers(numbers: Sequence[ShownNumber]) -> None:
    """Draw them beside each other; their meanings are shown on demand."""
    with st.container(horizontal=True, gap="small"):
        for number in numbers:
            st.metric(number.label, number.value, border=True, width="stretch", help=number.meaning)
