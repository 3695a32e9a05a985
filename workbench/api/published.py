"""What is published, in the forms that other programs read: tables with typed columns, and gauges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Literal

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from workbench.api.responses import JSON
from workbench.rows import TableRow, csv_text, parquet_bytes
from workbench.service import Refused

TableFormat = Literal["json", "csv", "parquet"]
MEDIA_TYPES: dict[TableFormat, str] = {
    "json": JSON, "csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet",
}  # fmt: skip
DAY, TEXT, NUMBER, WHOLE, TRUTH = "date32", "string", "float64", "int32", "bool"
COLUMNS = {
    "metric": TEXT, "window": WHOLE, "day": DAY, "as_of": DAY, "estimate": NUMBER, "ci_low": NUMBER,
    "ci_high": NUMBER, "ci_level": NUMBER, "std": NUMBER, "epsilon": NUMBER, "delta": NUMBER, "epsilon_total": NUMBER,
    "delta_total": NUMBER, "mechanism": TEXT, "sketch": TEXT, "unit": TEXT, "w_bound": WHOLE, "horizon": WHOLE,
    "budget": TEXT, "budget_remaining": NUMBER, "secure": TRUTH,
}  # fmt: skip
"""Column → its type in Arrow; JSON and CSV write the same values as text, a day as YYYY-MM-DD."""
QUESTION_COLUMNS = {
    "question": TEXT, "breakdown": TEXT, "segment": TEXT,
    **{name: kind for name, kind in COLUMNS.items() if name not in ("metric", "window")},
}  # fmt: skip
"""The same of questions other than the metrics."""
GAUGES = {
    "estimate": "The published estimate of the last published day.",
    "ci_low": "Lower end of its interval.",
    "ci_high": "Upper end of its interval.",
    "ci_level": "Level of that interval.",
    "std": "Standard deviation of its noise.",
}
SECONDS_FOR_EVER = 365 * 86_400


class _Dated(msgspec.Struct):
    day: date


def day_of(row: str) -> date:
    """The day that a published row is about."""
    return msgspec.json.decode(row, type=_Dated).day


def rows_between(published: Sequence[str], start: date | None, end: date | None) -> list[str]:
    """Published rows of the days from `start` to `end`.

    Raises:
        Refused: the start is after the end.
    """
    if start is not None and end is not None and start > end:
        raise Refused("bad-request", f"from is {start}, after to, {end}; swap them")
    return [row for row in published if (start or date.min) <= day_of(row) <= (end or date.max)]


def table_rows(published: Sequence[str], start: date | None, end: date | None) -> list[TableRow]:
    """Published rows of the days from `start` to `end`, each with its `as_of`.

    A row counts what had arrived when its day was closed: operations that count from that day or before. So `as_of` is
    the row's own day, and nothing needs to be stored for it.
    """
    rows = []
    for text in rows_between(published, start, end):
        row = json.loads(text)
        row["as_of"] = row["day"]
        columns = QUESTION_COLUMNS if "question" in row else COLUMNS
        others = [name for name in row if name not in columns]
        rows.append({name: row.get(name) for name in [*columns, *others]})
    return rows


def encoded(rows: Sequence[TableRow], form: TableFormat, columns: Mapping[str, str]) -> bytes:
    """Rows in one of the formats; `columns` are those that all of them have."""
    if form == "json":
        return msgspec.json.encode(rows)
    if form == "csv":
        return csv_text(rows, list(columns)).encode()
    import pyarrow as pa

    typed = [{**row, "day": date.fromisoformat(row["day"]), "as_of": date.fromisoformat(row["as_of"])} for row in rows]
    others = [] if not typed else [name for name in typed[0] if name not in columns]
    known = [(name, getattr(pa, "bool_" if kind == TRUTH else kind)()) for name, kind in columns.items()]
    # Columns of single mechanisms have the types of their values.
    inferred = pa.Table.from_pylist([{name: row[name] for name in others} for row in typed]).schema if others else []
    return parquet_bytes(typed, pa.schema([*known, *inferred]))


def cacheable(request: Request, content: bytes, media_type: str, *, settled: bool) -> Response:
    """An answer with an ETag; 304 where the caller has these bytes.

    Args:
        settled: whether the answer never changes, because all days that it is about are published.
    """
    tag = f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
    lifetime = f"max-age={SECONDS_FOR_EVER}, immutable" if settled else "no-cache"
    headers = {"ETag": tag, "Cache-Control": f"private, {lifetime}"}
    asked = request.headers.get("if-none-match", "")
    if asked == "*" or tag in [one.strip().removeprefix("W/") for one in asked.split(",")]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


class PublishedGauges(Collector):
    """The last published rows as gauges.

    Args:
        rows: of metrics, and of questions.
    """

    def __init__(self, rows: Sequence[str]) -> None:
        self._rows = [json.loads(row) for row in rows]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families, without the ends that a mechanism does not have."""
        metrics = [row for row in self._rows if "metric" in row]
        yield from _families("dpdau_published", ("metric",), metrics)
        if len(metrics) < len(self._rows):
            others = [row for row in self._rows if "metric" not in row]
            yield from _families("dpdau_published_question", ("question", "breakdown", "segment"), others)

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)


def _families(prefix: str, labels: Sequence[str], rows: Sequence[TableRow]) -> Iterator[GaugeMetricFamily]:
    """What rows say, by these labels."""
    named = [([row[label] or "" for label in labels], row) for row in rows]
    for column, meaning in GAUGES.items():
        family = GaugeMetricFamily(f"{prefix}_{column}", meaning, labels=labels)
        for values, row in named:
            if row[column] is not None:
                family.add_metric(values, row[column])
        yield family
    family = GaugeMetricFamily(
        f"{prefix}_day_timestamp_seconds", "The last published day, as Unix time of its first second in UTC.",
        labels=labels,
    )  # fmt: skip
    for values, row in named:
        day = datetime.combine(date.fromisoformat(row["day"]), datetime.min.time(), UTC)
        family.add_metric(values, day.timestamp())
    yield family
