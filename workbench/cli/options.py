"""Options that several commands share: days, logs, formats."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dp import names
from dp.database_url import DatabaseUrl, Place
from dp.extensions import known_names
from dp.progress import Progress
from workbench.cli.output import OUTPUT_FORMATS, chosen_format, keep_apart, write_rows
from workbench.rows import TableRow

if TYPE_CHECKING:
    from dp.log import Log

Function = TypeVar("Function", bound=Callable[..., Any])

CONFIG_FILE = "dpdau.toml"
FILE = click.Path(path_type=Path, dir_okay=False)


MECHANISM_NAMES = known_names("mechanisms", names.MECHANISMS)
SKETCH_NAMES = known_names("sketches", names.SKETCHES)
METRIC_WINDOWS = names.METRICS


class HorizonType(click.ParamType[int | str]):
    """A number of ticks, or "unlimited"."""

    name = "ticks"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """A positive number, or the word."""
        if value == "unlimited" or isinstance(value, int):
            return value  # type: ignore[no-any-return]
        if not value.isdigit() or int(value) < 1:
            self.fail(f"{value!r} is neither a positive number of ticks nor 'unlimited'", param, ctx)
        return int(value)


def ticks_of(horizon: int | str | None, default: int) -> int | None:
    """What a `HorizonType` means: None for no end; `default` where nothing is said."""
    return None if horizon == "unlimited" else int(horizon or default)


class DayType(click.ParamType[date]):
    """A calendar day, YYYY-MM-DD."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day that `value` spells."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write it as 2026-01-31", param, ctx)


class PlaceType(click.ParamType[Place]):
    """A file, or the URL of a PostgreSQL database."""

    name = "file or url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """The place that `value` names."""
        if isinstance(value, str) and "://" in value:
            try:
                return DatabaseUrl.of(value)
            except ValueError as error:
                self.fail(str(error), param, ctx)
        return value if isinstance(value, DatabaseUrl) else Path(FILE.convert(value, param, ctx))


class Pairs(click.ParamType[dict[str, str]]):
    """A list such as a=x,b=y."""

    name = "name=value,…"

    def __init__(self, *, empty: bool = False) -> None:
        """`empty`: whether a value may be empty."""
        self._empty = empty

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        """The pairs as a dict."""
        if isinstance(value, dict):
            return value
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(name and sign and (text or self._empty) for name, sign, text in pairs):
            self.fail(f"{value!r} is not a list of name=value pairs separated by commas", param, ctx)
        if len({name for name, _, _ in pairs}) < len(pairs):
            self.fail(f"{value!r} names something twice", param, ctx)
        return {name: text for name, _, text in pairs}


class LogCommand(click.Command):
    """A command that reads a log; `--on-error quarantine FILE` may be written as two words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the file's name to its keyword before the usual parsing."""
        joined: list[str] = []
        words = iter(args)
        for word in words:
            joined.append(word)
            if (word == "quarantine" and joined[-2:-1] == ["--on-error"]) or word == "--on-error=quarantine":
                name = next(words, "")
                if name.startswith("-"):
                    raise click.UsageError("--on-error quarantine needs the name of a file")
                joined[-1] += f"={name}"
        return super().parse_args(ctx, joined)


@dataclass(frozen=True)
class LogOptions:
    """The log that a command reads, and how. Its parts are files, patterns and folders; Spark reads one address."""

    logs: tuple[str, ...]
    columns: dict[str, str] | None
    like: str | None
    timezone: str
    date_format: str | None
    on_error: str
    input_format: str
    delimiter: str | None
    hive: bool

    @property
    def log(self) -> str | tuple[str, ...]:
        """The part, or all parts if there are several."""
        return self.logs if len(self.logs) > 1 else self.logs[0]

    @property
    def quarantine(self) -> Path | None:
        """The file for bad rows, None where they refuse the log."""
        action, _, file = self.on_error.partition("=")
        if action not in ("fail", "quarantine") or (action == "quarantine") != bool(file):
            raise click.UsageError(f"--on-error is {self.on_error!r}; write 'fail' or 'quarantine FILE'")
        return Path(file) if file else None

    @property
    def reading(self) -> dict[str, Any]:
        """How the rows are read: those options that are not left as they are by default."""
        chosen = {"columns": self.columns, "like": self.like, "date_format": self.date_format,
                  "delimiter": self.delimiter, "hive": self.hive or None,
                  "timezone": None if self.timezone == "UTC" else self.timezone,
                  "input_format": None if self.input_format == "auto" else self.input_format}  # fmt: skip
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def read_as(self) -> str:
        """Those of them that make another series; see `dp.log.read_as`."""
        from dp.log import read_as

        return read_as(
            columns=self.columns, timezone=self.timezone, date_format=self.date_format, like=self.like,
            hive=self.hive,
        )  # fmt: skip

    @property
    def identity(self) -> str:
        """Names the log's bytes and how they are read, so that the service loads none twice."""
        from dp.log import fingerprint

        for log in self.logs:
            if not Path(log).is_file():
                raise click.UsageError(f"{log} is no file, so nobody could tell whether it was loaded before")
        return f"{' '.join(map(fingerprint, self.logs))} {json.dumps(self.reading, sort_keys=True)}"


@dataclass(frozen=True)
class Output:
    """Where the rows of a command go, and as what."""

    format_name: str | None
    out: Path | None

    def validate(self, **files: str | Place | Sequence[str] | None) -> None:
        """Refuse a format that does not go with the file, and a file that is another one of the command's `files`.

        Raises:
            click.UsageError: it names what does not go together.
        """
        _ = self.format
        keep_apart(**files, out=self.out)

    @cached_property
    def format(self) -> str:
        """The format: as asked for, else by the name of the file, else a table."""
        return chosen_format(self.format_name, self.out)

    def write(self, rows: Iterable[TableRow], *, title: str, hidden: Sequence[str] = ()) -> None:
        """Write rows; of a table, `title` is the heading and `hidden` are the columns that it leaves out."""
        write_rows(rows, self.format, self.out, title=title, hidden=hidden)


def with_options(command: Function, *options: Callable[[Function], Function]) -> Function:
    """The command with these options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def gathered_as(kind: type, name: str, *options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """A decorator: these options make up a `kind`, which the command gets as one argument called `name`."""

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def gathering(**values: Any) -> Any:
            parts = {field.name: values.pop(field.name) for field in fields(kind)}
            return command(**values, **{name: kind(**parts)})

        return with_options(gathering, *options)  # type: ignore[return-value]

    return decorate


def mechanism_by_delta(help_text: str, *more: str) -> Callable[[Any], Any]:
    """The option --mechanism of a command whose option --delta, declared before it, decides the default.

    Args:
        more: what may be given beside the names of mechanisms.
    """
    return click.option(
        "--mechanism",
        type=click.Choice((*MECHANISM_NAMES, *more)),
        callback=lambda ctx, _, value: value or names.default_mechanism(ctx.params["delta"]),
        show_default=f"{names.DEFAULT_MECHANISM}; with --delta 0 {names.DEFAULT_PURE_MECHANISM}",
        help=help_text,
    )


log_options = gathered_as(
    LogOptions, "source",
    click.argument("logs", nargs=-1, required=True, metavar="LOG..."),
    click.option("--columns", type=Pairs(), default=None, metavar="OURS=THEIRS,…",
                 help="The file's names for user, day or timestamp, op, at, "
                      "e.g. user=CustomerID,timestamp=InvoiceDate. In JSON and Parquet properties.id is the id in "
                      "properties."),
    click.option("--like", type=click.Choice(names.LOG_PRESETS), default=None,
                 help="The log is an export of this tool: its columns and its way to write times; --columns and "
                      "--date-format go first."),
    click.option("--timezone", default="UTC", show_default=True,
                 help="Time zone of the days. Times with an offset are converted to it; times without one are local "
                      "times in it."),
    click.option("--date-format", default=None, metavar="FORMAT",
                 help="How days and times are written: iso (the default), iso-utc (times without an offset are in "
                      "UTC), epoch-s, epoch-ms, epoch-us, or a pattern such as '%m/%d/%Y %H:%M'."),
    click.option("--on-error", default="fail", show_default=True, metavar="fail | quarantine FILE",
                 help="What to do with bad rows: refuse the log, or set them aside in FILE (CSV) and continue."),
    click.option("--input-format", type=click.Choice(["auto", *names.LOG_FORMATS]), default="auto",
                 show_default=True,
                 help="The log's format; auto goes by the file's name. Gzip and zstd are recognised."),
    click.option("--delimiter", default=None, metavar="CHARACTER",
                 help="Between the fields of CSV: ; or | or tab. By default a comma, a tab in .tsv, or what a first "
                      "line such as 'sep=;' says."),
    click.option("--hive", is_flag=True, help="Folders such as day=2024-01-31 are columns."),
)  # fmt: skip

output_options = gathered_as(
    Output, "output",
    click.option("--format", "format_name", type=click.Choice(OUTPUT_FORMATS), default=None,
                 help="Default: by the name of --out, or else a table."),
    click.option("--out", type=FILE, default=None, help="Write to this file instead of standard output."),
)  # fmt: skip


segments_option = click.option(
    "--segment", "segments", multiple=True, metavar="COLUMN",
    help="Keep this column, by which users are told apart (platform, country), in what is written. May be repeated.",
)  # fmt: skip


def read_source(source: LogOptions, report: Progress, segments: Sequence[str] = (), *, compressed: bool = False) -> Log:
    """The checked log with these segment columns; says how many rows were read, used and set aside."""
    from dp.log import read_log

    checked = read_log(
        source.logs, quarantine=source.quarantine, segments=segments, progress=report, compressed=compressed,
        **source.reading,
    )  # fmt: skip
    aside = f" (see {source.quarantine})" if checked.rows_set_aside else ""
    click.echo(
        f"{checked.rows_read:,} rows read, {checked.rows_used:,} used, {checked.rows_set_aside:,} set aside{aside}",
        err=True,
    )
    return checked
