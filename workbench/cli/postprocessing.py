"""What is computed from released rows before they are written: it costs no budget, and adds no privacy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.options import gathered_as
from workbench.rows import TableRow

if TYPE_CHECKING:
    from dp.release import Plan

ENDS = {
    "estimate": ("ci_low", "ci_high", "noise_low", "noise_high", "band_low", "band_high"),
    "count": ("count_low", "count_high"),
}
"""Between two ends lies the number, so that they go with it."""


@dataclass(frozen=True)
class PostProcessing:
    """What is added to released rows, or withheld from them."""

    band: bool
    consistent: bool
    suppress_below: float | None

    def validate(self, mechanism: str, *, sampled: bool, endless: bool) -> None:
        """Refuse what the rows will not have, before anything is charged."""
        from dp.release import uses_w_bound

        option = "--band" if self.band else "--consistent" if self.consistent else None
        if option is None:
            return
        if not uses_w_bound(mechanism):
            raise click.UsageError(
                f"{option} goes by the standard deviation of estimates; that of {mechanism} depends on the data"
            )
        if self.band and sampled:
            raise click.UsageError("--band holds noise alone, and a sample errs too: leave --rate out")
        if self.band and endless:
            raise click.UsageError("--band needs a --horizon: no band of bounded width holds days without an end")

    def apply(self, plan: Plan, rows: Iterable[TableRow]) -> Iterable[TableRow]:
        """The rows as they are written; all of them are in memory where counts are to agree, and only then."""
        from dp.release.agreement import with_agreement
        from dp.release.band import each_with_band
        from workbench.cli.consistent import with_counts

        if self.band:
            rows = each_with_band(plan, rows)
        if self.consistent:
            whole = list(rows)
            rows = with_agreement(plan, whole) if plan.request.questions else with_counts(whole)
        if self.suppress_below is not None:
            rows = suppressed(rows, self.suppress_below)
        return rows


postprocessing_options = gathered_as(
    PostProcessing, "post",
    click.option("--band", is_flag=True,
                 help="Add the ends of a band to the rows that holds a series on all days of the horizon at once, at "
                      "the level of the intervals; costs no budget."),
    click.option("--consistent", is_flag=True,
                 help="Add counts that agree to the rows: whole, not negative, DAU ≤ WAU ≤ MAU, segments that add up "
                      "to totals and flows that add up to changes; costs no budget."),
    click.option("--suppress-below", type=click.FloatRange(min=0, min_open=True), default=None, metavar="N",
                 help="Write <N in place of numbers below N, and no interval; costs no budget, and adds no privacy."),
)  # fmt: skip


def suppressed(rows: Iterable[TableRow], below: float) -> Iterator[TableRow]:
    """The rows, with `<N` in place of numbers below N, and nothing in place of their intervals."""
    return (_withheld(row, below) for row in rows)


def _withheld(row: TableRow, below: float) -> TableRow:
    written = dict(row)
    for number, ends in ENDS.items():
        value: Any = row.get(number)
        if value is not None and value < below:
            written |= {number: f"<{below:g}", **{end: None for end in ends if end in row}}
    return written
