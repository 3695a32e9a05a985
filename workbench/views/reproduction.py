"""What stands below every answer of a research page: its numbers, and all that makes them anew."""

from __future__ import annotations

import functools

import msgspec
import pandas as pd
import streamlit as st

from workbench.views.bundle import COMMAND, QUESTION_FILE, bundle, question_toml, table_csv
from workbench.views.jobs.job import Tables
from workbench.views.jobs.registry import page_name, research_page
from workbench.views.text import literal


def draw_reproduce(question: msgspec.Struct, tables: Tables) -> None:
    """Draw the button for the zip with all that reproduces a finished answer."""
    st.download_button(
        "Reproduce: download a zip",
        lambda: bundle(question, tables),
        file_name=f"dpdau-{page_name(question)}.zip",
        mime="application/zip",
        icon=":material/folder_zip:",
        key="reproduce",
        on_click="ignore",
        help="The question as TOML, the tables as CSV, the charts as Vega-Lite, a notebook, and the one command that "
        "makes them anew.",
    )


def draw_reproduction(question: msgspec.Struct, tables: Tables) -> None:
    """Draw the tables with CSV, the question as TOML, the command, and the config of the experiment if there is one."""
    name, page = page_name(question), research_page(page_name(question))
    with st.expander("Table", icon=":material/table:", key="table"):
        for title, rows in tables.items():
            st.download_button(
                f"{title}.csv", functools.partial(table_csv, rows), file_name=f"{title}.csv", mime="text/csv",
                key=f"csv-{title}", icon=":material/download:", on_click="ignore",
            )  # fmt: skip
            st.dataframe(pd.DataFrame(rows), hide_index=True, key=f"rows-{title}")
    with st.expander("Question, command and experiment", icon=":material/terminal:", key="command"):
        st.markdown(f"Save this as `{QUESTION_FILE}`:")
        st.code(question_toml(question), language="toml")
        for file, sha256 in page.needed(question).items():
            st.markdown(f"Beside it must lie {literal(file)} with the SHA-256 `{sha256}`.")
        st.markdown("Then this command makes the tables and charts anew:")
        st.code(COMMAND, language="bash")
        if page.experiment is not None:
            config = f"{name}.toml"
            st.markdown(f"The same rows as an experiment. Save this as `{config}`:")
            st.code(page.experiment(question, tables), language="toml")
            st.code(f"dpdau experiment run {config}", language="bash")
