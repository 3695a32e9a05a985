"""A private year of the real logs: DAU, WAU and MAU released with OpenDP noise, next to the truth.

The logs are the UCI Online Retail data (Chen, Sain, Guo, Journal of Database Marketing 19(3), 2012). They are public,
which is the only reason that truth and release may appear in one figure. A release cannot be repeated, so its rows are
kept and the figure is drawn from them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from dp.accounting.composition import Guarantee
from dp.ledger import open_ledger
from dp.log import read_log
from dp.presence import NumpyEngine
from dp.release import METRICS, Request, plan_release, publish
from experiments.engine.pictures import save
from experiments.engine.tables import write_table
from experiments.releases import RELEASE_COLUMNS, TRUTH_COLUMNS, read_rows, release_figure

FIRST, LAST = date(2010, 12, 10), date(2011, 12, 9)
GUARANTEE = Guarantee(1.0, 1e-6)


@dataclass(frozen=True)
class RealLog:
    """One of the two files: its name, how to read it, and what a figure must say about it."""

    file: str
    title: str
    note: str
    columns: dict[str, str] = field(default_factory=dict)


LOGS: dict[str, RealLog] = {
    "online_retail_turnstile": RealLog(
        "online_retail_turnstile.csv.gz",
        "An online shop's customers, with cancellations (real log, real noise)",
        "UCI Online Retail (Chen, Sain, Guo 2012). One cancelled line takes the whole day back, on the day of the "
        "cancellation: harsher than the shop's own view.",
    ),
    "online_retail_invoices": RealLog(
        "online_retail_invoices.csv.gz",
        "An online shop's customers, every invoice (real log, real noise)",
        "UCI Online Retail (Chen, Sain, Guo 2012). Every invoice counts as activity, cancellations too.",
        {"user": "CustomerID", "timestamp": "InvoiceDate"},
    ),
}


def release_year(log: RealLog, data: Path, name: str, results: Path) -> list[Path]:
    """Release one log with fresh noise; writes the rows, the true counts and the figure, and returns their paths."""
    horizon = (LAST - FIRST).days + 1
    with read_log(data / log.file, columns=log.columns) as checked:
        flips = NumpyEngine(checked.connection).daily_flips(list(METRICS.values()), FIRST, LAST)
    counts = {metric: flips[window].counts for metric, window in METRICS.items()}
    request = Request(
        METRICS, "user-day", 2, GUARANTEE, "damped-square-root", FIRST, horizon, dict.fromkeys(METRICS, 1.0)
    )
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "year.ledger") as ledger:
        ledger.create_budget("default", GUARANTEE, now.date(), None)
        rows = [json.loads(row) for row in publish(ledger, name, "default", plan_release(request), counts, now)]
    released, truth = results / f"{name}_release.parquet", results / f"{name}_truth.parquet"
    write_table(rows, released)
    write_table(
        [
            {"metric": metric, "day": day.isoformat(), "count": count}
            for metric, series in counts.items()
            for day, count in zip(series.days, series.values.tolist(), strict=True)
        ],
        truth,
    )
    return [released, truth, *draw_year(log, name, results)]


def draw_year(log: RealLog, name: str, results: Path) -> list[Path]:
    """Draw the figure of a log from the rows in `results`; returns the paths of the pictures."""
    figure = release_figure(
        read_rows(results / f"{name}_release.parquet", RELEASE_COLUMNS),
        read_rows(results / f"{name}_truth.parquet", TRUTH_COLUMNS),
        title=log.title,
        note=log.note,
    )
    pictures = [results / f"{name}.svg", results / f"{name}.png"]
    for picture in pictures:
        save(figure, picture)
    return pictures


def main(arguments: list[str]) -> int:
    """`release DATA RESULTS` draws new noise; `redraw RESULTS` makes the figures from the rows there are."""
    match arguments:
        case ["release", data, results]:
            for name, log in LOGS.items():
                print(*release_year(log, Path(data), name, Path(results)), sep="\n")
        case ["redraw", results]:
            for name, log in LOGS.items():
                print(*draw_year(log, name, Path(results)), sep="\n")
        case _:
            print("usage: python -m experiments.real_log release DATA RESULTS | redraw RESULTS", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
