"""The tables of docs/audit.md, from what `make audit` measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pandas as pd

from dp.auditing.attacks import noise
from dp.auditing.closeness import dp_resolution, resolution
from dp.auditing.twins import TWINS
from experiments.documentation.markdown import markdown_table
from experiments.engine.places import RESULTS

AUDIT = RESULTS / "audit.parquet"
LIVE = RESULTS / "audit_live.json"


def mechanism_table() -> str:
    """Every mechanism at every promised ε, the units side by side."""
    rows = _of_kind("mechanism")
    promises = [(unit, epsilon) for unit in dict.fromkeys(rows["unit"]) for epsilon in sorted(set(rows["epsilon"]))]
    titles = [title for unit, epsilon in promises for title in (f"{unit}, ε = {epsilon:g}", "ratio", "worst")]
    lines = []
    for name, part in rows.groupby("subject", sort=False):
        by_promise = part.set_index(["unit", "epsilon"])
        cells = []
        for promise in promises:
            if promise not in by_promise.index:
                cells += ["", "", ""]
                continue
            one = by_promise.loc[promise]
            cells += [f"{one['measured']:.3f}", f"{one['ratio']:.3f}", _decimals(one["worst"])]
        lines.append([f"`{name}`", part["seen"].iloc[0], *cells])
    return markdown_table(["mechanism", "seen", *titles], "ll" + "r" * len(titles), lines)


def audit_headline() -> str:
    """What the audit says, in two sentences."""
    rows, broken = _of_kind("mechanism"), _of_kind("twin")
    ratios = rows.loc[rows["group"] == "Gaussian noise", "ratio"]
    return (
        f"At ε = {' and '.join(f'{epsilon:g}' for epsilon in sorted(set(rows['epsilon'])))}, "
        f"{rows['trials'].max():,.0f} releases prove {ratios.min():.2f} to {ratios.max():.2f} of the μ that mechanisms "
        f"with Gaussian noise promise, and exceed no mechanism's promise. {len(broken)} broken twins, which "
        f"repeat mistakes made elsewhere, are caught in 99 of 100 attempts with "
        f"{broken['caught_at'].min():,.0f} to {broken['caught_at'].max():,.0f} releases."
    )


def sketch_table() -> str:
    """Every sketch that promises something."""
    rows = [
        (
            f"`{row['subject']}`", row["seen"], f"{row['delta']:g}", f"{row['trials']:,.0f}", f"{row['epsilon']:g}",
            f"{row['measured']:.3f}", f"{row['ratio']:.3f}",
        )
        for _, row in _of_kind("sketch").iterrows()
    ]  # fmt: skip
    return markdown_table(
        ["sketch", "seen", "δ", "trials", "claimed ε", "measured ε", "ratio"], "llrrrrr", rows
    )  # fmt: skip


def closeness_table() -> str:
    """What one vote of the attack on the noise can distinguish, quick and full."""
    quick, full = (_comparisons(half, runs) for half, runs in zip(noise.VOTE_DRAWS, noise.RUNS, strict=True))
    limits = "must accept up to, reject from"
    return markdown_table(
        ["compared", "draws, quick", limits, "draws, full", limits],
        "lrrrr",
        [(*few, *many[1:]) for few, many in zip(quick, full, strict=True)],
    )


def _comparisons(half: int, runs: int) -> Iterator[tuple[str, str, str]]:
    secure, times, ticks = 2 * half, noise.SEEDED, noise.TICKS
    sizes = {
        "secure and seeded": (secure, times * secure),
        "secure and law": (secure, math.inf),
        "seeded and law": (times * secure, math.inf),
        "pairs of secure draws and law": (half, math.inf),
        "releases of a linear mechanism": (ticks * runs, times * ticks * runs),
        "releases of others": (runs, times * runs),
    }
    for what, (first, second) in sizes.items():
        tolerance = resolution(noise.ERROR, first, second)
        draws = f"{first:,}" if math.isinf(second) else f"{first:,} and {second:,}"
        yield what, draws, f"{tolerance / 2:.3f}, {tolerance:.3f}"
    excess = dp_resolution(noise.ERROR, noise.CELLS, noise.EPSILON, half, half)
    yield f"(ε, δ) at ε = {noise.EPSILON:g}", f"{half:,} and {half:,}", f"δ, δ + {excess:.3f}"


def twins() -> str:
    """Every broken twin with the number of trials that catches it."""
    rows = [
        (
            f"`{row['subject']}`",
            TWINS[row["subject"]]().mistake.rstrip("."),
            f"{row['caught_at']:,.0f}",
            f"{row['caught']:,.0f} ({100 * row['caught_at_least']:.1f} %)",
            f"{row['false_alarms']:,.0f} ({100 * row['false_alarms_at_most']:.1f} %)",
        )
        for _, row in _of_kind("twin").iterrows()
    ]
    return markdown_table(["twin", "mistake", "trials", "caught", "false alarms"], "llrrr", rows)


def live() -> str:
    """Real releases, from `dpdau audit --live … --out results/audit_live.json`."""
    rows = [
        (
            f"`{row['subject']}`", row["seen"], f"{row['claimed']:g}", f"{row['measured']:.3f}", f"{row['ratio']:.3f}",
            f"{row['trials']:,}",
        )
        for row in json.loads(LIVE.read_text(encoding="utf-8"))
    ]  # fmt: skip
    return markdown_table(["mechanism", "seen", "claimed ε", "measured ε", "ratio", "releases"], "llrrrr", rows)


def _of_kind(kind: str) -> pd.DataFrame:
    table = pd.read_parquet(AUDIT)
    return table[table["kind"] == kind]


def _decimals(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"
