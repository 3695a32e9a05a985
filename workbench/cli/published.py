"""The commands `dau`, `wau` and `mau`: the private count of one day, of the live service or from a log in one step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import click

from experiments.engine.progress import progress_bar
from workbench.cli.options import (
    DayType,
    Function,
    LogCommand,
    LogOptions,
    Output,
    log_options,
    output_options,
    with_options,
)
from workbench.cli.service import days_in, existing_service, service_options, write_published

if TYPE_CHECKING:
    from workbench.service import Settings


def _choice_options(metric: str) -> Callable[[Function], Function]:
    """The options that say which release of which day is meant."""
    return lambda command: with_options(
        command,
        click.option("--day", type=DayType(), default=None,
                     help="The day; of the live service the last closed one by default. With LOG it is needed, because "
                          "what is published must not come from the log."),
        click.option("--epsilon", type=float, default=None,
                     help=f"With LOG: ε of this release.  [default: {metric}.fresh_epsilon, else {metric}.epsilon]"),
        click.option("--fresh", is_flag=True,
                     help="Make a new release of that day from the store as it is now, charged separately."),
        click.option("--request-id", default=None,
                     help="With --fresh: a repeated id returns the same release and charges nothing."),
    )  # fmt: skip


HELP = """Print the private {name} of one day.

Without LOG: the row of the live service, as it was published when the day was closed; the bytes are the same every
time. With LOG, a file: publish the {name} of that day from it in one step, as 'dpdau release LOG --metric {metric}
--from DAY --to DAY --mechanism laplace' does. That is charged to the ledger once; the same command again returns the
same bytes. For many days 'dpdau release' costs less, and 'dpdau exact' prints true counts (NOT PRIVATE).
"""


def _metric(metric: str) -> click.Command:
    @click.command(name=metric, cls=LogCommand, help=HELP.format(name=metric.upper(), metric=metric))
    @log_options
    @service_options
    @_choice_options(metric)
    @output_options
    @click.pass_context
    def show(
        ctx: click.Context, source: LogOptions, settings: Settings, day: date | None, epsilon: float | None,
        fresh: bool, request_id: str | None, output: Output,
    ) -> None:  # fmt: skip
        if request_id and not fresh:
            raise click.UsageError("--request-id goes with --fresh only: published days need none")
        if source.logs:
            if fresh or day is None:
                raise click.UsageError("LOG needs --day, and --fresh is for the live service: leave it out with a LOG")
            _release_one(ctx, metric, day, epsilon, settings)
            return
        if epsilon is not None:
            raise click.UsageError("--epsilon goes with a LOG only; that of the live service is a setting")
        _show_published(metric, day, request_id, fresh, settings, output)

    for parameter in show.params:
        if isinstance(parameter, click.Argument):
            parameter.required = False
    return show


def _release_one(ctx: click.Context, metric: str, day: date, epsilon: float | None, settings: Settings) -> None:
    """Release one day of a log. Over one tick a user flips at most once, and Laplace noise is the least."""
    from workbench.cli.release import release

    one = settings.series[metric]
    known = {parameter.name for parameter in release.params}
    given = {name: value for name, value in ctx.params.items() if name in known}
    ctx.invoke(release, **given | {
        "metrics": (metric,), "first": day, "last": day, "unit": one.unit, "mechanism": "laplace",
        "epsilon": one.fresh if epsilon is None else epsilon, "mau_window": str(settings.mau.window),
        "timezone": days_in(ctx, settings), "ledger_path": settings.ledger_place,
    })  # fmt: skip


def _show_published(
    metric: str, day: date | None, request_id: str | None, fresh: bool, settings: Settings, output: Output
) -> None:
    import uuid

    from workbench.service import Refused

    output.validate(store=settings.store_place, ledger=settings.ledger_place)
    with progress_bar() as report, existing_service(settings) as service:
        report("counting anew" if fresh else "looking", None)
        wanted = day or service.status().last
        if wanted is None:
            raise Refused("open-day", "no day is closed yet: 'dpdau close --day DAY' closes one")
        row = (
            service.fresh(metric, wanted, request_id or uuid.uuid4().hex) if fresh else service.release(metric, wanted)
        )
    if output.format == "json" and output.out is None:
        click.echo(row)
    else:
        write_published([row], output)


@click.command()
@click.argument("question")
@service_options
@click.option("--day", type=DayType(), default=None, help="The day; the last on which it is published by default.")
@output_options
def answer(question: str, settings: Settings, day: date | None, output: Output) -> None:
    """Print what the live service published of QUESTION on one day: flows, a week or month, or segments.

    QUESTION is a name in the settings: mau/flows, week, mau/platform, mau/flows/platform.
    """
    output.validate(store=settings.store_place, ledger=settings.ledger_place)
    with progress_bar() as report, existing_service(settings) as service:
        report("looking", None)
        rows = service.answers.on(question, day or service.answers.last_day(question))
    write_published(rows, output)


METRIC_COMMANDS = tuple(_metric(metric) for metric in ("dau", "wau", "mau"))
