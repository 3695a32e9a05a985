"""The command `sketches`, and the options of `release` that say what counts the users."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.engine.progress import Report
from workbench.cli.options import SKETCH_NAMES, Output, gathered_as, output_options
from workbench.cli.salt import salt_option

if TYPE_CHECKING:
    from dp.log import Log
    from dp.presence import Engine
    from dp.release.release import Freeze, Sample
    from dp.sketches.salts import Salts

Count = Callable[[dict[str, int], "Freeze"], dict[str, Any]]
Ask = Callable[["Engine"], Count]


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
        if self.sketch != "exact" and engine != "duckdb":
            raise click.UsageError(f"--sketch {self.sketch} counts with --engine duckdb only")
        if self.rate is not None:
            FixedRate(self.rate)
            _ = self.salts

    @cached_property
    def salts(self) -> Salts:
        """The salts of the keys; a file is made where there is none."""
        from dp.sketches.salts import create_salts, load_salts

        if "DPDAU_SALT" not in os.environ and not self.salt_file.exists():
            create_salts(self.salt_file, os.urandom)
            click.echo(f"new salt in {self.salt_file}: keep it secret, and keep it: streams need it", err=True)
        return load_salts(self.salt_file, os.environ)

    def sample(self, first: date, horizon: int | None) -> Sample | None:
        """Whom a release from `first` on counts; None where it counts everybody."""
        from dp.release import Sample

        if self.rate is None:
            return None
        known = (date.max - first).days
        last = first + timedelta(days=known if horizon is None else min(horizon - 1, known))
        rotations = tuple(
            ((tick - first).days, self.salts.in_force(tick).fingerprint) for tick in self.salts.changes(first, last)
        )
        return Sample(self.rate, self.salts.in_force(first).fingerprint, rotations)

    def counter(self, log: Log, ask: Ask, first: date, last: date, report: Report) -> Count:
        """Counts as the sketch gives them: of everybody, or of those in the sample.

        Args:
            ask: makes a counter of the log that it is given.
        """
        from dp.presence import DuckDBEngine

        if self.sketch == "exact":
            return ask(DuckDBEngine(log.connection, progress=report))

        def count(wanted: dict[str, int], freeze: Freeze) -> dict[str, Any]:
            from dp.sketches.fixed_rate import FixedRate
            from dp.sketches.sampling import counts_of_sample

            report("counting users", None)
            if self.rate is None:
                return _through_bitmaps(log, wanted, freeze, first, last)

            def counted(part: Log) -> dict[str, Any]:
                return ask(DuckDBEngine(part.connection, progress=report))(wanted, freeze)

            return counts_of_sample(log, FixedRate(self.rate), self.salts, first, last, counted)

        return count


def _through_bitmaps(log: Log, wanted: dict[str, int], freeze: Freeze, first: date, last: date) -> dict[str, Any]:
    import numpy as np

    from dp.sketches.bitmap import Bitmap
    from dp.sketches.windows import following

    if isinstance(freeze, tuple):
        raise click.UsageError("--sketch bitmap follows one W_BOUND; adaptive-flippancy needs several: use exact")
    return {
        metric: np.array(
            [int(one.estimate()) for one in following(log, Bitmap(), None, window, first, last, freeze)], dtype=np.int64
        )
        for metric, window in wanted.items()
    }


sketch_options = gathered_as(
    SketchChoice, "sketch",
    click.option("--sketch", type=click.Choice(SKETCH_NAMES), default="exact", show_default=True,
                 help="What counts the users. fixed-rate counts a sample of them, and the interval covers its error "
                      "too; 'dpdau sketches' says what the others promise, and why they are refused."),
    click.option("--rate", type=float, default=None, metavar="SHARE",
                 help="With --sketch fixed-rate: the share of users in the sample, for instance 0.05."),
    salt_option,
)  # fmt: skip


@click.command()
@output_options
def sketches(output: Output) -> None:
    """Every sketch side by side: what it can do, how large its error is, and what privacy holds.

    \b
    removes     users who leave: yes; no; toggles (adding and removing are one operation); set difference (at a loss)
    merges      what two sketches merged are a sketch of
    bytes       at n = 100,000, with the parameters that stand beside it, as is the relative error in percent
    privacy     none; sensitivity (noise on its counts is enough); intrinsic (private by itself, on a condition)
    release     whether 'dpdau release --sketch' takes it
    proof       section of docs/guarantees.md

    With --format json also the error formula, the privacy claim in words, why a release refuses, and the source.
    """
    from dp.sketches.table import table

    output.validate()
    hidden = ("contract", "refusal", "source", "summary", "keys", "error")
    output.write(table(), title="Sketches (docs/sketches.md says which one when)", hidden=hidden)
