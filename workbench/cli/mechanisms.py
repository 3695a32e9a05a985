"""The commands `mechanisms` and `calibrate`: what every mechanism costs, and the ε that an accuracy needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from experiments.engine.progress import progress_bar
from workbench.cli.options import MECHANISM_NAMES, METRIC_WINDOWS, Horizon, output_options
from workbench.cli.output import Row, chosen_format, keep_apart, write_rows

if TYPE_CHECKING:
    from dp.units import ProtectedClass

Function = TypeVar("Function", bound=Callable[..., Any])

YEAR = 365


@dataclass(frozen=True)
class Asked:
    """Whom a guarantee is to protect, as the options say it.

    Attributes:
        metric: what the window is called, in capitals; empty where it has no name.
        horizon: None for no end.
    """

    metric: str
    window: int
    unit: str
    w_bound: int
    horizon: int | None

    @cached_property
    def protected(self) -> ProtectedClass:
        """The class; ValueError if a number is out of range."""
        from dp.units import protected_class

        return protected_class(self.unit, self.window, self.w_bound, self.horizon)

    @property
    def label(self) -> str:
        """The same in words."""
        span = "no horizon" if self.horizon is None else f"{self.horizon} ticks"
        name = f"{self.metric}, " if self.metric else ""
        return f"{name}window {self.window}, unit {self.unit}, W_BOUND {self.w_bound}, {span}"


def class_options(command: Function) -> Function:
    """The options that say whom the guarantee protects, which the command gets as `asked`."""

    @functools.wraps(command)
    def wrapped(
        metric: str | None, window: int | None, unit: str, w_bound: int, horizon: int | str, **others: Any
    ) -> Any:
        if metric is not None and window is not None:
            raise click.UsageError("give --metric or --window, not both: a metric is a window with a name")
        ticks = None if isinstance(horizon, str) else horizon
        if window is not None:
            return command(asked=Asked("", window, unit, w_bound, ticks), **others)
        name = metric or "mau"
        return command(asked=Asked(name.upper(), METRIC_WINDOWS[name], unit, w_bound, ticks), **others)

    for option in reversed(
        [
            click.option("--metric", type=click.Choice(list(METRIC_WINDOWS)), default=None,
                         help="A named window: DAU 1, WAU 7, MAU 30 days. Default: mau."),
            click.option("--window", type=click.IntRange(min=1), default=None, help="Any trailing window, in days."),
            click.option("--unit", type=click.Choice(["user-day", "user"]), default="user-day", show_default=True,
                         help="Who is protected."),
            click.option("--w-bound", type=click.IntRange(min=1), default=2, show_default=True,
                         help="W_BOUND, the most flips of presence of what is protected."),
            click.option("--horizon", type=Horizon(), default=YEAR, show_default=True,
                         help="Ticks that the guarantee covers, or 'unlimited'."),
            click.option("--mechanism", "names", type=click.Choice(MECHANISM_NAMES), multiple=True,
                         help="Only these; may be repeated."),
        ]
    ):  # fmt: skip
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


@click.command()
@class_options
@click.option("--epsilon", type=float, default=1.0, show_default=True, help="Of the whole series.")
@click.option("--delta", type=float, default=1e-6, show_default=True, help="Likewise; pure mechanisms ignore it.")
@click.option(
    "--bound/--no-bound", default=True, help="Whether to search for the lower bound, which can take half a minute."
)
@output_options
def mechanisms(
    asked: Asked,
    names: tuple[str, ...],
    epsilon: float,
    delta: float,
    bound: bool,
    format_name: str | None,
    out: Path | None,
) -> None:
    """Every mechanism side by side, for one class and one guarantee, each calibrated alone.

    \b
    sensitivity        users; ℓ₂ for Gaussian noise, ℓ₁ for Laplace noise
    sigma              standard deviation of one noise draw, in users
    rms_std, max_std   standard deviation of a release over the horizon, in users
    factor             max_std × μ: multiply by 1/μ of any (ε, δ); rms_factor likewise; Gaussian noise only
    lower_bound_ratio  rms_factor over what no Gaussian noise can beat for this class
    memory             most numbers that a stream keeps of its counts between ticks
    proof              section of docs/guarantees.md

    A minute or two for thousands of ticks and many runs: strategies are optimised, and their sensitivities certified.
    """
    from dp.accounting.comparison import compare
    from dp.accounting.composition import Guarantee
    from dp.mechanisms.lower_bound import lower_bound

    chosen = chosen_format(format_name, out)
    keep_apart(out=out)
    wanted = names or MECHANISM_NAMES
    rows: list[Row] = []
    with progress_bar() as report:
        report("lower bound", 0.0)
        least = lower_bound(asked.protected) if bound and delta > 0 else None
        for number, name in enumerate(wanted, start=1):
            report(name, number / (len(wanted) + 1))
            rows.append(asdict(compare(name, asked.protected, Guarantee(epsilon, delta), least)))
    _write(
        rows,
        chosen,
        out,
        f"{asked.label}; ε {epsilon:g}, δ {delta:g}" + (f"; lower bound {least:.4f}" if least else ""),
    )


@click.command()
@click.option("--target-std", type=float, required=True, help="Standard deviation of a release, in users.")
@click.option("--statistic", type=click.Choice(["max", "rms"]), default="max", show_default=True,
              help="Whether every release or their root mean square shall meet it.")  # fmt: skip
@class_options
@click.option("--delta", type=float, default=1e-6, show_default=True, help="Of the whole series.")
@output_options
def calibrate(
    asked: Asked,
    names: tuple[str, ...],
    target_std: float,
    statistic: str,
    delta: float,
    format_name: str | None,
    out: Path | None,
) -> None:
    """Accuracy first: the smallest ε with which each mechanism's noise is as small as you want it."""
    from dp.accounting.comparison import epsilon_for_deviation

    chosen = chosen_format(format_name, out)
    keep_apart(out=out)
    wanted = names or MECHANISM_NAMES
    rows: list[Row] = []
    with progress_bar() as report:
        for number, name in enumerate(wanted):
            report(name, number / len(wanted))
            needed = epsilon_for_deviation(
                name, asked.protected, target_std, delta, "rms" if statistic == "rms" else "max"
            )
            rows.append({**asdict(needed), "target_std": target_std, "statistic": statistic})
    _write(rows, chosen, out, f"{asked.label}; {statistic} standard deviation ≤ {target_std:g} users, δ {delta:g}")


def _write(rows: list[Row], chosen: str, out: Path | None, title: str) -> None:
    """A table for people has fewer columns and rounded numbers, and says below why some have none."""
    if chosen != "table":
        write_rows(rows, chosen, out, title=title)
        return
    left_out = ("source", "draws_per_tick", "reason", "noise", "rms_factor", "target_std", "statistic")
    shown = [{key: _short(value) for key, value in row.items() if key not in left_out} for row in rows]
    write_rows(shown, "table", out, title=title)
    for row in rows:
        if row["reason"]:
            click.echo(f"{row['mechanism']}: {row['reason']}", err=True)


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
