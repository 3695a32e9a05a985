"""`dpdau exact --protection`: how much of a log the promise of unit user-day covers, and what holds for the rest."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import click

from dp.names import DEFAULT_MECHANISM
from experiments.engine.progress import Report
from workbench.cli.counts import CountableLog
from workbench.cli.options import MECHANISM_NAMES, gathered_as
from workbench.rows import TableRow


@dataclass(frozen=True)
class Promised:
    """The promise that `--protection` holds against the log."""

    protection: bool
    epsilon: float
    delta: float
    mechanism: str


protection_options = gathered_as(
    Promised, "promised",
    click.option("--protection", is_flag=True,
                 help="Instead of counts: how many user-days and users the promise of unit user-day covers under "
                      "--w-bound (default 2), and the ε of the rest."),
    click.option("--epsilon", type=float, default=1.0, show_default=True, help="With --protection: the promised ε."),
    click.option("--delta", type=float, default=1e-6, show_default=True, help="With --protection: the promised δ."),
    click.option("--mechanism", type=click.Choice(MECHANISM_NAMES), default=DEFAULT_MECHANISM, show_default=True,
                 help="With --protection: the mechanism, on which the ε of the rest depends."),
)  # fmt: skip


def protection_rows(
    log: CountableLog, series: dict[str, int], w_bound: int, promised: Promised, report: Report
) -> list[TableRow]:
    """A row for each metric and number of runs that some user-day needs.

    Raises:
        click.UsageError: the log is on Spark.
        ValueError: the mechanism cannot serve the class, or the guarantee is out of range.
    """
    from dp.accounting.composition import Guarantee
    from dp.accounting.outside import epsilon_outside
    from dp.presence.needed_runs import needed_runs
    from dp.units import protected_class

    if log.log is None:
        raise click.UsageError("--protection needs the engine numpy or duckdb")
    rows: list[TableRow] = []
    guarantee = Guarantee(promised.epsilon, promised.delta)
    measured = functools.cache(functools.partial(needed_runs, log.log.connection))
    for metric, window in series.items():
        report(f"looking at the user-days of {metric}", None)
        found = measured(window, log.ticks[0], log.ticks[-1])
        protected = protected_class("user-day", window, w_bound, len(log.ticks))
        days, users = sum(found.user_days.values()), sum(found.users.values())
        for runs in sorted({1, *found.user_days}):
            epsilon = epsilon_outside(promised.mechanism, protected, guarantee, runs)
            rows.append({
                "metric": metric,
                "flips": 2 * runs,
                "inside": runs <= (w_bound + 1) // 2 or epsilon == promised.epsilon,
                "user_days": found.user_days.get(runs, 0),
                "user_days_percent": _percent(found.user_days.get(runs, 0), days),
                "users": found.users.get(runs, 0),
                "users_percent": _percent(found.users.get(runs, 0), users),
                "epsilon": epsilon,
                "delta": promised.delta,
            })  # fmt: skip
    return rows


def summary(rows: list[TableRow], w_bound: int) -> str:
    """In a sentence for each metric: what share is inside, and the largest ε outside."""
    lines = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        own = [row for row in rows if row["metric"] == metric]
        inside = [row for row in own if row["inside"]]
        days, users = (sum(row[name] for row in inside) for name in ("user_days_percent", "users_percent"))
        worst = max(row["epsilon"] for row in own)
        lines.append(
            f"{metric}: W_BOUND {w_bound} covers {days:.4g}% of the user-days, and all user-days of {users:.4g}% of "
            f"the users; the largest ε of any user-day is {worst:.4g}"
        )
    return "\n".join(lines)


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0
