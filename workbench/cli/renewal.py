"""The command that charges the next period."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import click

from workbench.cli.options import DayType
from workbench.cli.service import existing_service, service_options

if TYPE_CHECKING:
    from workbench.service import Settings


@click.command()
@service_options
@click.option(
    "--from",
    "first",
    type=DayType(),
    default=None,
    help="The first day of the next period: needed before the horizon is over, and for whoever may repeat the command.",
)
@click.option("--yes", "confirmed", is_flag=True, help="Charge it without asking.")
def renew(settings: Settings, first: date | None, confirmed: bool) -> None:
    """Charge the next period, so that days can be closed when the horizon is over.

    It says what will be charged, and asks. Epsilon, delta, w_bound and mechanism of a series, horizon and budget may be
    set anew before. Days, windows and streams of rows go on without a gap. Exit code 3: the budget does not suffice,
    and nothing happened.
    """
    with existing_service(settings, finish=False) as service:
        proposal = service.renewal.propose(first)
        click.echo(proposal.text, err=True)
        if not proposal.charged:
            if not confirmed:
                click.confirm("Charge it now?", abort=True, err=True)
            # By its day: asked for twice, it is charged once.
            service.renewal.renew(proposal.period.first, confirmed=True)
            click.echo(f"renewed: {proposal.period.days}", err=True)
