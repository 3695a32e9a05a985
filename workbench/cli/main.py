"""The command line. Commands parse and print; what they do is in `dp` and `experiments`, imported when it is needed."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from experiments.cli import experiment
from experiments.engine.progress import Report, progress_bar
from workbench.cli.attack import attack
from workbench.cli.audit import audit
from workbench.cli.compose import compose
from workbench.cli.mechanisms import calibrate, mechanisms
from workbench.cli.options import (
    CONFIG_FILE,
    FILE,
    MECHANISM_NAMES,
    METRIC_WINDOWS,
    Day,
    Horizon,
    LogCommand,
    Pairs,
    Source,
    gathered_as,
    log_options,
    output_options,
    read_source,
)
from workbench.cli.output import chosen_format, keep_apart, write_rows
from workbench.cli.salt import salt
from workbench.cli.service import COMMANDS
from workbench.cli.sketches import Counting, sketch_options, sketches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dp.ledger import Ledger
    from dp.mechanisms.joint import Exceptions
    from dp.presence import Engine
    from dp.release.release import Freeze

Function = TypeVar("Function", bound=Callable[..., Any])

EXIT_BUDGET_EXHAUSTED = 3
DEFAULT_CAP = (10.0, 1e-5)
LARGE_DELTA = 1e-2
DEFAULT_W_BOUND = 2
METRIC_NAMES = tuple(METRIC_WINDOWS)


class Main(click.Group):
    """The root: errors that name their cause end in one line and an exit code, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; 3 is the exit code of an exhausted budget, 1 that of any other refusal."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if "interrupt" in f"{type(error).__name__} {error}".lower():  # how DuckDB passes on a Ctrl-C
                raise click.Abort from error
            code = _exit_code(error)
            if code is None:
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(code)


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dpdau")
def main() -> None:
    """Private active-user counts: DAU, WAU and MAU from a log in which users come, go and take their activity back.

    \b
    A first tour:
      dpdau generate --users 20000 --days 120 --delete-rate 0.15 --seed 7 --out log.csv
      dpdau exact    log.csv --metric mau                  (true counts, NOT PRIVATE)
      dpdau release  log.csv --metric mau --epsilon 1      (private, charged to the ledger)
      dpdau budget

    \b
    Live:
      dpdau demo                                           (a filled store, its HTTP interface and its pages)
      dpdau serve                                          (your own)
    """


@dataclass(frozen=True)
class Query:
    """The series that a command counts, and where."""

    metrics: Sequence[str]
    windows: Sequence[int]
    mau_window: str
    first: date | None
    last: date | None
    engine: str

    @property
    def chosen(self) -> dict[str, int]:
        """Metric → trailing window in days."""
        from dp.release import METRICS

        names = dict.fromkeys(self.metrics or (() if self.windows else METRIC_NAMES))
        named = {metric: METRICS[metric] for metric in names}
        if "mau" in named:
            named["mau"] = int(self.mau_window)
        return named | {f"{window}-day": window for window in self.windows}


def query_options(command: Function) -> Function:
    """Which series are meant, and where they are counted; the command gets a `query`."""
    gathered = gathered_as(command, Query, "query")
    for option in reversed(
        [
            click.option("--metric", "metrics", type=click.Choice(METRIC_NAMES), multiple=True,
                         help="May be repeated. All three when neither --metric nor --window is given."),
            click.option("--window", "windows", type=click.IntRange(min=1), multiple=True, metavar="DAYS",
                         help="Any other trailing window, as metric '14-day' and so on; may be repeated."),
            click.option("--mau-window", type=click.Choice(["30", "28"]), default="30", show_default=True,
                         help="Days in MAU's window; 28 removes the weekly ripple."),
            click.option("--from", "first", type=Day(), help="First tick. A public parameter: give it. "
                         "Without it the log's first day is taken, which is data."),
            click.option("--to", "last", type=Day(), help="Last tick, likewise."),
            click.option("--engine", default="duckdb", show_default=True, metavar="duckdb | spark://… | local[N]",
                         help="Where the counting query runs. Spark needs the extra 'spark', --from, --to and a log "
                              "written by 'dpdau validate --out'."),
        ]
    ):  # fmt: skip
        gathered = option(gathered)
    return gathered


def _default_ledger() -> str:
    """The ledger that the service's settings name, so that a folder has one budget for all commands."""
    file = Path(os.environ.get("DPDAU_CONFIG", CONFIG_FILE))
    named = tomllib.loads(file.read_text(encoding="utf-8")).get("ledger") if file.is_file() else None
    return named or "dpdau.ledger"


ledger_option = click.option(
    "--ledger", "ledger_path", type=FILE, envvar="DPDAU_LEDGER", default=_default_ledger, show_default="dpdau.ledger",
    help="The budget ledger, one SQLite file; also by the variable DPDAU_LEDGER, or by 'ledger' in dpdau.toml.",
)  # fmt: skip


@main.command()
@click.option("--users", type=click.IntRange(min=1), required=True, help="Size of the population.")
@click.option("--days", type=click.IntRange(min=1), required=True, help="Length of the log.")
@click.option(
    "--delete-rate",
    type=float,
    default=0.0,
    show_default=True,
    help="Probability that a user's activity on a day is retracted later.",
)
@click.option(
    "--erase-rate",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of users who send one erasure request.",
)
@click.option(
    "--late-rate",
    type=float,
    default=0.0,
    show_default=True,
    help="Probability that an activity arrives after its day.",
)
@click.option("--seed", type=click.IntRange(min=0), required=True, help="Same seed, same bytes.")
@click.option("--start", type=Day(), default="2024-01-01", show_default=True, help="First day.")
@click.option("--out", type=FILE, required=True, help="CSV, JSON Lines or Parquet, by its name; .gz is fine.")
def generate(
    users: int,
    days: int,
    delete_rate: float,
    erase_rate: float,
    late_rate: float,
    seed: int,
    start: date,
    out: Path,
) -> None:
    """Write a synthetic activity log with retractions and erasures."""
    from dp.log.generate import generate as generate_log
    from dp.log.generate import write_log

    with progress_bar() as report:
        report("generating", None)
        table = generate_log(
            users,
            days,
            delete_rate=delete_rate,
            erase_rate=erase_rate,
            late_rate=late_rate,
            seed=seed,
            start=start,
        )
        report("writing", None)
        write_log(table, out)
    click.echo(f"{table.num_rows:,} operations of {users:,} users over {days} days → {out}", err=True)


@main.command(cls=LogCommand)
@log_options
@click.option(
    "--out",
    type=FILE,
    default=None,
    help="Also write the checked log as Parquet with arrival numbers, the form that Spark reads.",
)
def validate(source: Source, out: Path | None) -> None:
    """Check a log row by row and say what is in it."""
    from dp.log import write_canonical

    keep_apart(log=source.log, quarantine=source.quarantine, out=out)
    with progress_bar() as report, read_source(source, report) as checked:
        if out:
            write_canonical(checked, out)
        click.echo(f"{checked.users:,} users, {checked.first_day} to {checked.last_day}", err=True)


@main.command(cls=LogCommand)
@log_options
@query_options
@click.option(
    "--w-bound",
    type=click.IntRange(min=1),
    default=None,
    help="Also count with every user frozen after this many flips, and show the truncation bias.",
)
@output_options
def exact(
    source: Source,
    query: Query,
    w_bound: int | None,
    format_name: str | None,
    out: Path | None,
) -> None:
    """True counts. NOT PRIVATE: for your own eyes, never for publication."""
    chosen = chosen_format(format_name, out)
    keep_apart(log=source.log, quarantine=source.quarantine, out=out)
    wanted = query.chosen
    with progress_bar() as report, _counting(source, query, report) as counted:
        truth = counted.count(wanted, None)
        bounded = counted.count(wanted, w_bound) if w_bound else None
    rows = [
        {
            "metric": metric,
            "day": day.isoformat(),
            "count": int(truth[metric][tick]),
            **(
                {
                    "bounded_count": int(bounded[metric][tick]),
                    "truncation_bias": int(bounded[metric][tick] - truth[metric][tick]),
                }
                if bounded
                else {}
            ),
        }
        for metric in wanted
        for tick, day in enumerate(counted.ticks)
    ]
    click.secho("NOT PRIVATE: these are true counts; do not publish them.", fg="red", bold=True, err=True)
    write_rows(rows, chosen, out, title="NOT PRIVATE — true counts")


@main.command(cls=LogCommand)
@log_options
@query_options
@click.option(
    "--unit",
    type=click.Choice(["user-day", "user"]),
    default="user-day",
    show_default=True,
    help="Who is protected: one user's activity on one day with its later retraction, or everything a user ever does.",
)
@click.option(
    "--w-bound",
    type=click.IntRange(min=1),
    default=None,
    show_default=str(DEFAULT_W_BOUND),
    help="W_BOUND, the most flips of presence of what is protected. With --unit user a user is frozen after "
    "so many (use an even number). Without effect on sparse-vector, which needs no bound, and on adaptive-flippancy "
    "(--unit user), which finds its own: its rows say the day's W_BOUND and, as bias_bound, how many users may be "
    "missing because they are frozen; the interval speaks of noise.",
)
@click.option("--epsilon", type=float, required=True, help="Of all series together, over the whole horizon.")
@click.option(
    "--delta",
    type=float,
    default=1e-6,
    show_default=True,
    help="Likewise; Laplace mechanisms do not use it, and with 0 sparse-vector is pure.",
)
@click.option(
    "--mechanism",
    type=click.Choice(MECHANISM_NAMES),
    default="damped-square-root",
    show_default=True,
    help="How noise is drawn; docs/mechanisms.md compares them.",
)
@click.option(
    "--split",
    type=Pairs(),
    default=None,
    metavar="METRIC=SHARE,…",
    help="How several series divide the budget; equally by default.",
)
@click.option(
    "--horizon",
    type=Horizon(),
    default=None,
    help="Ticks that the guarantee covers, or 'unlimited' where the mechanism allows it; by default from "
    "--from to --to. Give it when the stream is to be continued later.",
)
@click.option(
    "--on-time",
    type=Pairs(),
    default=None,
    metavar="removals=R,late=L",
    help="With --unit user: protect users who act on the day itself and take nothing back, with at most so many "
    "exceptions. Nobody is frozen, and several series need less noise together (docs/mechanisms.md).",
)
@sketch_options
@click.option("--ci-level", type=float, default=0.95, show_default=True, help="Level of the pointwise intervals.")
@click.option(
    "--consistent",
    is_flag=True,
    help="Add whole counts in order (DAU ≤ WAU ≤ MAU, none negative) to the rows; costs nothing.",
)
@click.option(
    "--stream",
    default=None,
    help="Idempotent key: a stream is charged once and its published days never "
    "change; later calls may add days. By default it is derived from the parameters and the log's bytes.",
)
@ledger_option
@click.option("--budget", default="default", show_default=True, help="The ledger's budget to charge.")
@click.option("--simulate", is_flag=True, help="Seeded noise, no charge, every row marked secure: false.")
@click.option("--seed", type=click.IntRange(min=0), default=None, help="Seed of --simulate.")
@output_options
def release(
    source: Source,
    query: Query,
    unit: str,
    w_bound: int | None,
    epsilon: float,
    delta: float,
    mechanism: str,
    split: dict[str, str] | None,
    horizon: int | str | None,
    on_time: dict[str, str] | None,
    counting: Counting,
    ci_level: float,
    consistent: bool,
    stream: str | None,
    ledger_path: Path,
    budget: str,
    simulate: bool,
    seed: int | None,
    format_name: str | None,
    out: Path | None,
) -> None:
    """Publish private counts with intervals, charged once to the ledger.

    The same command again returns the same bytes and charges nothing. Exit code 3: the budget is exhausted and nothing
    was released.
    """
    from dp.accounting.composition import Guarantee
    from dp.mechanisms import MECHANISMS
    from dp.release import Request, default_stream, plan_release, promise, publish, simulate_rows, uses_w_bound

    chosen = chosen_format(format_name, out)
    if simulate and seed is None:
        raise click.UsageError("--simulate needs a --seed, so that it can be repeated")
    if seed is not None and not simulate:
        raise click.UsageError("--seed goes with --simulate only: the noise of a real release has no seed")
    keep_apart(log=source.log, quarantine=source.quarantine, ledger=None if simulate else ledger_path, out=out)
    wanted = query.chosen
    shares = _shares(split, wanted)
    data = source.identity if stream is None and not simulate else ""
    if consistent and MECHANISMS[mechanism].strategy is None:
        raise click.UsageError(
            f"--consistent weighs estimates by their standard deviation; that of {mechanism} depends on the data"
        )
    if w_bound is not None and not uses_w_bound(mechanism):
        click.echo(f"note: --w-bound is without effect: {mechanism} needs no W_BOUND to be given", err=True)
    if delta > LARGE_DELTA and MECHANISMS[mechanism].delta != "none":
        click.echo(f"warning: delta is {delta:g}: with that probability there may be no privacy at all", err=True)
    counting.validate(query.engine)
    with progress_bar() as report, _counting(source, query, report, counting) as counted:
        covered = None if horizon == "unlimited" else int(horizon or len(counted.ticks))
        request = Request(
            windows=wanted,
            unit=unit,
            w_bound=w_bound or DEFAULT_W_BOUND,
            guarantee=Guarantee(epsilon, delta),
            mechanism=mechanism,
            first=counted.ticks[0],
            horizon=covered,
            shares=shares,
            ci_level=ci_level,
            on_time=_exceptions(on_time),
            sketch=counting.sketch,
            sample=counting.sample(counted.ticks[0], covered),
        )
        report("calibrating the noise", None)
        plan = plan_release(request)
        counts = counted.count(wanted, plan.freeze)
        report("drawing the noise", None)
        if simulate:
            assert seed is not None
            rows = simulate_rows(plan, counts, seed)
            click.echo("SIMULATED: seeded noise, not private; nothing was charged.", err=True)
        else:
            key = stream or default_stream(request.specification(), data)
            with _open_budget(ledger_path) as ledger:
                now = datetime.now(UTC)
                published = publish(ledger, key, budget, plan, counts, now, data, counted.arrived)
                rows = [json.loads(row) for row in published]
            click.echo(promise(request), err=True)
    if consistent:
        from workbench.cli.consistent import with_counts

        rows = with_counts(rows)
    told = ["metric", "day", "estimate", "ci_low", "ci_high", "std"]
    if "bias_bound" in rows[0]:
        told += ["w_bound", "bias_bound"]
    if "sketch_std" in rows[0]:
        told += ["sketch_std", "noise_low", "noise_high"]
    if consistent:
        told += ["count", "count_low", "count_high"]
    hidden = [name for name in rows[0] if name not in told]
    try:
        write_rows(rows, chosen, out, title=_release_title(rows), hidden=hidden)
    except OSError as error:
        kept = "" if simulate else " The release is charged and stored: repeat the command, it returns it at no charge."
        raise click.ClickException(f"{out} cannot be written: {error.strerror or error}.{kept}") from error


@main.group(invoke_without_command=True)
@ledger_option
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def budget(ctx: click.Context, ledger_path: Path, format_name: str) -> None:
    """Show what was spent on what and what is left; 'dpdau budget create' opens another budget."""
    ctx.obj = ledger_path
    if ctx.invoked_subcommand is None:
        _show_budgets(ledger_path, format_name)


@budget.command("create")
@click.argument("name")
@click.option("--epsilon", type=float, required=True, help="Cap on the sum of ε.")
@click.option("--delta", type=float, required=True, help="Cap on the sum of δ.")
@click.option("--from", "starts", type=Day(), default=None, help="First day of its period; today by default.")
@click.option("--to", "ends", type=Day(), default=None, help="Last day of its period; without it, for ever.")
@click.pass_obj
def budget_create(
    ledger_path: Path, name: str, epsilon: float, delta: float, starts: date | None, ends: date | None
) -> None:
    """Open a budget. Nothing ever resets: a new period is a new budget."""
    from dp.accounting.composition import Guarantee
    from dp.ledger import open_ledger

    with open_ledger(ledger_path) as ledger:
        made = ledger.create_budget(name, Guarantee(epsilon, delta), starts or datetime.now(UTC).date(), ends)
    click.echo(f"budget {name!r}: epsilon ≤ {made.cap.epsilon:g}, delta ≤ {made.cap.delta:g}, {made.period}")


@main.command()
@click.argument("released", type=FILE)
@click.option("--truth", type=FILE, default=None, help="Output of 'dpdau exact', drawn as the true counts.")
@click.option("--title", default=None, help="Heading of the figure.")
@click.option("--note", default=None, help="A line under the figure: source of the log, caveats.")
@click.option("--out", "outs", type=FILE, multiple=True, required=True, help="SVG, PNG or PDF; may be repeated.")
def plot(released: Path, truth: Path | None, title: str | None, note: str | None, outs: Sequence[Path]) -> None:
    """Draw a release with its intervals, from the file that 'dpdau release --out' wrote."""
    from experiments.engine.pictures import save
    from experiments.releases import RELEASE_COLUMNS, TRUTH_COLUMNS, read_rows, release_figure

    figure = release_figure(
        read_rows(released, RELEASE_COLUMNS),
        read_rows(truth, TRUTH_COLUMNS) if truth else None,
        title=title,
        note=note,
    )
    for path in outs:
        save(figure, path)
        click.echo(path)


@main.group()
def bench() -> None:
    """Measure speed; every figure in the documentation comes from one of these."""


@bench.command("data")
@click.option("--events", type=float, default=1e7, show_default=True, help="Operations in the largest log.")
@click.option("--users", type=float, default=1e6, show_default=True)
@click.option("--days", type=click.IntRange(min=1), default=365, show_default=True)
@click.option("--w-bound", type=click.IntRange(min=1), default=24, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--format", "format_name", type=click.Choice(["table", "csv", "json"]), default="table")
def bench_data(events: float, users: float, days: int, w_bound: int, seed: int, format_name: str) -> None:
    """Read a log and count three windows with truncation, at three sizes, in a process of its own."""
    from workbench.bench.data import bench_data as measure

    with progress_bar() as report:
        report("measuring", None)
        rows = measure(int(events), int(users), days, windows=(1, 7, 30), w_bound=w_bound, seed=seed)
    write_rows(rows, format_name, None, title="Data column: from a Parquet log to daily counts")


@bench.command("serve")
@click.option(
    "--seconds", type=click.FloatRange(min=0.5), default=5.0, show_default=True, help="For each kind of load."
)
@click.option("--users", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@output_options
def bench_serve(seconds: float, users: int, format_name: str | None, out: Path | None) -> None:
    """Durable events a second over HTTP at 1, 100 and 1,000 events a request; the client is another process."""
    from workbench.bench.serve import bench_serve as measure

    chosen = chosen_format(format_name, out)
    with progress_bar() as report:
        rows = measure(seconds, users, report)
    write_rows(rows, chosen, out, title="Service: durable events over HTTP, SQLite with synchronous=FULL")


@bench.command("mechanisms")
@click.option("--trials", type=click.IntRange(min=1), default=2000, show_default=True, help="Series simulated at once.")
@click.option("--reference-python", type=FILE, help="One that has jax-privacy 2.0; by default this one, if it does.")
@click.option(
    "--reference-seconds",
    type=click.FloatRange(min=1),
    default=45.0,
    show_default=True,
    help="After which jax-privacy is given up, for each of its three problems.",
)
@click.option("--out", type=FILE, help="Also keep the three tables in this JSON file.")
def bench_mechanisms(trials: int, reference_python: Path | None, reference_seconds: float, out: Path | None) -> None:
    """Time to choose a strategy (beside jax-privacy), noisy ticks a second, and one secure step of every mechanism."""
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
        click.echo("jax-privacy is not installed: `uv sync --extra bench`, or name a --reference-python", err=True)
    if out:
        write_atomically(out, (json.dumps(tables, indent=1) + "\n").encode())


@bench.command("sketches")
@click.option("--trials", type=click.IntRange(min=2), default=20, show_default=True, help="Salts for each error.")
@click.option("--users", type=click.IntRange(min=1000), default=1_000_000, show_default=True)
@click.option("--out", type=FILE, help="Also keep the three tables in this JSON file.")
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
def bench_sketches(trials: int, users: int, out: Path | None, format_name: str) -> None:
    """Users a second, bytes, merge time and error of every sketch, beside DataSketches and DuckDB."""
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
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="The quickest counts.")
@output_options
def bench_experiments(repeats: int, format_name: str | None, out: Path | None) -> None:
    """A grid of 28 points × 2,000 trials × 365 days from nothing and from its cache, and the overhead of a task."""
    from workbench.bench.experiments import bench_experiments as measure

    chosen = chosen_format(format_name, out)
    with progress_bar() as report:
        rows = measure(repeats, report)
    write_rows(rows, chosen, out, title="The experiment engine: wall time")


def _exceptions(on_time: dict[str, str] | None) -> Exceptions | None:
    from dp.mechanisms.joint import Exceptions

    if on_time is None:
        return None
    if not set(on_time) <= {"removals", "late"} or not all(number.isdigit() for number in on_time.values()):
        raise click.UsageError("--on-time is a list such as removals=2,late=1, of whole numbers")
    return Exceptions(**{name: int(number) for name, number in on_time.items()})


def _shares(split: dict[str, str] | None, wanted: dict[str, int]) -> dict[str, float]:
    if split is None:
        return dict.fromkeys(wanted, 1.0)
    if set(split) != set(wanted):
        raise click.UsageError(f"--split names {', '.join(split)}; it must name each of {', '.join(wanted)}")
    try:
        return {metric: float(split[metric]) for metric in wanted}
    except ValueError as error:
        raise click.UsageError(f"--split needs a number for every metric: {error}") from error


Count = Callable[[dict[str, int], "Freeze"], dict[str, Any]]


@dataclass(frozen=True)
class Counted:
    """A log that can be counted.

    Attributes:
        count: (windows, after how many flips users are left out, see `dp.release.Plan.freeze`) → counts per metric.
        ticks: the days that the counts cover.
        arrived: names the operations that had arrived by the end of a day; None where the engine cannot tell.
    """

    count: Count
    ticks: list[date]
    arrived: Callable[[date], str] | None


@contextmanager
def _counting(source: Source, query: Query, report: Report, counting: Counting | None = None) -> Iterator[Counted]:
    from dp.log import arrived_fingerprint
    from dp.presence import DuckDBEngine, spark_engine

    first, last = query.first, query.last
    if query.engine == "duckdb":
        with read_source(source, report) as checked:
            if first is None or last is None:
                click.echo(
                    "warning: the first or last tick is taken from the log, where it is data; both are public "
                    "parameters: give --from and --to",
                    err=True,
                )
            first, last = first or checked.first_day, last or checked.last_day
            ask = functools.partial(_counter, first=first, last=last, report=report)
            yield Counted(
                counting.counter(checked, ask, first, last, report)
                if counting
                else ask(DuckDBEngine(checked.connection, progress=report)),
                _ticks(first, last),
                functools.partial(arrived_fingerprint, checked),
            )
        return
    if not query.engine.startswith(("spark://", "local")):
        raise click.UsageError(f"--engine is {query.engine!r}; write duckdb, spark://host:port or local[N]")
    if first is None or last is None:
        raise click.UsageError(f"--engine {query.engine} needs --from and --to")
    if (source.columns, source.timezone, source.on_error, source.input_format) != (None, "UTC", "fail", "auto"):
        raise click.UsageError(
            "--columns, --timezone, --on-error and --input-format belong to 'dpdau validate --out', which writes the "
            "log that Spark reads"
        )
    if importlib.util.find_spec("pyspark") is None:
        raise click.UsageError("PySpark is not installed; it is the extra 'spark': uv sync --extra spark")
    report("starting Spark", None)
    spark = spark_engine(query.engine, source.log)
    try:
        yield Counted(_counter(spark, first, last, report), _ticks(first, last), None)
    finally:
        spark.session.stop()


def _counter(engine: Engine, first: date, last: date, report: Report) -> Count:
    def count(wanted: dict[str, int], freeze: Freeze) -> dict[str, Any]:
        report("counting users", None)
        windows = sorted(set(wanted.values()))
        if isinstance(freeze, tuple):
            bounded = engine.bounded_counts(windows, first, last, freeze)
            return {metric: bounded[window] for metric, window in wanted.items()}
        flips = engine.daily_flips(windows, first, last, freeze)
        return {metric: flips[window].counts for metric, window in wanted.items()}

    return count


def _ticks(first: date, last: date) -> list[date]:
    if last < first:
        raise click.UsageError(f"--to is {last}, before --from {first}")
    return [first + timedelta(days=index) for index in range((last - first).days + 1)]


@contextmanager
def _open_budget(path: Path) -> Iterator[Ledger]:
    """The ledger; a new one gets the default budget, and says so."""
    from dp.accounting.composition import Guarantee
    from dp.ledger import LedgerError, open_ledger

    with open_ledger(path) as ledger:
        if not ledger.budgets():
            try:
                made = ledger.create_budget("default", Guarantee(*DEFAULT_CAP), datetime.now(UTC).date(), None)
            except LedgerError:  # another process was first
                made = ledger.budget("default")
            click.echo(
                f"new ledger {path}: budget 'default', epsilon ≤ {made.cap.epsilon:g}, delta ≤ {made.cap.delta:g}, "
                f"{made.period}",
                err=True,
            )
        yield ledger


def _show_budgets(path: Path, format_name: str) -> None:
    from dp.ledger import open_ledger
    from workbench.budgets import budget_row, charge_row

    if not path.exists():
        raise click.ClickException(f"there is no ledger at {path}; the first release makes one")
    with open_ledger(path) as ledger:
        budgets, charges = ledger.budgets(), ledger.charges()
    rows, entries = [budget_row(one) for one in budgets], [charge_row(one) for one in charges]
    if format_name == "json":
        click.echo(json.dumps({"budgets": rows, "charges": entries}, indent=2))
        return
    for row in rows:
        click.echo(f"budget {row['budget']} ({row['period']})")
        for letter, name in (("ε", "epsilon"), ("δ", "delta")):
            click.echo(
                f"  {letter}: {row[f'{name}_spent']:g} spent of {row[f'{name}_cap']:g}, "
                f"{row[f'{name}_remaining']:g} remaining"
            )
    if entries:
        shown = [{**entry, "charged_at": entry["charged_at"][:16].replace("T", " ")} for entry in entries]
        write_rows(shown, "table", None, title="charges (times in UTC)")


def _release_title(rows: Sequence[dict[str, Any]]) -> str:
    one = rows[0]
    kind = f"budget left: ε {one['budget_remaining']:g}" if one["secure"] else "SIMULATED — not private"
    # Where it is said day by day, or there is none, the title says nothing.
    bound = "" if one["w_bound"] is None or "bias_bound" in one else f"W_BOUND {one['w_bound']}, "
    counted = f"a sample of {100 * one['rate']:g}% of the users, " if "rate" in one else ""
    return (
        f"{counted}{one['mechanism']}, unit {one['unit']}, {bound}ε {one['epsilon_total']:g}, "
        f"δ {one['delta_total']:g}, {100 * one['ci_level']:g}% intervals; {kind}"
    )


def _exit_code(error: Exception) -> int | None:
    """The exit code for errors that explain themselves; None for those that are defects."""
    ledger, service = sys.modules.get("dp.ledger"), sys.modules.get("workbench.service")
    if ledger and isinstance(error, ledger.BudgetExhausted):
        return EXIT_BUDGET_EXHAUSTED
    explained: tuple[type[Exception], ...] = (ValueError, OSError)
    explained += (ledger.LedgerError,) if ledger else ()
    explained += (service.Refused, service.StoreError) if service else ()
    return 1 if isinstance(error, explained) else None


for _command in (mechanisms, calibrate, audit, attack, compose, sketches, salt, experiment, *COMMANDS):
    main.add_command(_command)

if __name__ == "__main__":
    main()
