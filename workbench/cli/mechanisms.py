"""The commands `mechanisms` and `calibrate`: what every mechanism costs, and the ε that an accuracy needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from dp.names import DEFAULT_W_BOUND, UNITS, YEAR
from experiments.engine.progress import progress_bar
from workbench.cli.options import MECHANISM_NAMES, METRIC_WINDOWS, HorizonType, Output, gathered_as, output_options
from workbench.rows import TableRow

if TYPE_CHECKING:
    from dp.units import ProtectedClass


@dataclass(frozen=True)
class ClassChoice:
    """Whom a guarantee is to protect.

    Attributes:
        metric: a window with a name; "mau" where neither it nor `window` is given.
        horizon: ticks, or "unlimited".
    """

    metric: str | None
    window: int | None
    unit: str
    w_bound: int
    horizon: int | str

    def __post_init__(self) -> None:
        """Refuse two windows."""
        if self.metric is not None and self.window is not None:
            raise click.UsageError("give --metric or --window, not both: a metric is a window with a name")

    @property
    def name(self) -> str:
        """What the window is called, in capitals; empty where it has no name."""
        return "" if self.window is not None else (self.metric or "mau").upper()

    @property
    def days(self) -> int:
        """The trailing window."""
        return METRIC_WINDOWS[self.metric or "mau"] if self.window is None else self.window

    @property
    def ticks(self) -> int | None:
        """The horizon; None for no end."""
        return None if isinstance(self.horizon, str) else self.horizon

    @cached_property
    def protected(self) -> ProtectedClass:
        """The class; ValueError if a number is out of range."""
        from dp.units import protected_class

        return protected_class(self.unit, self.days, self.w_bound, self.ticks)

    @property
    def label(self) -> str:
        """The same in words."""
        span = "no horizon" if self.ticks is None else f"{self.ticks} ticks"
        name = f"{self.name}, " if self.name else ""
        return f"{name}window {self.days}, unit {self.unit}, W_BOUND {self.w_bound}, {span}"


class_options = gathered_as(
    ClassChoice, "users",
    click.option("--metric", type=click.Choice(list(METRIC_WINDOWS)), default=None,
                 help="A named window: DAU 1, WAU 7, MAU 30 days. Default: mau."),
    click.option("--window", type=click.IntRange(min=1), default=None, help="Any trailing window, in days."),
    click.option("--unit", type=click.Choice(UNITS), default="user-day", show_default=True,
                 help="Who is protected."),
    click.option("--w-bound", type=click.IntRange(min=1), default=DEFAULT_W_BOUND, show_default=True,
                 help="W_BOUND, the most flips of presence that the protected change may cause."),
    click.option("--horizon", type=HorizonType(), default=YEAR, show_default=True,
                 help="Ticks that the guarantee covers, or 'unlimited'."),
)  # fmt: skip

mechanism_option = click.option(
    "--mechanism",
    "names",
    type=click.Choice(MECHANISM_NAMES),
    multiple=True,
    help="Only this mechanism; may be repeated.",
)


@click.command()
@class_options
@mechanism_option
@click.option("--epsilon", type=float, default=1.0, show_default=True, help="ε of the whole series.")
@click.option(
    "--delta", type=float, default=1e-6, show_default=True, help="δ of the whole series; pure mechanisms ignore it."
)
@click.option(
    "--bound/--no-bound", default=True, help="Whether to search for the lower bound, which can take half a minute."
)
@click.option("--spend-delta", is_flag=True, help="Let Laplace mechanisms spend δ, as 'release --spend-delta' does.")
@output_options
def mechanisms(
    users: ClassChoice, names: tuple[str, ...], epsilon: float, delta: float, bound: bool, spend_delta: bool,
    output: Output,
) -> None:  # fmt: skip
    """Compare all mechanisms for one class and one guarantee, each calibrated alone.

    \b
    sensitivity        users; ℓ₂ for Gaussian noise, ℓ₁ for Laplace noise
    sigma              standard deviation of one noise draw, in users
    rms_std, max_std   standard deviation of a release over the horizon, in users
    factor             max_std × μ; multiply by 1/μ of any (ε, δ). rms_factor: the same for rms_std. Gaussian noise only
    lower_bound_ratio  rms_factor divided by the lower bound for all Gaussian noise and this class
    best               the row with the least rms_std; or a published mechanism with 1 % less noise than any row
    best_ratio         rms_std divided by that of the best
    memory             largest number of values derived from its counts that a stream keeps between ticks
    proof              section of docs/guarantees.md

    Thousands of ticks and many runs take a minute or two, because strategies are optimised and their sensitivities
    certified.
    """
    from dp.accounting.comparison import compare_all
    from dp.accounting.composition import Guarantee

    output.validate()
    with progress_bar() as report:
        compared = compare_all(
            names or MECHANISM_NAMES, users.protected, Guarantee(epsilon, delta), bound=bound, spend_delta=spend_delta,
            report=report,
        )  # fmt: skip
    rows: list[TableRow] = list(map(asdict, compared.rows))
    bounded = f"; lower bound {compared.lower_bound:.4f}" if compared.lower_bound else ""
    best = next((f"; best {row.best}" for row in compared.rows if row.best), "")
    _write(rows, output, f"{users.label}; ε {epsilon:g}, δ {delta:g}{bounded}{best}")
    if ahead := compared.ahead:
        click.echo(f"ahead of all of these: {ahead.method} ({ahead.source}), which is not offered", err=True)


@click.command()
@click.option("--target-std", type=float, required=True, help="Standard deviation of a release, in users.")
@click.option("--statistic", type=click.Choice(["max", "rms"]), default="max", show_default=True,
              help="Whether every release must meet the target (max), or their root mean square (rms).")  # fmt: skip
@class_options
@mechanism_option
@click.option("--delta", type=float, default=1e-6, show_default=True, help="δ of the whole series.")
@output_options
def calibrate(
    users: ClassChoice, names: tuple[str, ...], target_std: float, statistic: str, delta: float, output: Output
) -> None:
    """Accuracy first: find the smallest ε at which each mechanism's noise is as small as you want."""
    from dp.accounting.comparison import epsilon_for_deviation

    output.validate()
    wanted = names or MECHANISM_NAMES
    rows: list[TableRow] = []
    with progress_bar() as report:
        for number, name in enumerate(wanted):
            report(name, number / len(wanted))
            needed = epsilon_for_deviation(
                name, users.protected, target_std, delta, "rms" if statistic == "rms" else "max"
            )
            rows.append({**asdict(needed), "target_std": target_std, "statistic": statistic})
    _write(rows, output, f"{users.label}; {statistic} standard deviation ≤ {target_std:g} users, δ {delta:g}")


def _write(rows: list[TableRow], output: Output, title: str) -> None:
    """A table for people has fewer columns and rounded numbers, and says below why some have none."""
    if output.format != "table":
        output.write(rows, title=title)
        return
    left_out = ("source", "draws_per_tick", "reason", "noise", "rms_factor", "best", "target_std", "statistic")
    shown = [{key: _short(value) for key, value in row.items() if key not in left_out} for row in rows]
    output.write(shown, title=title)
    for row in rows:
        if row["reason"]:
            click.echo(f"{row['mechanism']}: {row['reason']}", err=True)


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
