"""What is published, as other programs read it: tables, caching, gauges."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from fastapi.testclient import TestClient

from tests.laws import each
from tests.oracles.service_model import FIELDS
from tests.workbench.api.common import NOW, close, local, problem_of, settings_in, users
from workbench.api.app import create_app
from workbench.api.published import COLUMNS, encoded, table_rows
from workbench.service import open_service

DAYS = [f"2026-01-0{index}" for index in (1, 2, 3)]


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    client.post("/events", json=users(30)).raise_for_status()
    close(client, *DAYS)
    return client


def test_every_format_holds_what_was_published(filled: TestClient) -> None:
    published = [{**filled.get(f"/mau/{day}").json(), "as_of": day} for day in DAYS]
    assert filled.get("/releases/mau?format=json").json() == published
    lines = list(csv.DictReader(io.StringIO(filled.get("/releases/mau?format=csv").text)))
    assert [{name: str(value) for name, value in row.items()} for row in published] == lines
    table = parquet.read_table(io.BytesIO(filled.get("/releases/mau?format=parquet").content))
    dated = [{**row, **dict.fromkeys(("day", "as_of"), date.fromisoformat(row["day"]))} for row in published]
    assert table.to_pylist() == dated
    assert set(table.column_names) == {*FIELDS, "as_of"} == set(COLUMNS)
    assert table.schema.field("day").type == pa.date32()


def test_without_a_format_the_rows_are_as_they_were_published(filled: TestClient) -> None:
    rows = [filled.get(f"/wau/{day}").text for day in DAYS]
    assert filled.get("/releases/wau").text == "[" + ",".join(rows) + "]"
    assert filled.get("/releases/wau?from=2026-01-02").text == "[" + ",".join(rows[1:]) + "]"


@each("form", ["", "json", "csv", "parquet"])
def test_days_can_be_chosen(filled: TestClient, form: str) -> None:
    def days(query: str) -> list[str]:
        content = filled.get(f"/releases/dau?{query}" + (f"&format={form}" if form else "")).content
        if form == "parquet":
            return [str(day) for day in parquet.read_table(io.BytesIO(content))["day"].to_pylist()]
        rows = list(csv.DictReader(io.StringIO(content.decode()))) if form == "csv" else json.loads(content)
        return [row["day"] for row in rows]

    assert days("from=2026-01-02") == DAYS[1:]
    assert days("to=2026-01-02") == DAYS[:2]
    assert days("from=2026-01-02&to=2026-01-02") == DAYS[1:2]
    assert days("from=2025-01-01&to=2027-01-01") == DAYS
    assert days("from=2027-01-01") == days("to=2025-12-31") == []


def test_an_empty_table_has_its_columns(client: TestClient) -> None:
    assert client.get("/releases/mau?format=csv").text == ",".join(COLUMNS) + "\n"
    assert client.get("/releases/mau?format=json").json() == []
    table = parquet.read_table(io.BytesIO(client.get("/releases/mau?format=parquet").content))
    assert (table.num_rows, table.column_names) == (0, list(COLUMNS))


def test_wrong_questions_are_refused(filled: TestClient) -> None:
    for query in ("format=xml", "from=today", "to=20260101", "from=2026-01-03&to=2026-01-01"):
        problem_of(filled.get(f"/releases/mau?{query}"), 422, "bad-request")
    problem_of(filled.get("/releases/yau?format=csv"), 404, "unknown-metric")


def test_closed_days_may_be_cached(filled: TestClient) -> None:
    forms = ["", "&format=json", "&format=csv", "&format=parquet"]
    settled = [filled.get(f"/releases/mau?to=2026-01-02{form}") for form in forms]
    growing = [filled.get(f"/releases/mau?to=2026-01-09{form}") for form in forms]
    assert all("immutable" in answer.headers["cache-control"] for answer in settled)
    assert all(answer.headers["cache-control"] == "private, no-cache" for answer in growing)
    for answer in settled + growing:
        again = filled.get(str(answer.url), headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
    close(filled, "2026-01-04")
    for answer in settled:
        assert filled.get(str(answer.url)).content == answer.content
    for answer in growing:
        changed = filled.get(str(answer.url), headers={"If-None-Match": answer.headers["etag"]})
        assert changed.status_code == 200


def test_a_mechanism_without_intervals_has_nulls_of_the_same_type(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, ("mau.mechanism", "sparse-vector"))
    with open_service(settings, lambda: NOW) as service, local(create_app(service)) as client:
        client.post("/events", json=users(3)).raise_for_status()
        close(client, "2026-01-01")
        (row,) = client.get("/releases/mau?format=json").json()
        table = parquet.read_table(io.BytesIO(client.get("/releases/mau?format=parquet").content))
        for name in ("ci_low", "ci_high", "std", "estimate"):
            assert table.schema.field(name).type == pa.float64()
            assert table[name].to_pylist() == [row[name]]
        text = client.get("/metrics/published").text
        assert 'dpdau_published_estimate{metric="mau"}' in text
        assert ('dpdau_published_ci_low{metric="mau"}' in text) == (row["ci_low"] is not None)


def test_columns_of_later_rows_are_kept() -> None:
    row = {"metric": "mau", "day": "2026-01-01", "estimate": 1.0, "bound": "ios"}
    rows = table_rows([json.dumps(row)], None, None)
    assert json.loads(encoded(rows, "json", COLUMNS))[0]["bound"] == "ios"
    assert parquet.read_table(io.BytesIO(encoded(rows, "parquet", COLUMNS)))["bound"].to_pylist() == ["ios"]


def test_published_gauges_hold_the_last_row_and_nothing_else(filled: TestClient) -> None:
    text = filled.get("/metrics/published").text
    row = filled.get("/mau").json()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    for column in ("estimate", "ci_low", "ci_high", "ci_level", "std"):
        assert float(values[f'dpdau_published_{column}{{metric="mau"}}']) == row[column]
    day = datetime(2026, 1, 3, tzinfo=UTC)
    assert float(values['dpdau_published_day_timestamp_seconds{metric="mau"}']) == day.timestamp()
    assert len(values) == 6 * 3
    # Neither what arrives nor the exact counts show.
    filled.post("/events", json=users(40, day=str(NOW.date() - timedelta(days=1)))).raise_for_status()
    assert filled.get("/metrics/published").text == text


def test_before_the_first_close_there_are_no_gauges(client: TestClient) -> None:
    text = client.get("/metrics/published").text
    assert all(line.startswith("#") for line in text.splitlines())
