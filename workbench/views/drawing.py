"""How a chart gets onto a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import altair as alt
import streamlit as st

from workbench.views.charts import Chart

Width = int | Literal["stretch"]


def draw_chart(chart: Chart, *, key: str, words: str, width: Width = "stretch", **options: Any) -> None:
    """Draw a chart.

    Args:
        key: of the element.
        words: what it shows, for whoever cannot see it.
        width: in pixels, or as wide as its place.
        options: of `st.altair_chart`.
    """
    st.altair_chart(cast("alt.Chart", _Unchecked(chart)), width=width, key=key, alt=words, **options)


@dataclass(frozen=True)
class _Unchecked:
    """A chart as Streamlit takes it: by asking for its specification.

    To check that against the schema takes longer than all the rest of a page, and Python's lock is held meanwhile; a
    test checks every chart.
    """

    chart: Chart

    def to_dict(self) -> dict[str, Any]:
        """The specification."""
        specification: dict[str, Any] = self.chart.to_dict(validate=False)
        return specification
