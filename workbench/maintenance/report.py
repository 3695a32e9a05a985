"""All blocks of the documentation that a command writes: those of the experiments and those of the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.documentation.blocks import EXPERIMENT_BLOCKS, fill_blocks
from experiments.documentation.markdown import markdown_table
from experiments.engine.places import RESULTS, ROOT
from workbench.service import Settings, promise_of_all
from workbench.service.settings import SERIES, TABLES, SeriesSettings
from workbench.words import WORDS

BENCH = RESULTS / "bench_serve.json"
BENCH_SIZE = RESULTS / "bench_serve_size.json"
BENCH_APP = RESULTS / "bench_app.json"
BENCH_MECHANISMS = RESULTS / "bench_mechanisms.json"
BENCH_SKETCHES = RESULTS / "bench_sketches.json"
DOCUMENTS = (
    "README.md",
    "docs/audit.md",
    "docs/figures.md",
    "docs/mechanisms.md",
    "docs/questions.md",
    "docs/service.md",
    "docs/sketches.md",
)


def words() -> str:
    """The field's words."""
    return markdown_table(["word", "meaning"], "ll", [(f"*{word}*", meaning) for word, meaning in WORDS.items()])


def live_promise() -> str:
    """The promise of the service as it comes."""
    return f"> {promise_of_all(Settings())}"


def settings_table() -> str:
    """Every setting with its default; the series side by side."""
    defaults = Settings()
    names = [name for name in Settings.__struct_fields__ if name not in (*SERIES, *TABLES)]
    common = markdown_table(
        ["setting", "default"], "ll", [(f"`{name}`", _shown(getattr(defaults, name))) for name in names]
    )
    series = markdown_table(
        ["of a series, such as `mau.epsilon`", *SERIES],
        "l" * (1 + len(SERIES)),
        [
            [f"`{name}`", *(_shown(getattr(defaults.series[metric], name)) for metric in SERIES)]
            for name in SeriesSettings.__struct_fields__
        ],
    )
    return f"{common}\n\n{series}"


def service_benchmark() -> str:
    """What `dpdau bench serve --out results/bench_serve.json` measured."""
    rows = [
        (
            f"{row['events_per_request']:,}", str(row["connections"]), f"**{row['events_per_second']:,}**",
            f"{row['requests_per_second']:,}", f"{row['p50_ms']:.1f} ms", f"{row['p99_ms']:.1f} ms",
            f"{row['share_of_sqlite']:.2f}",
        )
        for row in json.loads(BENCH.read_text(encoding="utf-8"))
    ]  # fmt: skip
    titles = ["events a request", "connections", "durable events/s", "requests/s", "p50", "p99", "share of sqlite"]
    return markdown_table(titles, "rrrrrrr", rows)


def service_at_size() -> str:
    """What `dpdau bench serve --size full --out results/bench_serve_size.json` measured."""
    rows = [(row["what"], f"**{row['value']:,g}** {row['unit']}") for row in json.loads(BENCH_SIZE.read_text("utf-8"))]
    return markdown_table(["ten million operations of a million users", "measured"], "lr", rows)


def app_times() -> str:
    """What `dpdau bench app --out results/bench_app.json` measured."""
    rows = [
        (row["what"], f"**{row['median']:g}**", f"{row['most']:g}") for row in json.loads(BENCH_APP.read_text("utf-8"))
    ]
    return markdown_table(["on two cores, the browser among them", "median", "longest; p95"], "lrr", rows)


def bench_headline() -> str:
    """The figure that matters most, in one sentence."""
    (row,) = (row for row in json.loads(BENCH.read_text(encoding="utf-8")) if row["events_per_request"] == 100)
    return (
        f"On two cores, with the client on the same machine, the service makes **{row['events_per_second']:,} events a "
        f"second** durable at 100 events a request (`dpdau bench serve`)."
    )


def mechanism_benchmarks() -> str:
    """The three tables of `dpdau bench mechanisms --out results/bench_mechanisms.json`, each with what it says."""
    return "\n\n".join(
        [
            "Choosing a strategy for prefix sums of one flip a user, beside jax-privacy 2.0 "
            '(`make setup EXTRAS="--extra bench"`); the error is sensitivity² × mean variance. "Over": the other '
            "library was stopped after that time.",
            _optimise(),
            "Simulating 365 ticks: processor time of one thread.",
            _simulate(),
            "One secure release at the last tick, from the stored state to the next one, for the unit user and "
            'W_BOUND 2; in brackets, the time to choose the strategy. Processor time. "—": choosing takes too long.',
            _step(),
        ]
    )


def _optimise() -> str:
    rows = []
    for row in _bench_mechanisms("optimise"):
        over = "over " if row["jax_finished"] is False else ""
        rows.append(
            (
                row["problem"], f"{row['horizon']:,}", f"**{row['seconds']:.2f}**",
                f"{over}{_measured(row['jax_seconds'], 1)}", f"{over}{_measured(row['ratio'], 0)}",
                f"{row['error']:.4f}", _measured(row["jax_error"], 4),
            )
        )  # fmt: skip
    return markdown_table(
        ["prefix sum", "T", "seconds", "jax-privacy 2.0", "ratio", "error", "its error"], "lrrrrrr", rows
    )


def _simulate() -> str:
    rows = [
        (
            f"`{row['mechanism']}`", f"**{row['million_ticks_per_second']:.1f}**", f"{row['noise_ns']:.1f} ns",
            f"{row['decode_ns']:.1f} ns", f"{row['draws_per_tick']:.2f}",
        )
        for row in _bench_mechanisms("simulate")
    ]  # fmt: skip
    return markdown_table(["mechanism", "million ticks/s", "noise", "decoding", "draws a tick"], "lrrrr", rows)


def _step() -> str:
    steps = _bench_mechanisms("step")
    horizons = sorted({row["horizon"] for row in steps})
    rows = []
    for name in dict.fromkeys(row["mechanism"] for row in steps):
        cells = (
            "—" if row["step_ms"] is None else f"**{row['step_ms']:.2f} ms** ({row['design_seconds']:.1f} s)"
            for row in steps
            if row["mechanism"] == name
        )
        rows.append([f"`{name}`", *cells])
    titles = ["mechanism", *(f"T = {horizon:,}" for horizon in horizons)]
    return markdown_table(titles, "l" + "r" * len(horizons), rows)


def sketch_benchmarks() -> str:
    """The three tables of `dpdau bench sketches --out results/bench_sketches.json`, each with what it says."""
    tables = json.loads(BENCH_SKETCHES.read_text(encoding="utf-8"))
    users, trials = max(row["users"] for row in tables["error"]), tables["error"][0]["trials"]
    return "\n\n".join(
        [
            f"Processor time of one thread, {users:,} users: hashed keys are added all at once, and two sketches that "
            "share half of their users are merged.",
            _sketch_speed(tables["speed"]),
            f'Relative error of one count, root mean square over {trials} fresh salts. "—": a sketch without a '
            "guarantee has no ε, and a sketch that is private by its hash has no version without ε.",
            _sketch_error(tables["error"]),
            "The same users through another library, on one thread; the two alternate in the same run.",
            _sketch_beside(tables["beside"]),
        ]
    )


def _sketch_speed(rows: list[dict[str, Any]]) -> str:
    lines = [
        (
            row["sketch"] if row["bytes"] is None else f"`{row['sketch']}`",
            row["parameters"] or "—",
            f"**{row['million_users_per_second']:,.1f}**",
            _measured(row["bytes"], 0),
            "—" if row["merge_ms"] is None else f"{row['merge_ms']:,.2f} ms",
        )
        for row in rows
    ]
    return markdown_table(["sketch", "parameters", "million users/s", "bytes", "merge"], "llrrr", lines)


def _sketch_error(rows: list[dict[str, Any]]) -> str:
    columns = [name for name in rows[0] if name not in ("sketch", "users", "trials")]
    titles = ["ε = " + name.removeprefix("epsilon_") if name.startswith("epsilon") else "no ε" for name in columns]
    lines = []
    for row in rows:
        cells = ("—" if row[name] is None else f"{row[name]:.2g} %" for name in columns)
        lines.append([f"`{row['sketch']}`", f"{row['users']:,}", *cells])
    return markdown_table(["sketch", "users", *titles], "lr" + "r" * len(columns), lines)


def _sketch_beside(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        errors = (_measured(row[name], 2) + ("" if row[name] is None else " %") for name in ("error", "its_error"))
        lines.append(
            [
                f"`{row['sketch']}`", row["beside"], f"{row['million_users_per_second']:.1f}",
                f"{row['its_million_users_per_second']:.1f}", f"**{row['overhead']:.2f}**", *errors,
            ]
        )  # fmt: skip
    titles = ["sketch", "beside", "million users/s", "its", "our time over its", "error", "its"]
    return markdown_table(titles, "llrrrrr", lines)


BLOCKS: dict[str, Callable[[], str]] = {
    **EXPERIMENT_BLOCKS,
    "words": words,
    "live-promise": live_promise,
    "settings": settings_table,
    "bench-serve": service_benchmark,
    "bench-serve-size": service_at_size,
    "bench-app": app_times,
    "bench-headline": bench_headline,
    "bench-mechanisms": mechanism_benchmarks,
    "bench-sketches": sketch_benchmarks,
}


def _bench_mechanisms(table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(BENCH_MECHANISMS.read_text(encoding="utf-8"))[table]
    return rows


def _measured(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:,.{digits}f}"


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
        path.write_text(fill_blocks(path.read_text(encoding="utf-8"), BLOCKS), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    write()
