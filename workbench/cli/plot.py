"""The command `plot`: draw what a release wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from workbench.cli.options import FILE


@click.command()
@click.argument("released", type=FILE)
@click.option("--truth", type=FILE, default=None, help="Output of 'dpdau exact', drawn as the true counts.")
@click.option(
    "--only",
    multiple=True,
    metavar="QUESTION",
    help="Draw this metric or question alone: mau, mau/new, mau/country. May be repeated.",
)
@click.option("--title", default=None, help="Heading of the figure.")
@click.option("--note", default=None, help="A line under the figure: source of the log, caveats.")
@click.option("--out", "outs", type=FILE, multiple=True, required=True, help="SVG, PNG or PDF; may be repeated.")
def plot(
    released: Path, truth: Path | None, only: Sequence[str], title: str | None, note: str | None, outs: Sequence[Path]
) -> None:
    """Draw a release with its intervals, from the file that 'dpdau release --out' wrote."""
    from experiments.engine.pictures import save
    from experiments.releases import RELEASE_COLUMNS, TRUTH_COLUMNS, chosen_rows, read_rows, release_figure

    figure = release_figure(
        chosen_rows(read_rows(released, RELEASE_COLUMNS), only),
        read_rows(truth, TRUTH_COLUMNS) if truth else None,
        title=title,
        note=note,
    )
    for path in outs:
        save(figure, path)
        click.echo(path)
