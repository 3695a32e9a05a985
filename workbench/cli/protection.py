"""`dpdau exact --protection`: how much of a log the promise of unit user-day covers, and what holds for the rest."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import click

from dp.progress import Progress
from workbench.cli.counts import CountableLog
from workbench.cli.options import HorizonType, gathered_as, mechanism_by_delta, ticks_of
from workbench.rows import TableRow


@dataclass(frozen=True)
class Promised:
    """The promise that `--protection` holds against the log."""

    protection: bool
    epsilon: float
    delta: float
    mechanism: str
    horizon: int | str | None


protection_options = gathered_as(
    Promised, "promised",
    click.option("--protection", is_flag=True,
                 help="Instead of counts: how many user-days and users the promise of unit user-day covers under "
                      "--w-bound (default 2), and the ε of the rest."),
    click.option("--epsilon", type=float, default=1.0, show_default=True, help="With --protection: the promised ε."),
    click.option("--delta", type=float, default=1e-6, show_default=True, help="With --protection: the promised δ."),
    mechanism_by_delta("With --protection: the mechanism, on which the ε of the rest depends."),
    click.option("--horizon", type=HorizonType(), default=None,
                 help="With --protection: the --horizon of the release, on which its strategy depends; by default the "
                      "days that are looked at."),
)  # fmt: skip


def protection_rows(
    log: CountableLog, series: dict[str, int], w_bound: int, promised: Promised, report: Progress
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
        protected = protected_class("user-day", window, w_bound, ticks_of(promised.horizon, len(log.ticks)))
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
    """In a sentence for each metric: how many are inside, and the largest ε outside. Shares are rounded down."""
    lines = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        own = [row for row in rows if row["metric"] == metric]
        days, users = (_of_all(own, name) for name in ("user_days", "users"))
        worst = max(row["epsilon"] for row in own)
        lines.append(
            f"{metric}: W_BOUND {w_bound} covers {days} user-days, and all user-days of {users} users; "
            f"the largest ε of any user-day is {worst:.4g}"
        )
    return "\n".join(lines)


def _of_all(rows: list[TableRow], name: str) -> str:
    inside, whole = sum(row[name] for row in rows if row["inside"]), sum(row[name] for row in rows)
    share = math.floor(10_000 * inside / whole) / 100 if whole else 100.0
    return f"{inside:,} of {whole:,} ({share:g}%)"


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0
