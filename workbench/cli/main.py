"""The command line. Commands parse and print; what they do is in `dp` and `experiments`, imported when it is needed."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import click

from experiments.cli import experiment
from experiments.engine.interrupts import EXIT_INTERRUPTED, after_imports, is_interrupt
from workbench.cli.attack import attack
from workbench.cli.audit import audit
from workbench.cli.bench import bench
from workbench.cli.budget import budget
from workbench.cli.compact import compact
from workbench.cli.compose import compose
from workbench.cli.doctor import backup, doctor
from workbench.cli.exact import exact
from workbench.cli.figure import figure
from workbench.cli.keys import keys
from workbench.cli.logs import generate, validate
from workbench.cli.mechanisms import calibrate, mechanisms
from workbench.cli.plan import plan
from workbench.cli.plot import plot
from workbench.cli.published import METRIC_COMMANDS, answer
from workbench.cli.release import release
from workbench.cli.renewal import renew
from workbench.cli.rotate_key import rotate_key
from workbench.cli.salt import salt
from workbench.cli.service import SERVICE_COMMANDS, STOPPED
from workbench.cli.sketches import sketches
from workbench.words import glossary

EXIT_BUDGET_EXHAUSTED = 3


class Main(click.Group):
    """The root: errors that name their cause end in one line and an exit code, not in a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; a Ctrl-C waits until no module is being imported."""
        with after_imports():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Exit codes: 3 for an exhausted budget, 130 for an interrupt, 1 for any other refusal."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (Exception, KeyboardInterrupt) as raised:
            error = _explained(raised)
            code = _exit_code(error)
            if code is None:
                raise
            said = STOPPED if is_interrupt(error) else f"Error: {error}"
        # Outside the handler: an exit that held the error would hold what the error holds until the interpreter ends.
        click.echo(said, err=True)
        ctx.exit(code)


@click.group(cls=Main, epilog=glossary(), context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True,
    callback=lambda ctx, _, given: _say_version(ctx, given),
    help="Show the version, and that of the time zone database.",
)  # fmt: skip
def main() -> None:
    """Private active-user counts: DAU, WAU and MAU from a log in which users come, go and take their activity back.

    \b
    A first tour:
      dpdau generate --users 20000 --days 120 --delete-rate 0.15 --seed 7 --out log.csv
      dpdau exact    log.csv --metric mau                  (true counts, NOT PRIVATE)
      dpdau release  log.csv --metric mau --epsilon 1 --from 2024-01-01 --to 2024-04-29
                                                           (private, charged to the ledger)
      dpdau budget

    \b
    Live:
      dpdau demo                                           (a filled store, its HTTP interface and its pages)
      dpdau serve                                          (your own)
    """


def _help_of(command: click.Command) -> str:
    """All that a command's help says."""
    options = [option.help or "" for option in command.params if isinstance(option, click.Option)]
    return " ".join([command.help or "", *options])


def _say_version(ctx: click.Context, given: bool) -> None:
    if given:
        from dp.zones import DATABASE_VERSION

        click.echo(
            f"dpdau, version {version('dpdau')} (time zones: tzdata {version('tzdata')}, IANA {DATABASE_VERSION})"
        )
        ctx.exit()


def _explained(error: BaseException) -> BaseException:
    """What an error means to whoever called: one of SQLite about a file that cannot be used is a refusal."""
    service = sys.modules.get("workbench.service")
    if service is None or _exit_code(error) is not None:
        return error
    return service.unavailable(error) or error


def _exit_code(error: BaseException) -> int | None:
    """The exit code for errors that explain themselves; None for those that are defects."""
    if is_interrupt(error):
        return EXIT_INTERRUPTED
    ledger, service = sys.modules.get("dp.ledger"), sys.modules.get("workbench.service")
    if ledger and isinstance(error, ledger.BudgetExhausted):
        return EXIT_BUDGET_EXHAUSTED
    explained: tuple[type[Exception], ...] = (ValueError, OSError)
    explained += (ledger.LedgerError,) if ledger else ()
    explained += (service.Refused, service.StoreError) if service else ()
    return 1 if isinstance(error, explained) else None


for _command in (
    generate, validate, exact, plan, release, budget, plot, bench, mechanisms, calibrate, figure, audit, attack,
    compose, sketches, salt, keys, experiment, compact, doctor, backup, renew, rotate_key, *SERVICE_COMMANDS,
    *METRIC_COMMANDS, answer,
):  # fmt: skip
    _command.epilog = glossary(_help_of(_command))
    main.add_command(_command)

if __name__ == "__main__":
    main()
