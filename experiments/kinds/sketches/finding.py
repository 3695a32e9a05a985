"""What the tables of experiments with sketches say, in a sentence each; ValueError where a table says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from experiments.engine.claims import require


def sketch_memory(table: pd.DataFrame) -> str:
    """The error of exact counting, and of sketches that are private by themselves."""
    exact = _row(table, "exact")["formula"]
    sketches = table[~table["sketch"].isin(["exact", "bitmap"])]
    require(
        sketches[["rmse", "formula"]].min(axis=None) > 100 * exact, "no sketch comes within 100 times of exact counting"
    )
    sizes = {"fm": (4096, 4.1), "order-invariant": (12, 4.1), "sfm": (12, 12.3), "gf2": (12, 12.3)}
    errors = {}
    for name, (size, kilobytes) in sizes.items():
        row = _row(table, name, size)
        errors[name] = 100 * row["formula"]
        require(row["privacy"] == "private by itself", f"{name} is private by itself")
        require(row["bytes"] <= 1000 * kilobytes, f"{name} keeps to {kilobytes} kB")
        # Three standard errors of 60 trials.
        require(abs(row["rmse"] / row["formula"] - 1) < 0.28, f"the trials of {name} agree with its formula")
    return (
        f"Exact counting with noise for one user errs by {100 * exact:.2g} % at ε = {table['epsilon'].iloc[0]:g}, and "
        f"no sketch comes within 100 times of that; of those that are private by themselves, fm errs by "
        f"{errors['fm']:.1f} % and order-invariant by {errors['order-invariant']:.1f} % in 4 kB, sfm by "
        f"{errors['sfm']:.1f} % and gf2 by {errors['gf2']:.1f} % in 12 kB."
    )


def sketch_turnstile(table: pd.DataFrame) -> str:
    """What deletions do to sketches that follow the users and to those that are merged from days."""
    merged, followed = (table[table["path"] == path] for path in ("merged days", "followed"))
    require(merged["missed"].nunique() == 1, "merged days count too many whatever the size of the sketch")
    require((merged["bias"] - merged["missed"]).abs().max() < 0.1, "the bias of merged days is what they miss")
    require(not followed["missed"].any(), "sketches that follow the users miss nobody")
    unbiased = followed["bias"].abs() < 4.5 * followed["bias_deviation"]
    require(unbiased.all(), "sketches that follow the users have no bias")
    one, sample, matrix = table.iloc[0], _row(table, "fixed-rate", 0.256), _row(table, "gf2", 12)
    for row in (sample, matrix):
        require(0.7 < row["rmse"] / row["formula"] < 1.4, "the trials agree with the formulas")
    return (
        f"Where {100 * one['delete_rate']:.0f} % of the active days are taken back and "
        f"{100 * one['erase_rate']:.0f} % of the users are erased, sketches that are merged from days count "
        f"{100 * merged['missed'].iloc[0]:.0f} % too many whatever their size; those that follow the users have no "
        f"bias: a sample of 26 % errs by {100 * sample['formula']:.1f} % in {sample['bytes'] / 1000:.0f} kB, and gf2 "
        f"by {100 * matrix['formula']:.1f} % in {matrix['bytes'] / 1000:.0f} kB."
    )


def _row(table: pd.DataFrame, sketch: str, size: float | None = None) -> pd.Series[Any]:
    """The row of a sketch in one size, or its only row if no size is given."""
    rows = table[table["sketch"] == sketch]
    (row,) = (row for _, row in rows.iterrows() if size is None or row["size"] == size)
    return row


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {
    "sketch_memory": sketch_memory,
    "sketch_turnstile": sketch_turnstile,
}
