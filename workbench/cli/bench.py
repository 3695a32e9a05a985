"""The group `bench`: measure speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dp.names import DEFAULT_MECHANISM
from experiments.engine.progress import progress_bar
from workbench.cli.options import FILE, MECHANISM_NAMES, Output, output_options
from workbench.cli.output import keep_apart, write_rows

if TYPE_CHECKING:
    from workbench.bench.serve import Way


@click.group()
def bench() -> None:
    """Measure speed; every speed in the documentation comes from one of these commands."""


@bench.command("data")
@click.option("--events", type=float, default=1e7, show_default=True, help="Operations in the largest log.")
@click.option("--users", type=float, default=1e6, show_default=True)
@click.option("--days", type=click.IntRange(min=1), default=365, show_default=True)
@click.option("--w-bound", type=click.IntRange(min=1), default=24, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--log-format", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True, help="Of what is read."
)
@click.option(
    "--segments",
    type=click.IntRange(min=3),
    default=None,
    help="Measure instead what so many segments cost: windows, flows and weeks in total and by segment, beside "
    "three windows without segments; counting alone.",
)
@click.option("--format", "format_name", type=click.Choice(["table", "csv", "json"]), default="table")
def bench_data(
    events: float, users: float, days: int, w_bound: int, seed: int, log_format: str, segments: int | None,
    format_name: str,
) -> None:  # fmt: skip
    """Time reading a log and counting three windows with truncation, beside plain SQL for one window without it.

    At three sizes, each in a process of its own. The ratios are ours by those of DuckDB, which runs the SQL on the
    same log without checking a row; read_cpu_ratio is that of reading and indexing users alone.
    """
    from workbench.bench.data import bench_data as measure
    from workbench.bench.questions import bench_questions

    with progress_bar() as report:
        report("measuring", None)
        if segments:
            costs = bench_questions(int(events), int(users), days, segments, seed)
            write_rows(costs, format_name, None, title="Data column: questions by segment, and windows without")
            return
        rows = measure(int(events), int(users), days, (1, 7, 30), w_bound, seed, log_format)
    write_rows(rows, format_name, None, title=f"Data column: from a log in {log_format} to daily counts")


@bench.command("noise")
@click.option("--series", type=click.IntRange(min=3), default=10_000, show_default=True, help="Segments and the total.")
@click.option("--ticks", type=click.IntRange(min=1), default=365, show_default=True)
@click.option(
    "--mechanism", "mechanisms", type=click.Choice(MECHANISM_NAMES), multiple=True, default=[DEFAULT_MECHANISM],
    show_default=True, help="A linear one. May be repeated.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of what is simulated.")
@output_options
def bench_noise(series: int, ticks: int, mechanisms: tuple[str, ...], seed: int, output: Output) -> None:
    """Time the noise of a release with many series: simulated, secure, and as rows."""
    from workbench.bench.noise import bench_noise as measure

    output.validate()
    with progress_bar() as report:
        report("measuring", None)
        rows = measure(series, ticks, mechanisms, seed)
    output.write(rows, title="Releases: the noise of many series")


@bench.command("serve")
@click.option(
    "--seconds", type=click.FloatRange(min=0.5), default=5.0, show_default=True, help="Seconds for each kind of load."
)
@click.option("--users", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--size", type=click.Choice(["full", "small"]),
              help="Measure instead what load, closes, erasures and reads cost on a store of ten million operations of "
                   "a million users (full, some minutes), or of a toy (small).")  # fmt: skip
@click.option("--grpc", "over_grpc", is_flag=True, help="Send the events over gRPC instead; needs the extra grpc.")
@output_options
def bench_serve(seconds: float, users: int, size: str | None, over_grpc: bool, output: Output) -> None:
    """Measure durable events per second over HTTP at 1, 100 and 1,000 per request; the client is another process."""
    from workbench.bench.serve import HTTP
    from workbench.bench.serve import bench_serve as measure
    from workbench.bench.serve_size import SIZES, bench_size

    if size and over_grpc:
        raise click.UsageError("--size measures HTTP; leave out --grpc or --size")
    way = _grpc() if over_grpc else HTTP
    output.validate()
    with progress_bar() as report:
        rows = bench_size(SIZES[size], report) if size else measure(seconds, users, report, way=way)
    over = "gRPC" if over_grpc else "HTTP"
    output.write(rows, title=f"Service: durable events over {over}, SQLite with synchronous=FULL")


def _grpc() -> Way:
    try:
        from workbench.bench.serve_rpc import GRPC
    except ModuleNotFoundError as error:
        raise click.ClickException("gRPC is not installed: pip install 'dpdau[grpc]'") from error
    return GRPC


@bench.command("mechanisms")
@click.option("--trials", type=click.IntRange(min=1), default=2000, show_default=True, help="Series simulated at once.")
@click.option(
    "--reference-python", type=FILE, help="A Python that has jax-privacy 2.0; by default this one, if it has it."
)
@click.option(
    "--reference-seconds",
    type=click.FloatRange(min=1),
    default=45.0,
    show_default=True,
    help="Seconds after which jax-privacy is stopped, for each of its three problems.",
)
@click.option("--out", type=FILE, help="Also keep the three tables in this JSON file.")
def bench_mechanisms(trials: int, reference_python: Path | None, reference_seconds: float, out: Path | None) -> None:
    """Time the choice of a strategy (beside jax-privacy), noisy ticks per second, and one secure step per mechanism."""
    from experiments.engine.files import write_atomically
    from workbench.bench.mechanisms import TITLES
    from workbench.bench.mechanisms import bench_mechanisms as measure
    from workbench.bench.mechanisms import reference_python as own_python

    keep_apart(out=out)
    python = str(reference_python) if reference_python else own_python()
    with progress_bar() as report:
        tables = measure(python, reference_seconds, trials, report)
    for name, rows in tables.items():
        write_rows(rows, "table", None, title=TITLES[name])
    if python is None:
        click.echo(
            'jax-privacy is not installed: `make setup EXTRAS="--extra bench"`, or name a --reference-python', err=True
        )
    if out:
        write_atomically(out, (json.dumps(tables, indent=1) + "\n").encode())


@bench.command("sketches")
@click.option("--trials", type=click.IntRange(min=2), default=20, show_default=True, help="Salts for each error.")
@click.option("--users", type=click.IntRange(min=1000), default=1_000_000, show_default=True)
@click.option("--out", type=FILE, help="Also keep the three tables in this JSON file.")
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
def bench_sketches(trials: int, users: int, out: Path | None, format_name: str) -> None:
    """Measure users per second, bytes, merge time and error of every sketch, beside DataSketches and DuckDB."""
    from experiments.engine.files import write_atomically
    from workbench.bench.sketches import TITLES
    from workbench.bench.sketches import bench_sketches as measure

    keep_apart(out=out)
    with progress_bar() as report:
        tables = measure(trials, report, users=(max(users // 10, 1), users))
    text = json.dumps(tables, indent=1) + "\n"
    if format_name == "json":
        click.echo(text, nl=False)
    else:
        for name, rows in tables.items():
            write_rows(rows, "table", None, title=TITLES[name])
    if out:
        write_atomically(out, text.encode())


@bench.command("experiments")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Repeats; the fastest counts."
)
@output_options
def bench_experiments(repeats: int, output: Output) -> None:
    """Time a grid of 28 points × 2,000 trials × 365 days without and with its cache, and the overhead per task."""
    from workbench.bench.experiments import bench_experiments as measure

    output.validate()
    with progress_bar() as report:
        rows = measure(repeats, report)
    output.write(rows, title="The experiment engine: wall time")


@bench.command("app")
@click.option("--repeats", type=click.IntRange(min=1, max=4), default=3, show_default=True)
@output_options
def bench_app(repeats: int, output: Output) -> None:
    """Time how long a person waits for the pages, in a Chromium, and the API beside them; needs a developer's setup."""
    from workbench.bench.app import bench_app as measure

    output.validate()
    with progress_bar() as report:
        rows = measure(repeats, report)
    output.write(rows, title="The app in a browser: wall time")
