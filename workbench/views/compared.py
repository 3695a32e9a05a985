"""The mechanisms that a research page compares: that of the strip, and those that are chosen beside it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dp.names import MECHANISMS, OWN_BOUND_MECHANISMS
from workbench.views.strip import StripChoice


def draw_compared(choice: StripChoice, usual: Sequence[str], key: str) -> tuple[str, ...]:
    """Draw the field and return the mechanisms in the order of the registry; there may be none.

    What finds its W_BOUND itself is not offered: there is nothing to show against it.

    Args:
        usual: drawn beside the mechanism of the strip, if nothing else is chosen.
        key: of the field.
    """
    offered = [name for name in MECHANISMS if name not in OWN_BOUND_MECHANISMS]
    compared = st.multiselect("Compared with", offered, list(usual), key=key, bind="query-params", width=440)
    return tuple(name for name in offered if name in {choice.mechanism, *compared})
