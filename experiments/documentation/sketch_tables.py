"""The tables of docs/sketches.md: what sketches can do, and what the experiments with them measured."""

from __future__ import annotations

import pandas as pd

from dp.sketches.table import EXAMPLE_USERS, sketch_rows
from experiments.documentation.markdown import markdown_table
from experiments.engine.places import RESULTS

BUDGETS = (330, 1_300, 5_200, 21_000)
"""Budgets in bytes; for each, the table shows the largest size of a sketch that fits."""


def capabilities() -> str:
    """Every sketch with what it can do."""
    sketches = sketch_rows()
    abilities = markdown_table(
        ["sketch", "what it is", "users who leave", "merging gives", "privacy", "released", "proof"],
        "lllllll",
        [
            (
                f"`{row['sketch']}`", row["summary"], row["removes"], row["merges"],
                f"{row['privacy']}: {row['contract']}", row["release"], row["proof"] or "—",
            )
            for row in sketches
        ],
    )  # fmt: skip
    errors = markdown_table(
        ["sketch", "standard error for n users", "as an example", "bytes", "relative error", "source"],
        "lllrrl",
        [
            (
                f"`{row['sketch']}`", row["error"], row["parameters"] or "—", f"{row['bytes']:,}",
                f"{row['relative_error_percent']:.2f} %", row["source"],
            )
            for row in sketches
        ],
    )  # fmt: skip
    return f"{abilities}\n\n{errors}\n\nBytes and relative error are those of the example with {EXAMPLE_USERS:,} users."


def memory() -> str:
    """Error of one count by memory, as results/sketch_memory.parquet has it."""
    lines = []
    for name, sizes in pd.read_parquet(RESULTS / "sketch_memory.parquet").groupby("sketch", sort=False):
        cells = [_best(sizes[sizes["bytes"] <= budget]) for budget in (*BUDGETS, float("inf"))]
        lines.append((f"`{name}`", sizes["privacy"].iloc[0], *cells))
    budgets = [f"up to {budget:,} bytes" for budget in BUDGETS]
    titles = ["sketch", "privacy", *budgets, "the largest tried"]
    return markdown_table(titles, "ll" + "r" * (len(BUDGETS) + 1), lines)


def turnstile() -> str:
    """Error and bias under deletions of the largest size of each sketch, as results/sketch_turnstile.parquet has it."""
    lines = []
    for name, sizes in pd.read_parquet(RESULTS / "sketch_turnstile.parquet").groupby("sketch", sort=False):
        row = sizes.sort_values("bytes").iloc[-1]
        bias = f"{round(100 * row['bias'], 1) + 0.0:+.1f} %"
        error = f"**{_per_cent(row['rmse'])}**"
        lines.append((f"`{name}`", row["path"], f"{row['bytes']:,.0f}", error, bias, row["privacy"]))
    titles = ["sketch", "how it follows the log", "bytes", "error", "of that, bias", "privacy"]
    return markdown_table(titles, "llrrrl", lines)


def _best(sizes: pd.DataFrame) -> str:
    if sizes.empty:
        return "—"
    row = sizes.sort_values("bytes").iloc[-1]
    return f"{_per_cent(row['rmse'])} ({row['bytes']:,.0f})"


def _per_cent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
