"""`dpdau figure`: a figure of the pages, made anew from the question in its zip."""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.options import FILE


@click.command()
@click.argument("question", type=FILE)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(),
    help="Folder for the files; the working directory by default.",
)  # fmt: skip
def figure(question: Path, out: Path) -> None:
    """Make a figure of the pages anew, from the TOML file in the zip that a page offers.

    Writes each table as CSV and each chart as Vega-Lite, SVG and PNG. The tables and the Vega-Lite files are the same,
    byte for byte, as those in the zip.

    \b
    Example:
      dpdau figure figure.toml --out again
    """
    import vl_convert

    from experiments.engine.files import write_atomically
    from experiments.engine.progress import progress_bar
    from workbench.figure import make_figure
    from workbench.views.bundle import files, specification

    with progress_bar() as report:
        made = make_figure(question, report=report)
    content = files(made.question, made.tables)
    for name, chart in made.charts.items():
        drawn = specification(chart)
        content[f"{name}.svg"] = vl_convert.vegalite_to_svg(drawn).encode()
        content[f"{name}.png"] = vl_convert.vegalite_to_png(drawn, scale=2)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        write_atomically(out / name, text)
        click.echo(out / name)
