"""Options of who pays for a release: which stream is charged to which budget, or the seed of a simulation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from dp.database_url import Place
from workbench.cli.budget import ledger_option, open_budget
from workbench.cli.options import LogOptions, gathered_as
from workbench.rows import TableRow

if TYPE_CHECKING:
    from dp.counts import Counts
    from dp.ledger import Budget
    from dp.release import Plan, Request


@dataclass(frozen=True)
class Payment:
    """Which stream is charged to which budget; or the seed of a simulation, which is charged to none."""

    stream: str | None
    ledger_path: Place
    budget: str
    simulate: bool
    seed: int | None

    def validate(self) -> None:
        """Refuse a simulation that cannot be repeated, and a release that could be."""
        if self.simulate and self.seed is None:
            raise click.UsageError("--simulate needs a --seed, so that it can be repeated")
        if self.seed is not None and not self.simulate:
            raise click.UsageError("--seed goes with --simulate only: the noise of a real release has no seed")

    @property
    def ledger(self) -> Place | None:
        """The ledger that is charged."""
        return None if self.simulate else self.ledger_path

    def agreed(self, days: list[date]) -> list[date]:
        """The days of the log, for a simulation only.

        Raises:
            click.UsageError: what is published must not take its days from the log.
        """
        if not self.simulate:
            raise click.UsageError(
                "--from and --to are needed: they are published, so they must not come from the log. For all of its "
                f"days: --from {days[0]} --to {days[-1]}"
            )
        return days

    def name(self, request: Request, source: LogOptions) -> str:
        """The stream's key: as asked for, or else made of the request and of what the log is called."""
        from dp.release import default_stream, log_name

        return self.stream or default_stream(request, log_name(source.logs, self.ledger_path), source.read_as)

    def opened(self, request: Request, source: LogOptions) -> Mapping[str, Any] | None:
        """What the stream was charged for; None if there is no such stream yet."""
        from dp.ledger import has_ledger, open_ledger

        if self.simulate or not has_ledger(self.ledger_path):
            return None
        with open_ledger(self.ledger_path) as ledger:
            charge = ledger.find_charge(self.name(request, source))
        return None if charge is None else charge.specification

    def recall(self, plan: Plan, source: LogOptions, ticks: int, stack: ExitStack) -> Iterator[TableRow] | None:
        """The rows where all of them are published, whatever the log now holds; None where some are not.

        Args:
            stack: keeps the ledger open, from which rows are read as they are taken.

        Raises:
            BudgetExhausted: none are, and there is no room for the charge; said before the log is read, so that it
                depends on the ledger alone.
        """
        from dp.ledger import has_ledger, open_ledger
        from dp.release import recallable

        if self.simulate or not has_ledger(self.ledger_path):
            return None
        stream = self.name(plan.request, source)
        with open_ledger(self.ledger_path) as ledger:
            wanted = recallable(ledger, stream, self.budget, plan, ticks, datetime.now(UTC))
            if wanted is None:
                return None
            click.echo(
                f"stream {stream}: these days were published before; {' '.join(source.logs)} was not read, nothing was "
                f"charged, {_left(ledger.budget(self.budget))}",
                err=True,
            )
        return self._read(stream, wanted, stack)

    def _read(self, stream: str, ticks: Mapping[str, int], stack: ExitStack) -> Iterator[TableRow]:
        from dp.ledger import open_ledger
        from dp.release import each_published

        return map(json.loads, each_published(stack.enter_context(open_ledger(self.ledger_path)), stream, ticks))

    def warn_of_date(self, request: Request, source: LogOptions) -> None:
        """Say before a new stream is charged that tomorrow's log will be charged again, if its name carries a date.

        The message depends on the log's name, the request and the ledger's charges, and on nothing in the log. A
        stream of one day ends with it, so that nothing is lost.
        """
        from dp.release import date_in, log_name

        if self.simulate or self.stream or request.horizon == 1 or self.opened(request, source) is not None:
            return
        name = log_name(source.logs, self.ledger_path)
        if dated := date_in(name):
            click.secho(
                f"warning: {name!r} carries a date ({dated}), and the stream's default name is made of it. The log of "
                f"another date will be another stream, charged ε {request.guarantee.epsilon:g} once more. If it is to "
                "continue this one, give both the same name: --stream NAME",
                fg="yellow", bold=True, err=True,
            )  # fmt: skip

    def warn_of_open_day(self, last: date) -> None:
        """Say that a release of a day that is not over is one that cannot be continued."""
        if not self.simulate and last >= datetime.now(UTC).date():
            click.echo(
                f"warning: --to is {last}, a day that is not over: what arrives for it later makes the stream one "
                "that cannot be continued",
                err=True,
            )

    def draw(
        self,
        plan: Plan,
        source: LogOptions,
        counts: dict[str, Counts],
        arrived: Callable[[date], str],
        stack: ExitStack,
    ) -> Iterator[TableRow]:
        """The rows of the release, durable in the ledger before they are returned, or of the simulation.

        Args:
            stack: as of `recall`.
        """
        from dp.release import charge_and_draw, each_simulated

        if self.seed is not None:
            rows = each_simulated(plan, counts, self.seed)
            click.echo("SIMULATED: seeded noise, not private; nothing was charged.", err=True)
            return rows
        stream = self.name(plan.request, source)
        with open_budget(self.ledger_path) as ledger:
            continued = ledger.find_charge(stream) is not None
            ticks = charge_and_draw(ledger, stream, self.budget, plan, counts, datetime.now(UTC), arrived=arrived)
            charge, left = ledger.find_charge(stream), _left(ledger.budget(self.budget))
        assert charge is not None
        cost = f"ε {charge.guarantee.epsilon:g}, δ {charge.guarantee.delta:g}"
        done = f"continued at no charge (it was charged {cost})" if continued else f"charged {cost}"
        click.echo(f"stream {stream}: {done}, {left}", err=True)
        return self._read(stream, ticks, stack)


def _left(budget: Budget) -> str:
    return f"budget {budget.name!r} has ε {budget.remaining.epsilon:g}, δ {budget.remaining.delta:g} left"


payment_options = gathered_as(
    Payment, "payment",
    click.option("--stream", default=None,
                 help="Idempotency key: a stream is charged once and its published days never change; later calls may "
                      "add days. By default it is made of the log's name and the request, and of nothing in the log. "
                      "Give it where each day's log has a name of its own (events-2024-05-01.csv)."),
    ledger_option,
    click.option("--budget", default="default", show_default=True, help="The ledger's budget to charge."),
    click.option("--simulate", is_flag=True,
                 help="Draw seeded noise, charge nothing and mark every row secure: false."),
    click.option("--seed", type=click.IntRange(min=0), default=None, help="Seed of --simulate."),
)  # fmt: skip
