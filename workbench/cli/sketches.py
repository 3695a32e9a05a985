"""The command `sketches`, and the options of `release` that say what counts the users."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dp.progress import Progress
from workbench.cli.counts import ENGINES_HERE
from workbench.cli.options import SKETCH_NAMES, Output, gathered_as, output_options
from workbench.cli.salt import salt_option

if TYPE_CHECKING:
    from dp.counts import Counts, Sample
    from dp.log import Log
    from dp.release import Plan
    from dp.sketches.salts import Salts


@dataclass(frozen=True)
class SketchChoice:
    """What counts the users of a release."""

    sketch: str
    rate: float | None
    salt_file: Path

    def validate(self, engine: str) -> None:
        """Refuse what does not go together, before the log is read."""
        from dp.sketches import family_of
        from dp.sketches.fixed_rate import FixedRate

        if refusal := family_of(self.sketch).refusal:
            raise click.UsageError(
                f"--sketch {self.sketch} cannot be released, because no noise here makes its counts private: "
                f"{refusal.rstrip('.')}. Experiments compare it, and 'dpdau sketches' lists what each one promises."
            )
        if (self.sketch == "fixed-rate") != (self.rate is not None):
            raise click.UsageError(
                "--sketch fixed-rate needs a --rate, for instance 0.05"
                if self.rate is None
                else f"--rate goes with --sketch fixed-rate, not with {self.sketch}"
            )
        if self.sketch != "exact" and engine not in ENGINES_HERE:
            raise click.UsageError(f"--sketch {self.sketch} counts with --engine numpy or --engine duckdb only")
        if self.rate is not None:
            FixedRate(self.rate)
            _ = self.salts

    @cached_property
    def salts(self) -> Salts:
        """The salts of the keys; a file is made where there is none."""
        from dp.sketches.salts import VARIABLE, create_salts, load_salts

        if VARIABLE not in os.environ and not self.salt_file.exists():
            create_salts(self.salt_file, os.urandom)
            click.echo(f"new salt in {self.salt_file}: keep it secret, and keep it: streams need it", err=True)
        return load_salts(self.salt_file, os.environ)

    def sample(self, first: date, horizon: int | None) -> Sample | None:
        """Whom a release from `first` on counts; None where it counts everybody."""
        from dp.sketches.sampling import sample_in_force

        return None if self.rate is None else sample_in_force(self.rate, self.salts, first, horizon)

    def counts(self, log: Log | None, plan: Plan, last: date, report: Progress) -> dict[str, Counts] | None:
        """Counts of the log as the plan's sketch gives them; None where any engine gives them."""
        from dp.release import count_log

        if log is None or self.sketch == "exact":
            return None
        if self.sketch == "bitmap" and isinstance(plan.freeze, tuple):
            raise click.UsageError("--sketch bitmap follows one W_BOUND; adaptive-flippancy needs several: use exact")
        return count_log(log, plan, last, salts=None if self.rate is None else self.salts, progress=report)


sketch_options = gathered_as(
    SketchChoice, "sketch",
    click.option("--sketch", type=click.Choice(SKETCH_NAMES), default="exact", show_default=True,
                 help="How the users are counted. fixed-rate counts a sample of them, and the interval covers its "
                      "sampling error too; 'dpdau sketches' says what each sketch promises and why some are refused."),
    click.option("--rate", type=float, default=None, metavar="SHARE",
                 help="With --sketch fixed-rate: the share of users in the sample, for instance 0.05."),
    salt_option,
)  # fmt: skip


@click.command()
@output_options
def sketches(output: Output) -> None:
    """Compare all sketches: what each can do, how large its error is, and what privacy holds.

    \b
    removes     users who leave: yes; no; toggles (adding and removing are one operation); set difference (with
                a loss of accuracy)
    merges      the set that two merged sketches represent
    bytes       at n = 100,000, with the parameters beside it; so is the relative error in percent
    privacy     none; sensitivity (noise on its counts is enough); intrinsic (private by itself, on a condition)
    release     whether 'dpdau release --sketch' takes it
    proof       section of docs/guarantees.md

    --format json adds the error formula, the privacy claim in words, why a release refuses the sketch, and the source.
    """
    from dp.sketches.table import sketch_rows

    output.validate()
    hidden = ("contract", "refusal", "source", "summary", "keys", "error")
    output.write(sketch_rows(), title="Sketches (docs/sketches.md says which one when)", hidden=hidden)
