"""The commands of the experiments: `dpdau experiment …`, and the same as `python -m experiments …`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.engine.defaults import PROFILES, TOLERANCE
from experiments.engine.interrupts import EXIT_INTERRUPTED, is_interrupt
from experiments.engine.progress import progress_bar

if TYPE_CHECKING:
    from experiments.engine.compare import TableDifference
    from experiments.engine.config import ExperimentConfig
    from experiments.engine.runner import RunPlan, RunSummary

EXIT_OUTSIDE = 1
MOST_SHOWN = 5

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)

configs_option = click.option(
    "--configs", type=FOLDER, default="experiments/configs", show_default=True, help="Folder of the configs."
)
results_option = click.option(
    "--results", type=FOLDER, default="results", show_default=True, help="Folder for tables, provenance and figures."
)
cache_option = click.option(
    "--cache", type=FOLDER, default=".cache/experiments", show_default=True,
    help="Folder for finished points, which are reused.",
)  # fmt: skip
profile_option = click.option(
    "--profile", type=click.Choice(PROFILES), default="quick", show_default=True,
    help="quick: the config as written; full: with the values under [profiles.full].",
)  # fmt: skip
jobs_option = click.option("--jobs", type=click.IntRange(min=1), default=None, help="Processes; all cores by default.")


class Group(click.Group):
    """Refusals end in one line and exit code 1, an interrupt in exit code 130, neither with a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (ValueError, OSError) as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(1)
        except (Exception, KeyboardInterrupt) as error:
            if not is_interrupt(error):
                raise
            click.echo("Interrupted. Finished points are kept: the same command resumes from there.", err=True)
            ctx.exit(EXIT_INTERRUPTED)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def experiment() -> None:
    """Run the experiments behind the figures."""


@experiment.command("run")
@click.argument("chosen", type=FILE, nargs=-1, metavar="[CONFIG]…")
@configs_option
@jobs_option
@click.option("--scheduler", default=None, metavar="ADDRESS", help="Compute on the Dask cluster of this scheduler.")
@click.option(
    "--only",
    "only",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only points with this value; may be repeated. The files are then called NAME_only.",
)
@click.option("--resume", is_flag=True, help="Resume an earlier run. Accepted for clarity; runs always resume.")
@profile_option
@results_option
@cache_option
def experiment_run(
    chosen: Sequence[Path], configs: Path, jobs: int | None, scheduler: str | None, only: Sequence[str], resume: bool,
    profile: str, results: Path, cache: Path,
) -> None:  # fmt: skip
    """Run configs (TOML; all by default). Each gives a tidy Parquet table, its provenance, and a figure (SVG, PNG).

    Finished points are kept, so an interrupted run resumes and a second run computes nothing. If all are run, a config
    whose log is not on this machine is named and skipped.
    """
    from experiments.engine.runner import run
    from experiments.kinds.loading import read

    if scheduler is not None and jobs is not None:
        raise click.UsageError(
            "--jobs sets the processes on this machine, --scheduler names another cluster: give one of them"
        )
    if only and len(chosen) != 1:
        raise click.UsageError("--only picks points of one CONFIG: name it")
    with progress_bar() as report:
        for path in chosen or sorted(configs.glob("*.toml")):
            config = read(path, profile)
            if not chosen and _plan(config, cache) is None:
                click.echo(f"{config.name}: left out, its log is not here", err=True)
                continue
            summary = run(
                config, path, results, cache, jobs=jobs, scheduler=scheduler, only=[_pair(text) for text in only],
                profile=profile, report=report,
            )  # fmt: skip
            click.echo(f"{path.stem}: {_summary(summary)}", err=True)
            for file in summary.files:
                click.echo(file)


@experiment.command("list")
@configs_option
@cache_option
@profile_option
def experiment_list(configs: Path, cache: Path, profile: str) -> None:
    """List the configs: points, how many are finished, and the question."""
    from experiments.kinds.loading import read

    lines = []
    for path in sorted(configs.glob("*.toml")):
        config = read(path, profile)
        plan = _plan(config, cache)
        points = sum(1 for _ in config.points())
        done = "its log is not here" if plan is None else _done(plan)
        lines.append((path.stem, f"{points} points", done, config.question))
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(3)]
    for line in lines:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]))


@experiment.command("show")
@click.argument("config", type=FILE)
@jobs_option
@profile_option
@results_option
@cache_option
def experiment_show(config: Path, jobs: int | None, profile: str, results: Path, cache: Path) -> None:
    """Show the grid of CONFIG, how much is finished, how long the rest will take, and where the results go."""
    from experiments.engine.grid import words_of
    from experiments.kinds.loading import load

    loaded = load(config, profile)
    plan = _plan(loaded, cache)
    click.echo(f"{loaded.name}: {loaded.question}")
    words = [words_of(point) for point in loaded.points()]
    for name in dict.fromkeys(name for one in words for name in one):
        values = list(dict.fromkeys(one[name] for one in words if name in one))
        click.echo(f"  {name} ({len(values)}): {', '.join(values)}")
    click.echo(f"{len(words)} points, profile {profile}")
    if plan is None:
        click.echo("A log that it names is not on this machine, so it cannot be run.")
    else:
        click.echo(f"Finished: {_done(plan)}; left: {_left(plan, jobs or os.cpu_count() or 1)}")
        click.echo(f"Finished points lie in {cache}")
    for suffix in (".parquet", ".json", ".svg", ".png"):
        path = results / f"{loaded.name}{suffix}"
        click.echo(f"{path}{'' if path.exists() else ' (not there yet)'}")


@experiment.command("compare")
@click.argument("first", type=FILE, metavar="A")
@click.argument("second", type=FILE, metavar="B")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=TOLERANCE,
    show_default=True,
    help="Largest relative difference that is accepted.",
)
@click.pass_context
def experiment_compare(ctx: click.Context, first: Path, second: Path, tolerance: float) -> None:
    """Compare two tables, A and B: the largest differences, column by column; exit code 1 outside the tolerance."""
    from experiments.engine.compare import compare_files

    comparison = compare_files(first, second, tolerance)
    click.echo(f"{comparison.rows} rows in common, found by {', '.join(comparison.identity)}")
    apart = [one for one in comparison.differences if one.largest]
    width = max((len(one.column) for one in apart), default=0)
    for one in apart:
        outside = f"  {one.outside} rows outside" if one.outside else ""
        click.echo(f"  {one.column.ljust(width)}  absolute {one.largest:.3g}  relative {one.relative:.3g}{outside}")
    if comparison.rows:
        click.echo(f"  the same in {len(comparison.differences) - len(apart)} of {len(comparison.differences)} columns")
    for path, only in ((first, comparison.only_first), (second, comparison.only_second)):
        _name_unmatched(path, only)
    if not comparison.within:
        ctx.exit(EXIT_OUTSIDE)


@experiment.command("check")
@click.argument("chosen", type=FILE, nargs=-1, metavar="[CONFIG]…")
@configs_option
@jobs_option
@results_option
@cache_option
@click.pass_context
def experiment_check(
    ctx: click.Context, chosen: Sequence[Path], configs: Path, jobs: int | None, results: Path, cache: Path
) -> None:
    """Run configs (all by default) and compare the tables with those in the results folder.

    Exit code 1 if a table is missing or differs by more than the tolerance that its config states. A config whose log
    is not on this machine is named and skipped.
    """
    from experiments.engine.compare import compare_files
    from experiments.engine.config import check
    from experiments.engine.runner import complete
    from experiments.engine.tables import write_table
    from experiments.kinds.loading import read

    failed = False
    with tempfile.TemporaryDirectory() as folder, progress_bar() as report:
        for path in chosen or sorted(configs.glob("*.toml")):
            config = read(path)
            plan = _plan(config, cache)
            if plan is None:
                click.echo(f"{config.name}: left out, its log is not here")
                continue
            check(config, path)
            table = Path(folder) / f"{config.name}.parquet"
            committed = results / table.name
            if not committed.exists():
                failed = True
                click.echo(f"{config.name}: there is no {committed}")
                continue
            write_table(complete(config, plan, cache, jobs=jobs, report=report).rows, table)
            comparison = compare_files(committed, table, config.accepted_difference)
            failed |= not comparison.within
            click.echo(f"{config.name}: {_verdict(comparison, config.accepted_difference)}")
            _name_unmatched(committed, comparison.only_first)
            _name_unmatched(Path("the new table"), comparison.only_second)
    if failed:
        ctx.exit(EXIT_OUTSIDE)


def _verdict(comparison: TableDifference, tolerance: float) -> str:
    outside = [f"{one.column} by {one.relative:.3g}" for one in comparison.differences if one.outside]
    if outside:
        return f"{comparison.rows} rows, outside {tolerance:g}: {', '.join(outside)}"
    largest = max((one.relative for one in comparison.differences), default=0.0)
    return f"{comparison.rows} rows, largest relative difference {largest:.3g}, allowed {tolerance:g}"


def _name_unmatched(path: Path, only: Sequence[str]) -> None:
    if only:
        more = f" and {len(only) - MOST_SHOWN} more" if len(only) > MOST_SHOWN else ""
        click.echo(f"  only in {path}: {'; '.join(only[:MOST_SHOWN])}{more}")


def _plan(config: ExperimentConfig, cache: Path) -> RunPlan | None:
    """The points to run and their shards; None if a log is missing."""
    from experiments.engine import runner

    try:
        return runner.plan_run(config, cache)
    except ValueError:
        return None


def _done(plan: RunPlan) -> str:
    missing = len(plan.missing)
    return "all" if not missing else f"{len(plan.shards) - missing} of {len(plan.shards)}"


def _left(plan: RunPlan, jobs: int) -> str:
    missing, each = len(plan.missing), plan.seconds_a_point()
    if not missing:
        return "nothing"
    if each is None:
        return f"{missing} points; the time is not known until the first is finished"
    return f"{missing} points, about {missing * each / min(jobs, missing):.0f} s on {jobs} processes"


def _summary(summary: RunSummary) -> str:
    return f"{summary.computed} shards computed, {summary.reused} reused, {summary.seconds:.1f} s"


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise click.UsageError(f"--only {text}: write KEY=VALUE, for instance mechanism=laplace")
    return name, value
