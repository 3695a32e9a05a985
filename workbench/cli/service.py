"""The commands of the live service: the same behaviour as over HTTP, on the same store, running server or not."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dp.questions import SeriesName
from experiments.engine.interrupts import EXIT_INTERRUPTED, leave
from experiments.engine.progress import progress_bar
from workbench.cli.address import Address, address_options
from workbench.cli.options import (
    CONFIG_FILE,
    FILE,
    DayType,
    Function,
    LogCommand,
    LogOptions,
    Output,
    Pairs,
    log_options,
    output_options,
    read_source,
    with_options,
)
from workbench.cli.output import keep_apart
from workbench.rows import TableRow

if TYPE_CHECKING:
    from workbench.service import Service, Settings

STOPPED = "Stopped."
DEMO_STOPPED = "Stopped. The same command continues the demonstration."
SHOWN = ("metric", "question", "breakdown", "segment", "day", "estimate", "ci_low", "ci_high", "std")


def service_options(command: Function) -> Function:
    """Which service is meant, and how it is set; the command gets its `settings`."""

    @functools.wraps(command)
    def gathering(
        *, config: Path | None, store: str | None, ledger: str | None, given: Sequence[dict[str, str]], **options: Any
    ) -> Any:
        from workbench.service import load_settings

        file = config or (Path(CONFIG_FILE) if Path(CONFIG_FILE).exists() else None)
        pairs = [pair for one in given for pair in one.items()]
        pairs += [(name, value) for name, value in (("store", store), ("ledger", ledger)) if value is not None]
        return command(settings=load_settings(file, os.environ, pairs), **options)

    return with_options(  # type: ignore[return-value]
        gathering,
        click.option("--config", type=FILE, default=None, envvar="DPDAU_CONFIG",
                     help=f"Settings in TOML; by default ./{CONFIG_FILE}, if it exists. Variables such as "
                          "DPDAU_MAU_EPSILON override the file, and options override both."),
        click.option("--store", default=None, help="The operations log, one SQLite file.  [default: dpdau.store]"),
        click.option("--ledger", default=None, help="The budget ledger, one SQLite file.  [default: dpdau.ledger]"),
        click.option("--set", "given", type=Pairs(empty=True), multiple=True, metavar="NAME=VALUE,…",
                     help="Any setting, for instance mau.epsilon=1, dau.unit=user, wau.w_bound=4, "
                          "horizon=unlimited, timezone=Europe/Berlin; 'dpdau settings' lists them."),
    )  # fmt: skip


@contextmanager
def _stoppable(line: str) -> Iterator[None]:
    """Say one line, and nothing else, when the command is interrupted before it serves; exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        leave(line, EXIT_INTERRUPTED)


@click.command()
@_stoppable(STOPPED)
@service_options
@address_options
@click.option("--pages/--no-pages", default=True, show_default=True, help="Streamlit's pages under /ui.")
def serve(settings: Settings, address: Address, pages: bool) -> None:
    """Serve the HTTP interface and the pages until Ctrl-C.

    Keys made by 'dpdau keys create' open what their scopes say, and the one in the variable SERVICE_API_KEY opens
    everything. Without a key only this machine may connect.
    """
    with _open(address.applied(settings), beside=True) as service:
        _serve(service, pages)
    leave(_last_line(settings), 0)


@click.command()
@_stoppable(DEMO_STOPPED)
@service_options
@click.option("--days", type=click.IntRange(1, 365), default=60, show_default=True, help="Days to fill and close.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default="dpdau-demo", show_default=True,
              help="Folder of its store and its ledger; an earlier demonstration in it is continued.")  # fmt: skip
@address_options
@click.option("--serve/--no-serve", "serving", default=True, show_default=True,
              help="Serve the store; without it, the command ends when the days are filled.")  # fmt: skip
def demo(settings: Settings, days: int, folder: Path, address: Address, serving: bool) -> None:
    """Serve a store, and fill it meanwhile with generated days (15 % of the activity is taken back), which are closed.

    In a demonstration the pages may show the truth next to what is published.
    """
    import msgspec

    from workbench.demo import check_demonstration, of_demonstration

    folder.mkdir(parents=True, exist_ok=True)
    inside = {name: str(folder / Path(getattr(settings, name)).name) for name in ("store", "ledger")}
    chosen = address.applied(msgspec.structs.replace(of_demonstration(settings), **inside, key=None, keys=None))
    with _open(chosen, beside=serving) as service:
        check_demonstration(service)
        if serving:
            _serve(service, True, behind=lambda stopped: _fill_behind(service, days, stopped))
        else:
            _fill(service, days, lambda: False)
    if serving:
        leave(DEMO_STOPPED, 0)


def _fill(service: Service, days: int, stopped: Callable[[], bool]) -> None:
    from workbench.demo import fill

    with progress_bar() as report:
        filled = fill(service, days, report, stopped)
    if not stopped():
        store = service.settings.store_place
        arrived = service.status().operations
        click.echo(f"{filled} days filled and closed, {arrived:,} operations, in {store}", err=True)


def _fill_behind(service: Service, days: int, stopped: Callable[[], bool]) -> None:
    """Fill while the service answers; a refusal is said and leaves it running."""
    from dp.ledger import LedgerError
    from workbench.service import Refused, StoreError

    click.echo(f"The {days} days are filled and closed meanwhile; the pages follow.", err=True)
    try:
        _fill(service, days, stopped)
    except (Refused, StoreError, LedgerError) as error:
        click.echo(f"The demonstration is not filled further: {error}", err=True)


@click.command(cls=LogCommand)
@log_options
@service_options
@click.pass_context
def load(ctx: click.Context, source: LogOptions, settings: Settings) -> None:
    """Load a log (CSV, JSON Lines, Parquet) into the store, in the order of arrival.

    All rows are checked before the first is stored. An interrupted load resumes where it stopped, and a file that has
    been loaded is not loaded again. Operations count from their arrival ('at'), or from the open day if that is later.
    Days are in the service's time zone.
    """
    from workbench.cli.loading import all_plain, columns_in_order, label_numbers, operations_in_order, pseudonyms

    source = dataclasses.replace(source, timezone=days_in(ctx, settings))
    keep_apart(log=source.log, quarantine=source.quarantine, ledger=settings.ledger_place)
    with (
        progress_bar() as report,
        _open(settings) as service,
        # Not those of the settings: the days of a period that was charged before others were set may still be open.
        read_source(source, report, service.codes.columns, compressed=True) as log,
    ):
        loading, file, total, late = service.loading, source.identity, log.rows_used, 0
        users, labels = pseudonyms(log, loading), label_numbers(log, service.codes)
        if users is None or not all_plain(log, users, labels, service, report):
            loading.check(operations_in_order(log))
        assert users is not None, "a bad user was refused"
        done = before = loading.resume(file)
        for columns in columns_in_order(log, users, labels, before):
            ingested = loading.store_columns(file, done, columns)
            done += ingested.accepted
            late += ingested.late
            report("storing", done / total)
    resumed = f", {before:,} were stored before" if before else ""
    click.echo(f"{done - before:,} of {total:,} operations stored{resumed}; {late:,} are about closed days", err=True)


@click.command()
@service_options
@click.option(
    "--day", type=DayType(), default=None, help="Close this day; it must be the open one, or the first of all."
)
@click.option("--through", type=DayType(), default=None, help="Close every day from the open one to this one.")
@click.option(
    "--yes",
    "confirmed",
    is_flag=True,
    help="The first day is meant, though it is far from today or outside the days of the log.",
)
@output_options
def close(settings: Settings, day: date | None, through: date | None, confirmed: bool, output: Output) -> None:
    """Close a day: count it once and publish DAU, WAU, MAU and whatever else is asked. A closed day is never revised.

    The first close charges the budget for the whole horizon and cannot be undone. Exit code 3: the budget does not
    suffice, and nothing happened.
    """
    if (day is None) == (through is None):
        raise click.UsageError("give either --day or --through")
    output.validate(store=settings.store_place, ledger=settings.ledger_place)
    with progress_bar() as report, _open(settings) as service:
        rows: list[str] = []
        if day is not None:
            report(f"closing {day}", None)
            rows = service.close(day, confirmed=confirmed)
        else:
            assert through is not None
            start = service.status().open_day
            closed = service.close_through(through, lambda which, share: report(f"closing days: {which}", share))
            for index in range(closed):
                assert start is not None
                rows += service.rows_on(start + timedelta(days=index))
            if not closed:
                click.echo(f"{through} is closed already; nothing to do", err=True)
                return
    write_published(rows, output)


@click.command()
# As many as come: click's own message about a second one repeats it.
@click.argument("user", nargs=-1, required=True, metavar="USER")
@service_options
def erase(user: tuple[str, ...], settings: Settings) -> None:
    """Remove every row of USER.

    Where the unit is a user, the number of changes of presence remains, under a keyed pseudonym; where flows are asked,
    it remains that the user was present.
    """
    if len(user) > 1:
        raise click.UsageError("give one USER, in quotes if it has blanks, and behind -- if it begins with -")
    with progress_bar() as report, existing_service(settings) as service:
        report("erasing", None)
        service.erase(*user)
        service.settled()
    click.echo("erased")


@click.command("settings")
@service_options
def show_settings(settings: Settings) -> None:
    """Show every setting with its value, as TOML that --config reads, and what the settings promise."""
    from workbench.service import horizon_advice, promise_of_all, settings_text

    click.echo("".join([settings_text(settings), *(f"\n# {said}\n" for said in horizon_advice(settings))]), nl=False)
    click.echo(promise_of_all(settings), err=True)


def days_in(ctx: click.Context, settings: Settings) -> str:
    """The time zone of the days: the service's own, which a log may not contradict.

    Raises:
        click.UsageError: --timezone names another one.
    """
    given: str = ctx.params["timezone"]
    if ctx.get_parameter_source("timezone") != ParameterSource.DEFAULT and given != settings.timezone:
        raise click.UsageError(f"--timezone is {given}, but the days of this service are in {settings.timezone}")
    return settings.timezone


def _open(settings: Settings, *, finish: bool = True, beside: bool = False) -> AbstractContextManager[Service]:
    from workbench.service import open_service

    return open_service(settings, lambda: datetime.now(UTC), finish=finish, beside=beside)


@contextmanager
def existing_service(settings: Settings, *, finish: bool = True) -> Iterator[Service]:
    """The service, where it has a store already; raises a `click.ClickException` where it has none."""
    from workbench.service.opening import has_store

    place = settings.store_place
    if not has_store(place, settings.key_path):
        raise click.ClickException(f"there is no store at {place}; name it with --store, or load a log first")
    with _open(settings, finish=finish) as service:
        yield service


def _serve(service: Service, pages: bool, behind: Callable[[Callable[[], bool]], None] = lambda stopped: None) -> None:
    from workbench.api.serving import serve as serve_until_stopped
    from workbench.service.keyring import API_KEY

    # Secrets come from files that end in a line break.
    key = os.environ.get(API_KEY, "").strip() or None
    serve_until_stopped(
        service, api_key=key, pages=pages, announce=lambda text: click.echo(text, err=True), behind=behind
    )


def _last_line(settings: Settings) -> str:
    from workbench.api.logging_json import log_line

    return log_line("json", STOPPED) if settings.log_format == "json" else STOPPED


def _as_question(row: TableRow) -> TableRow:
    others = {name: value for name, value in row.items() if name not in ("metric", "window")}
    return {**SeriesName(row["metric"])._asdict(), **others}


def write_published(released: Sequence[str], output: Output) -> None:
    """Write rows as the service published them; a metric beside other questions is one of them."""
    rows = [json.loads(row) for row in released]
    if any("question" in row for row in rows):
        rows = [row if "question" in row else _as_question(row) for row in rows]
    title = f"{100 * rows[-1]['ci_level']:g}% intervals for the noise; budget left: ε {rows[-1]['budget_remaining']:g}"
    output.write(rows, title=title, hidden=[name for name in rows[0] if name not in SHOWN])


SERVICE_COMMANDS = (
    serve,
    demo,
    load,
    close,
    erase,
    show_settings,
)
