"""The tables of docs/audit.md, from what `make audit` measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dp.auditing.attacks import noise
from dp.auditing.closeness import dp_resolution, resolution
from dp.auditing.twins import TWINS

ROOT = Path(__file__).parents[2]
AUDIT = ROOT / "results" / "audit.parquet"
LIVE = ROOT / "results" / "audit_live.json"


def measured() -> str:
    """Every mechanism at every promised ε, the units side by side."""
    rows = _of_kind("mechanism")
    units, promised = list(dict.fromkeys(rows["unit"])), sorted(set(rows["epsilon"]))
    titles = [f"{unit}, ε = {epsilon:g}" for unit in units for epsilon in promised]
    lines = [
        "| mechanism | seen | " + " | ".join(f"{title} | ratio | worst" for title in titles) + " |",
        "|---|---|" + "---:|" * (3 * len(titles)),
    ]
    for name, part in rows.groupby("subject", sort=False):
        found = part.set_index(["unit", "epsilon"])
        cells = []
        for key in [(unit, epsilon) for unit in units for epsilon in promised]:
            if key not in found.index:
                cells += ["", "", ""]
                continue
            one = found.loc[key]
            cells += [f"{one['measured']:.3f}", f"{one['ratio']:.3f}", _decimals(one["worst"])]
        lines.append(f"| `{name}` | {part['seen'].iloc[0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def headline() -> str:
    """What the audit says, in two sentences."""
    rows, twins_found = _of_kind("mechanism"), _of_kind("twin")
    ratios = rows.loc[rows["group"] == "Gaussian noise", "ratio"]
    return (
        f"At ε = {' and '.join(f'{epsilon:g}' for epsilon in sorted(set(rows['epsilon'])))}, "
        f"{rows['trials'].max():,.0f} releases prove {ratios.min():.2f} to {ratios.max():.2f} of the μ that mechanisms "
        f"with Gaussian noise promise, and exceed no mechanism's promise. {len(twins_found)} broken twins, which "
        f"repeat mistakes made elsewhere, are caught in 99 of 100 attempts with "
        f"{twins_found['caught_at'].min():,.0f} to {twins_found['caught_at'].max():,.0f} releases."
    )


def sketches() -> str:
    """Every sketch that promises something."""
    rows = _of_kind("sketch")
    lines = ["| sketch | seen | δ | trials | claimed ε | measured ε | ratio |", "|---|---|---:|---:|---:|---:|---:|"]
    lines += [
        f"| `{row['subject']}` | {row['seen']} | {row['delta']:g} | {row['trials']:,.0f} | {row['epsilon']:g} | "
        f"{row['measured']:.3f} | {row['ratio']:.3f} |"
        for _, row in rows.iterrows()
    ]
    return "\n".join(lines)


def closeness() -> str:
    """What one vote of the attack on the noise tells apart, quick and full."""
    quick, full = (_told_apart(half, runs) for half, runs in zip(noise.HALVES, noise.RUNS, strict=True))
    lines = [
        "| compared | draws, quick | must accept up to, reject from | draws, full | must accept up to, reject from |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {what} | {draws} | {span} | {more} | {narrow} |"
        for (what, draws, span), (_, more, narrow) in zip(quick, full, strict=True)
    ]
    return "\n".join(lines)


def _told_apart(half: int, runs: int) -> Iterator[tuple[str, str, str]]:
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
    lines = ["| twin | mistake | trials | caught | false alarms |", "|---|---|---:|---:|---:|"]
    lines += [
        f"| `{row['subject']}` | {TWINS[row['subject']]().mistake.rstrip('.')} | {row['caught_at']:,.0f} | "
        f"{row['caught']:,.0f} ({100 * row['caught_at_least']:.1f} %) | "
        f"{row['false_alarms']:,.0f} ({100 * row['false_alarms_at_most']:.1f} %) |"
        for _, row in _of_kind("twin").iterrows()
    ]
    return "\n".join(lines)


def live() -> str:
    """Real releases, from `dpdau audit --live … --out results/audit_live.json`."""
    lines = ["| mechanism | seen | claimed ε | measured ε | ratio | releases |", "|---|---|---:|---:|---:|---:|"]
    lines += [
        f"| `{row['subject']}` | {row['seen']} | {row['claimed']:g} | {row['measured']:.3f} | {row['ratio']:.3f} | "
        f"{row['trials']:,} |"
        for row in json.loads(LIVE.read_text(encoding="utf-8"))
    ]
    return "\n".join(lines)


def _of_kind(kind: str) -> pd.DataFrame:
    table = pd.read_parquet(AUDIT)
    return table[table["kind"] == kind]


def _decimals(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"
