"""All blocks of the documentation that a command writes: those of the experiments and those of the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from experiments.report import BLOCKS as EXPERIMENTS
from experiments.report import filled
from workbench.service import Settings, promise_of_all
from workbench.service.settings import SERIES, SeriesSettings

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "results" / "bench_serve.json"
DOCUMENTS = ("README.md", "docs/mechanisms.md", "docs/service.md")


def live_promise() -> str:
    """The promise of the service as it comes."""
    return f"> {promise_of_all(Settings())}"


def settings_table() -> str:
    """Every setting with its default; the series side by side."""
    defaults = Settings()
    rows = ["| setting | default |", "|---|---|"]
    rows += [
        f"| `{name}` | {_shown(getattr(defaults, name))} |" for name in Settings.__struct_fields__ if name not in SERIES
    ]
    rows += ["", "| of a series, such as `mau.epsilon` | " + " | ".join(SERIES) + " |", "|---|---|---|---|"]
    for name in SeriesSettings.__struct_fields__:
        cells = " | ".join(_shown(getattr(defaults.series[metric], name)) for metric in SERIES)
        rows.append(f"| `{name}` | {cells} |")
    return "\n".join(rows)


def bench_serve() -> str:
    """What `dpdau bench serve --out results/bench_serve.json` measured."""
    rows = json.loads(BENCH.read_text(encoding="utf-8"))
    lines = [
        "| events a request | connections | durable events/s | requests/s | p50 | p99 | share of sqlite |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['events_per_request']:,} | {row['connections']} | **{row['events_per_second']:,}** | "
        f"{row['requests_per_second']:,} | {row['p50_ms']:.1f} ms | {row['p99_ms']:.1f} ms | "
        f"{row['share_of_sqlite']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def bench_headline() -> str:
    """The figure that matters most, in one sentence."""
    (row,) = (row for row in json.loads(BENCH.read_text(encoding="utf-8")) if row["events_per_request"] == 100)
    return (
        f"On two cores, with the client on the same machine, the service makes **{row['events_per_second']:,} events a "
        f"second** durable at 100 events a request (`dpdau bench serve`)."
    )


BLOCKS: dict[str, Callable[[], str]] = {
    **EXPERIMENTS,
    "live-promise": live_promise,
    "settings": settings_table,
    "bench-serve": bench_serve,
    "bench-headline": bench_headline,
}


def _shown(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def write(root: Path = ROOT) -> None:
    """Fill every block of every document."""
    for document in DOCUMENTS:
        path = root / document
        path.write_text(filled(path.read_text(encoding="utf-8"), BLOCKS), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    write()
