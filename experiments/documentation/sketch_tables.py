"""The tables of docs/sketches.md: what sketches can do, and what the experiments with them measured."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dp.sketches.table import USERS, table

RESULTS = Path(__file__).parents[2] / "results"
BUDGETS = (330, 1_300, 5_200, 21_000)
"""Bytes; what is shown of a sketch is the largest size that keeps to them."""


def capabilities() -> str:
    """Every sketch with what it can do."""
    lines = [
        "| sketch | what it is | users who leave | merging gives | privacy | released | proof |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row['sketch']}` | {row['summary']} | {row['removes']} | {row['merges']} | "
        f"{row['privacy']}: {row['contract']} | {row['release']} | {row['proof'] or '—'} |"
        for row in table()
    ]
    lines += [
        "",
        "| sketch | standard error for n users | as an example | bytes | relative error | source |",
        "|---|---|---|---:|---:|---|",
    ]
    lines += [
        f"| `{row['sketch']}` | {row['error']} | {row['parameters'] or '—'} | {row['bytes']:,} | "
        f"{row['relative_error_percent']:.2f} % | {row['source']} |"
        for row in table()
    ]
    return "\n".join([*lines, "", f"Bytes and relative error are those of the example with {USERS:,} users."])


def memory() -> str:
    """Error of one count by memory, as results/sketch_memory.parquet has it."""
    return _by_memory(pd.read_parquet(RESULTS / "sketch_memory.parquet"))


def turnstile() -> str:
    """Error and bias under deletions of the largest size of each sketch, as results/sketch_turnstile.parquet has it."""
    rows = pd.read_parquet(RESULTS / "sketch_turnstile.parquet")
    lines = [
        "| sketch | how it follows the log | bytes | error | of that, bias | privacy |",
        "|---|---|---:|---:|---:|---|",
    ]
    for name, sizes in rows.groupby("sketch", sort=False):
        row = sizes.sort_values("bytes").iloc[-1]
        lines.append(
            f"| `{name}` | {row['path']} | {row['bytes']:,.0f} | **{_per_cent(row['rmse'])}** | "
            f"{round(100 * row['bias'], 1) + 0.0:+.1f} % | {row['privacy']} |"
        )
    return "\n".join(lines)


def _by_memory(rows: pd.DataFrame) -> str:
    lines = [
        "| sketch | privacy | "
        + " | ".join(f"up to {budget:,} bytes" for budget in BUDGETS)
        + " | the largest tried |",
        "|---|---|" + "---:|" * (len(BUDGETS) + 1),
    ]
    for name, sizes in rows.groupby("sketch", sort=False):
        cells = [_best(sizes[sizes["bytes"] <= budget]) for budget in (*BUDGETS, float("inf"))]
        lines.append(f"| `{name}` | {sizes['privacy'].iloc[0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _best(sizes: pd.DataFrame) -> str:
    if sizes.empty:
        return "—"
    row = sizes.sort_values("bytes").iloc[-1]
    return f"{_per_cent(row['rmse'])} ({row['bytes']:,.0f})"


def _per_cent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
