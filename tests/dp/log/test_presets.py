"""Exports of tools, as their documentation shows them: names, times, packing, and rows without a user."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dp import names
from dp.log import read_log
from tests.dp.log.reading import DAY, Row, active, listed, parquet, read, write
from tests.laws import each

NEXT = "2024-05-02"

DOCUMENTED: dict[str, dict[str, Any]] = {
    "snowplow": {
        "app_id": "shop", "platform": "web", "etl_tstamp": "2024-05-01 22:30:05.120",
        "collector_tstamp": "2024-05-01 22:30:01.003", "dvce_created_tstamp": "2024-05-01 22:29:58.700",
        "event": "page_view", "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb", "user_id": None,
        "user_ipaddress": "203.0.113.7", "domain_userid": "bc2e92ec6c204a14", "domain_sessionidx": 3,
        "network_userid": "ecdff4d0-9175-40ac-a8bb-325c49733607", "derived_tstamp": "2024-05-01 22:30:00.000",
    },
    "segment": {
        "anonymousId": "507f191e810c19729de860ea", "channel": "browser", "event": "Report Submitted",
        "context": {"ip": "203.0.113.7", "library": {"name": "analytics.js", "version": "2.11.1"}},
        "integrations": {"All": True}, "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db", "type": "track",
        "receivedAt": "2024-05-01T22:30:01.000Z", "sentAt": "2024-05-01T22:30:00.500Z", "userId": "97980cfea0067",
        "originalTimestamp": "2024-05-01T22:30:00.000Z", "timestamp": "2024-05-01T22:30:00.500Z", "version": 2,
    },
    "posthog": {
        "uuid": "018e6b32-1b1d-0000-9d4c-b8f6ab9cd0f1", "event": "$pageview", "distinct_id": "user-17",
        "properties": {"$browser": "Firefox"}, "timestamp": "2024-05-01T22:30:00.123000+00:00",
        "created_at": "2024-05-01T22:30:02+00:00", "person_id": "018e6b32-0000-0000-0000-000000000000",
    },
    "mixpanel": {
        "event": "Signed up",
        "properties": {"time": 1714602600, "distinct_id": "91304156-cafc-4673-a237-623d1129c801",
                       "$insert_id": "29fc2962-6d9c-455d-95ad-95b84f09b9e4", "mp_processing_time_ms": 1714602601874},
    },
    "amplitude": {
        "server_received_time": "2024-05-01 22:30:01.123000", "app": 123456, "user_id": None, "device_id": "d1",
        "amplitude_id": 7_349_281_234_567, "event_time": "2024-05-01 22:30:00.456000", "event_type": "watch",
        "event_id": 842, "uuid": "a1b2c3d4-0000-0000-0000-000000000000", "$schema": 12, "event_properties": {},
        "client_event_time": "2024-05-01 22:29:59.000000", "session_id": 1714602590000, "platform": "iOS",
    },
    "ga4": {
        "event_date": "20240501", "event_timestamp": "1714602600123456", "event_name": "page_view",
        "event_params": [{"key": "page_title", "value": {"string_value": "Home", "int_value": None}}],
        "user_id": None, "user_pseudo_id": "1234567890.1714602500", "device": {"category": "mobile"},
        "stream_id": "1234",
    },
}  # fmt: skip
"""An event of each tool, at half past ten in the evening of `DAY` in UTC."""
USERS = {"snowplow": "bc2e92ec6c204a14", "segment": "97980cfea0067", "posthog": "user-17", "amplitude": "7349281234567",
         "mixpanel": "91304156-cafc-4673-a237-623d1129c801", "ga4": "1234567890.1714602500"}  # fmt: skip


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def on(day: str, *tools: str) -> list[Row]:
    """The row of each tool's user on this day."""
    return active(*(f"{USERS[tool]} {day}" for tool in tools))


@pytest.mark.slow
@pytest.mark.parametrize("tool", names.LOG_PRESETS)
def test_a_documented_event_is_on_the_day_of_its_instant(tmp_path: Path, tool: str) -> None:
    path = write(tmp_path, lines(DOCUMENTED[tool]), "log.jsonl")
    for zone, day in (("UTC", DAY), ("Europe/Berlin", NEXT), ("America/New_York", DAY), ("Asia/Kathmandu", NEXT)):
        assert read(path, like=tool, timezone=zone) == on(day, tool)
    packed = write(tmp_path, gzip.compress(path.read_bytes()), "log.json.gz")
    assert read(packed, like=tool) == read(path, like=tool)


def test_what_is_given_outright_goes_before_the_preset(tmp_path: Path) -> None:
    path = write(tmp_path, lines(DOCUMENTED["ga4"]), "log.jsonl")
    assert read(path, like="ga4", columns={"day": "event_date"}, timezone="Asia/Tokyo") == on(DAY, "ga4")
    assert read(path, like="ga4", columns={"user": "event_name"}) == active(f"page_view {DAY}")
    with pytest.raises(ValueError, match="like = 'excel': must be one of snowplow, segment"):
        read(path, like="excel")


WITHOUT: dict[str, dict[str, Any]] = {
    "snowplow": {"domain_userid": None}, "segment": {"userId": None}, "ga4": {"user_pseudo_id": None},
}  # fmt: skip
"""What events of nobody in particular look like, in those exports that have them."""


@each("tool", WITHOUT)
def test_events_without_a_user_are_bad_rows(tmp_path: Path, tool: str) -> None:
    path = write(tmp_path, lines(DOCUMENTED[tool] | WITHOUT[tool], DOCUMENTED[tool]), "log.jsonl")
    assert read(path, like=tool, quarantine=tmp_path / "bad.csv") == on(DAY, tool)
    assert [row[:2] for row in listed(tmp_path / "bad.csv")[1:]] == [["1", "empty user"]]


def test_snowplow_events_with_a_header(tmp_path: Path) -> None:
    event = DOCUMENTED["snowplow"]
    text = "\t".join(event) + "\n" + "\t".join(str(value or "") for value in event.values())
    assert read(write(tmp_path, text, "events.tsv"), like="snowplow", timezone="Europe/Berlin") == on(NEXT, "snowplow")
    times = {name: datetime.fromisoformat(value) for name, value in event.items() if name.endswith("_tstamp")}
    for zone in (None, "UTC"):  # as some loaders write it, and as others do
        table = pa.Table.from_pylist([event | times])
        column = table["derived_tstamp"].cast(pa.timestamp("us", zone))
        table = table.set_column(table.column_names.index("derived_tstamp"), "derived_tstamp", column)
        path = parquet(tmp_path, table)
        assert read(path, like="snowplow", timezone="Europe/Berlin") == on(NEXT, "snowplow")


@pytest.mark.parametrize(("tool", "user"), [("segment", "user_id"), ("posthog", "distinct_id")])
def test_times_in_a_warehouse_are_in_utc(tmp_path: Path, tool: str, user: str) -> None:
    path = write(tmp_path, f"id,{user},timestamp,received_at\n1,x,2024-05-01 22:30:00.5,2024-05-03 00:00:00\n")
    assert read(path, like=tool, columns={"user": user}, timezone="Europe/Berlin") == active(f"x {NEXT}")


def test_segment_keeps_calls_in_packed_files_without_a_suffix(tmp_path: Path) -> None:
    calls = [DOCUMENTED["segment"], {**DOCUMENTED["segment"], "type": "identify", "traits": {"plan": "pro"}}]
    for number, call in enumerate(calls):
        write(tmp_path, gzip.compress(lines(call).encode()), f"segment-logs/abc/1714521600000/{number}.gz")
    assert read(tmp_path / "segment-logs", like="segment", input_format="jsonl") == 2 * on(DAY, "segment")


def test_posthog_packs_every_row_by_itself_and_writes_parquet(tmp_path: Path) -> None:
    whole = DOCUMENTED["posthog"] | {"timestamp": "2024-05-01T23:59:59+00:00", "elements_chain": ""}
    packed = b"".join(gzip.compress(lines(row).encode()) for row in (DOCUMENTED["posthog"], whole))
    path = write(tmp_path, packed, "2024-05-01T22:00:00+00:00-2024-05-02T00:00:00+00:00.jsonl.gz")
    assert read(path, like="posthog") == 2 * on(DAY, "posthog")
    columns = {
        "distinct_id": ["user-17"],
        "properties": ['{"$browser": "Firefox"}'],
        "timestamp": pa.array([datetime(2024, 5, 1, 22, 30, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    }
    # The suffix tells how it is packed inside.
    assert read(parquet(tmp_path, columns, "events.parquet.zst"), like="posthog") == on(DAY, "posthog")
    other = parquet(tmp_path, columns, "events.parquet.br")
    assert read(other, like="posthog", input_format="parquet", timezone="Asia/Tokyo") == on(NEXT, "posthog")


def test_mixpanel_counts_milliseconds_on_request(tmp_path: Path) -> None:
    event = DOCUMENTED["mixpanel"]
    path = write(tmp_path, lines({**event, "properties": event["properties"] | {"time": 1714602600123}}), "log.jsonl")
    assert read(path, like="mixpanel", date_format="epoch-ms") == on(DAY, "mixpanel")
    with pytest.raises(ValueError, match=r"This looks like epoch milliseconds: --date-format epoch-ms"):
        read(path, like="mixpanel")


def test_amplitude_exports_a_file_for_every_hour(tmp_path: Path) -> None:
    for hour in (22, 23):
        event = DOCUMENTED["amplitude"] | {"event_time": f"2024-05-01 {hour}:30:00.456000"}
        write(tmp_path, gzip.compress(lines(event).encode()), f"123456/123456_2024-05-01_{hour}#0.json.gz")
    assert read(tmp_path / "123456", like="amplitude", timezone="Europe/Berlin") == 2 * on(NEXT, "amplitude")
    with read_log(tmp_path / "123456", like="amplitude", columns={"user": "device_id"}) as log:
        assert log.users == 1


def test_ga4_in_parquet_has_whole_numbers(tmp_path: Path) -> None:
    event = DOCUMENTED["ga4"]
    path = parquet(tmp_path, pa.Table.from_pylist([event | {"event_timestamp": int(event["event_timestamp"])}]))
    assert read(path, like="ga4", timezone="Europe/Berlin") == on(NEXT, "ga4")
    assert read(path, like="ga4", columns={"day": "event_date"}, timezone="Europe/Berlin") == on(DAY, "ga4")
