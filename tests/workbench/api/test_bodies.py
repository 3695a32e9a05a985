"""Bodies of any bytes: each is answered, nothing is lost without a word, and nobody's id is repeated."""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.laws import each
from tests.oracles.store_contents import rows_naming
from tests.workbench.api.common import NOW, close, local, problem_of, settings_in, users
from workbench.api.app import create_app
from workbench.service import Service, open_service

NDJSON = "application/x-ndjson"
TYPES = ["application/json", NDJSON]
SECRET = "Zaphod"
DEEP = 10**6


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client whose service keeps what other tests have stored; an exception of the service fails the test."""
    with (
        open_service(settings_in(tmp_path_factory.mktemp("shared")), lambda: NOW) as service,
        local(create_app(service)) as made,
    ):
        yield made


def send(client: TestClient, body: bytes, kind: str = TYPES[0], path: str = "/events", **headers: str) -> Any:
    return client.post(path, content=body, headers={"Content-Type": kind, **headers})


# Every body is answered

NESTED = {
    "arrays": b"[" * DEEP,
    "objects": b'{"user":' * DEEP,
    "arrays of a user": b'[{"user":' + b"[" * DEEP,
    "an unknown field": b'[{"user": "ann", "x": ' + b"[" * DEEP + b"]" * DEEP + b"}]",
    "an unknown field of objects": b'[{"user": "ann", "x": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}]",
    "below the limit of a decoder": b'[{"user": "ann", "x": ' + b"[" * 500 + b"]" * 500 + b"}]",
    "lines": b'{"user": "ann"}\n' + b"[" * DEEP + b"\n" + b'{"a":' * DEEP,
}
ODD = {
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "NUL": b"\0",
    "a byte-order mark": codecs.BOM_UTF8 + b'[{"user": "ann"}]',
    "UTF-16": '[{"user": "ann"}]'.encode("utf-16"),
    "UTF-32": '[{"user": "ann"}]'.encode("utf-32"),
    "no UTF-8": b'[{"user": "\xff"}]',
    "a surrogate in UTF-8": b'[{"user": "\xed\xa0\x80"}]',
    "half a surrogate": rb'[{"user": "\ud800"}]',
    "the other half": rb'[{"user": "\udc00x"}]',
    "an escaped NUL": rb'[{"user": "\u0000"}]',
    "a plain NUL": b'[{"user": "a\0b"}]',
    "a number too long": b'[{"user": ' + b"9" * 10**6 + b"}]",
    "a negative number too long": b'[{"user": -' + b"9" * 4300 + b"}]",
    "digits that Python does not write": b'[{"user": -' + b"9" * 4299 + b"}]",
    "an exponent": b'[{"user": 1e999999}]',
    "not a number": b'[{"user": NaN}]',
    "no time": b'[{"user": "ann", "timestamp": "2026-01-01T25:61:61Z"}]',
    "the end of the calendar": b'[{"user": "ann", "timestamp": "9999-12-31T23:59:59-23:59"}]',
    "before the calendar": b'[{"user": "ann", "timestamp": "0001-01-01T00:00:00+23:59"}]',
    "year zero": b'[{"user": "ann", "day": "0000-00-00"}]',
    "half a body": b'[{"user": "ann"}, {"us',
    "a comma": b'[{"user": "ann"},]',
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("body", [*NESTED.values(), *ODD.values()], ids=[*NESTED, *ODD])
def test_odd_bodies_are_refused_and_explained(shared: TestClient, body: bytes, kind: str) -> None:
    stored = shared.post("/events", json=[]).json()["seq"]
    for path in ("/events", "/event", "/events?on_error=partial"):
        response = send(shared, body, kind, path)
        if response.status_code != 200:
            assert 400 <= response.status_code < 500
            problem_of(response, response.status_code, response.json()["type"].rpartition(":")[2])
        elif "partial" not in path:
            assert (body.strip(), kind) in [(b"", NDJSON)]
    partly = body.startswith(b'{"user": "ann"}\n') and kind == NDJSON
    assert shared.post("/events", json=[]).json()["seq"] == stored + partly


PIECES = [
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\n", b"\r", b" ", b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800",
    b"1", b"-", b"e9", b"9" * 30, b"null", b"true", b'"user"', b'"day"', b'"op"', b'"timestamp"', b'"2026-01-01"',
    b'"2026-01-01T00:00:00Z"', b'"erase"', b'"+"', b'{"user": "ann"}', b'[{"user": "ann"}]', codecs.BOM_UTF8,
]  # fmt: skip
MIXED = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)
VALID = b'[{"user": "ann", "day": "2026-01-01"}, {"user": 7, "timestamp": "2026-01-01T10:00:00+01:00"}, {"user": "b"}]'


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good body in which a few places were cut, doubled or replaced."""
    body = VALID if draw(st.booleans()) else VALID[1:-1].replace(b"}, ", b"}\n")
    for _ in range(draw(st.integers(1, 4))):
        start, length = draw(st.integers(0, len(body))), draw(st.integers(0, 8))
        body = body[:start] + draw(MIXED | st.just(body[start : start + length] * 2)) + body[start + length :]
    return body


@examples(300)
@given(
    body=st.binary(max_size=100) | MIXED | mutated(),
    kind=st.sampled_from([*TYPES, "application/json; charset=utf-8"]),
    path=st.sampled_from(["/event", "/events", "/events?on_error=partial"]),
)
@pytest.mark.slow
def test_any_bytes_are_answered(shared: TestClient, body: bytes, kind: str, path: str) -> None:
    response = send(shared, body, kind, path)
    assert response.status_code in (200, 415, 422)
    if response.status_code != 200:
        problem_of(response, response.status_code, response.json()["type"].rpartition(":")[2])


@each(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "identity, gzip"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=a"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": 'application/x-ndjson; charset="ISO-2022-JP"'},
        {"Content-Type": ";"},
        {"Content-Type": "\xff"},
    ],
)
def test_other_types_and_encodings_are_refused(shared: TestClient, headers: dict[str, str]) -> None:
    sent = {name: text.encode("latin-1") for name, text in {"Content-Type": TYPES[0], **headers}.items()}
    for body in (b'[{"user": "ann"}]', gzip.compress(b'[{"user": "ann"}]')):
        problem_of(shared.post("/events", content=body, headers=sent), 415, "http")
        problem_of(shared.post("/event", content=body, headers=sent), 415, "http")


@each(
    "headers",
    [{}, {"Content-Type": "Application/JSON;charset=UTF-8"}, {"Content-Type": 'application/json; charset="utf-8"; a'},
     {"Content-Type": "application/json", "Content-Encoding": "identity"}],
)  # fmt: skip
def test_what_is_plainly_json_is_taken(shared: TestClient, headers: dict[str, str]) -> None:
    assert shared.post("/event", content=b'{"user": "ann"}', headers=headers).json()["accepted"] == 1


def test_a_body_in_chunks_is_taken(shared: TestClient) -> None:
    assert shared.post("/events", content=iter([b'[{"us', b"", b'er": "ann"}', b"]"])).json()["accepted"] == 1
    problem_of(shared.post("/events", content=iter([b" " * 2**20] * 33)), 413, "http")


# Lines and parts

ROWS = st.sampled_from(
    [
        b'{"user": "ann"}', b' {"user": "bob", "op": "-"}\r', b'{"user": "cem", "op": "erase"}', b'{"user": 1}',
        b"", b"  ", b"\t\r", b"\x0b", b"nonsense", b"{}", b'{"user": ""}', b'{"user": "x", "day": "2027-01-01"}',
        b'{"user": "a"} {"user": "b"}', b'{"user":', b'"a"}', b'{"user": "\xff"}', b"[" * 2000, b'{"user": 1.5}',
        b'{"user": "a", "op": "erase", "day": "2026-01-01"}', b'{"user": "a", "usr": 1}',
        b'{"user": "a", "timestamp": "9999-12-31T23:59:59-14:00"}',
    ]
)  # fmt: skip


def is_good(row: bytes) -> bool:
    """Whether a row is an event, by what the documentation says."""
    try:
        event = json.loads(row)
    except (ValueError, RecursionError):
        return False
    if not isinstance(event, dict) or not event.keys() <= {"user", "day", "timestamp", "op"}:
        return False
    user, op = event.get("user"), event.get("op", "+")
    dated = "day" in event or "timestamp" in event
    return isinstance(user, str | int) and str(user).strip() != "" and not (op == "erase" and dated) and not dated


@examples(100)
@given(rows=st.lists(ROWS, max_size=12))
@pytest.mark.slow
def test_what_is_accepted_and_what_is_rejected_is_what_was_sent(shared: TestClient, rows: list[bytes]) -> None:
    sent = [(line, row) for line, row in enumerate(rows, 1) if row.strip(b" \t\r")]
    bad = [line for line, row in sent if not is_good(row)]
    before = shared.post("/events", json=[]).json()["seq"]
    body = b"\n".join(rows)
    whole = send(shared, body, NDJSON)
    assert whole.status_code == (422 if bad else 200)
    partial = send(shared, body, NDJSON, "/events?on_error=partial")
    content = partial.json()
    assert partial.status_code == 200
    assert (content["accepted"] + content["rejected"], content["rejected"]) == (len(sent), len(bad))
    assert [fault["line"] for fault in content["events"]] == bad
    assert [sent[fault["index"]][0] for fault in content["events"]] == bad
    good = len(sent) - len(bad)
    assert shared.post("/events", json=[]).json()["seq"] == before + (good if bad else 2 * good)
    if bad:
        refused = problem_of(whole, 422, "bad-event")
        assert (refused["rejected"], refused["events"]) == (content["rejected"], content["events"])
        assert f"line {bad[0]}: " in refused["detail"]


@examples(100)
@given(rows=st.lists(ROWS.filter(lambda row: row.strip(b" \t\r\x0b") and b"\xff" not in row), max_size=12))
@pytest.mark.slow
def test_an_array_is_taken_in_part_like_lines(shared: TestClient, rows: list[bytes]) -> None:
    values = []
    for row in rows:
        try:
            values.append(json.loads(row))
        except (ValueError, RecursionError):
            continue
    content = shared.post("/events?on_error=partial", json=values).json()
    lines = b"\n".join(json.dumps(value).encode() for value in values)
    same = send(shared, lines, NDJSON, "/events?on_error=partial").json()
    assert content["accepted"] + content["rejected"] == len(values)
    assert content["accepted"] == same["accepted"]
    for ours, theirs in zip(content["events"], same["events"], strict=True):
        assert {**ours, "line": theirs["line"]} == theirs


def test_the_first_hundred_are_listed_and_all_are_counted(client: TestClient, service: Service) -> None:
    lines = b"\n".join([b'{"user": "ann"}', b"", *([b"{}"] * 250), b'{"user": "bob"}'])
    content = send(client, lines, NDJSON, "/events?on_error=partial").json()
    assert (content["accepted"], content["rejected"]) == (2, 250)
    assert [fault["line"] for fault in content["events"]] == list(range(3, 103))
    assert problem_of(send(client, lines, NDJSON), 422, "bad-event")["rejected"] == 250
    assert service.status().operations == 2


def test_partial_is_said_so_and_not_guessed(shared: TestClient) -> None:
    for chosen in ("", "Partial", "skip", "partial "):
        response = shared.post("/events", params={"on_error": chosen}, json=users(1))
        problem_of(response, 422, "bad-request")
    everything = shared.post("/events?on_error=refuse", json=users(1)).json()
    assert set(everything) == {"accepted", "late", "seq"}
    good = shared.post("/events?on_error=partial", json=users(2)).json()
    assert (good["accepted"], good["rejected"], good["events"]) == (2, 0, [])
    problem_of(send(shared, b'[{"user": "ann"}, {', path="/events?on_error=partial"), 422, "bad-event")


# Nobody's id comes back

PLANTED: list[Any] = [
    {"user": SECRET + "\0"}, {"user": SECRET * 100}, {"user": SECRET, "day": SECRET}, {"user": SECRET, "op": SECRET},
    {"user": SECRET, "timestamp": SECRET}, {SECRET: SECRET}, {"user": SECRET, SECRET: 1}, {"user": [SECRET]},
    {"user": {SECRET: SECRET}}, {"user": SECRET, "day": "2027-01-01"}, {"user": SECRET, "op": "erase", "day": SECRET},
    {"user": SECRET, "op": "erase", "day": "2026-01-01"}, SECRET, [SECRET], {"usr": SECRET}, {"user": SECRET, "x`": 1},
    {"user": SECRET, "day": "2026-01-01", "timestamp": "2026-01-01T00:00:00Z"}, {"user": f"{SECRET}\ud800"},
]  # fmt: skip
REQUESTS = [
    ("GET", f"/users/{SECRET}"), ("POST", f"/users/{SECRET}"), ("DELETE", f"/users/{SECRET}"), ("GET", f"/{SECRET}"),
    ("DELETE", f"/users/{SECRET}%00"), ("DELETE", f"/users/{SECRET * 100}"), ("DELETE", f"/user/{SECRET}"),
    ("GET", f"/dau/{SECRET}"), ("GET", f"/dau/{SECRET}/"), ("GET", f"/dau?day={SECRET}"), ("PUT", f"/event/{SECRET}"),
    ("GET", f"/mau?fresh={SECRET}"), ("POST", f"/days/{SECRET}/close"), ("GET", f"/releases/{SECRET}"),
    ("POST", f"/event/?user={SECRET}"), ("POST", f"/events?on_error={SECRET}"), ("GET", f"/event?user={SECRET}"),
    ("GET", f"/releases/mau?from={SECRET}"), ("GET", f"/ui/{SECRET}"), ("GET", f"/docs/{SECRET}"), (SECRET, "/event"),
    ("PATCH", f"/days/{SECRET}"), ("GET", f"/metrics?{SECRET}"), ("GET", f"/static-offline-docs/{SECRET}"),
]  # fmt: skip


def holds_secret(response: Any) -> bool:
    said = response.text + repr(list(response.headers.multi_items()))
    return any(SECRET[:6].lower() in part.lower() for part in (said, said.encode().decode("unicode_escape")))


@pytest.mark.parametrize("event", PLANTED, ids=range(len(PLANTED)))
def test_an_answer_to_events_names_nobody(shared: TestClient, event: Any) -> None:
    body = json.dumps(event).encode()
    for kind, sent in [(TYPES[0], b"[" + body + b"]"), (NDJSON, body), (TYPES[0], body), (TYPES[0], body[:-1])]:
        for path in ("/events", "/event", "/events?on_error=partial"):
            assert not holds_secret(send(shared, sent, kind, path))


@each(("method", "path"), REQUESTS)
def test_an_answer_to_any_request_names_nobody(
    shared: TestClient, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = shared.request(method, path, follow_redirects=False, headers={"Content-Type": SECRET})
    assert response.status_code < 500
    assert not holds_secret(response)
    assert SECRET not in shared.get("/metrics").text
    # The client logs the addresses that it asks for.
    assert SECRET not in "".join(one.getMessage() for one in caplog.records if not one.name.startswith("httpx"))


def test_a_refused_method_says_which_are_allowed(shared: TestClient) -> None:
    response = shared.get("/users/ann")
    problem_of(response, 405, "http")
    assert response.headers["allow"] == "DELETE"


def test_a_misspelt_field_is_named(shared: TestClient) -> None:
    for name in ("usr", "dya", "timestmp", "ops"):
        content = problem_of(shared.post("/events", json=[{"user": "ann", name: "x"}]), 422, "bad-event")
        assert f"`{name}`" in content["events"][0]["reason"]


def test_an_id_that_is_not_utf8_erases_nobody(client: TestClient, service: Service) -> None:
    client.post("/event", json={"user": "\ufffd"}).raise_for_status()
    for path in ("/users/%ff", "/users/%E9", "/users/a%ED%A0%80"):
        problem_of(client.delete(path), 422, "bad-request")
    service.settled()
    assert rows_naming(service.settings, "\ufffd")["arrived"] == 1
    client.delete("/users/%EF%BF%BD").raise_for_status()
    service.settled()
    assert rows_naming(service.settings, "\ufffd")["arrived"] == 0


# The clock


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Any:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.slow
@pytest.mark.parametrize("back", [timedelta(hours=13), timedelta(days=1), timedelta(days=3), timedelta(days=9999)])
def test_a_clock_set_back_to_a_closed_day_files_nothing_under_it(tmp_path: Path, clock: Clock, back: timedelta) -> None:
    with open_service(settings_in(tmp_path, ("first_day", "2026-05-28")), clock) as service:
        client = local(create_app(service))
        client.post("/event", json={"user": "ann"}).raise_for_status()
        service.close_through(date(2026, 5, 31))
        client.post("/event", json={"user": "ann"}).raise_for_status()
        clock.now = NOW - back
        for body in ([{"user": "bob"}], [*users(1, "2026-05-28"), {"user": "bob", "op": "-"}]):
            response = client.post("/events", json=body)
            assert str(service.today()) in problem_of(response, 503, "clock")["detail"]
            assert response.headers["retry-after"].isdigit()
            problem_of(client.post("/events?on_error=partial", json=body), 503, "clock")
        # Whoever names the day is taken at their word, and an erasure has none.
        dated = [{"user": "bob", "day": "2026-05-28"}] if back < timedelta(days=9) else []
        assert client.post("/events", json=[*dated, {"user": "x", "op": "erase"}]).json()["late"] == len(dated)
        assert service.recent()[-1].day == NOW.date()
        clock.now = NOW
        assert client.post("/event", json={"user": "bob"}).json()["late"] == 0


@pytest.mark.slow
def test_after_a_restart_the_closed_days_show_that_the_clock_was_set_back(tmp_path: Path, clock: Clock) -> None:
    settings = settings_in(tmp_path, ("first_day", "2026-05-25"))
    with open_service(settings, clock) as service:
        service.close_through(date(2026, 5, 31))
    clock.now = NOW - timedelta(days=2)
    with open_service(settings, clock) as service:
        problem_of(local(create_app(service)).post("/event", json={"user": "ann"}), 503, "clock")
        assert service.status().operations == 0


def test_a_day_may_be_closed_before_it_is_over(client: TestClient) -> None:
    close(client, str(NOW.date()))
    assert client.post("/event", json={"user": "ann"}).json() == {"accepted": 1, "late": 1, "seq": 1}


def test_a_clock_that_went_wrong_and_right_again_stops_nobody(tmp_path: Path, clock: Clock) -> None:
    with open_service(settings_in(tmp_path), clock) as service:
        client = local(create_app(service))
        clock.now = NOW + timedelta(days=400)
        client.post("/event", json={"user": "ann"}).raise_for_status()
        clock.now = NOW
        client.post("/event", json={"user": "ann"}).raise_for_status()
        assert [one.day for one in service.recent()] == [NOW.date(), NOW.date() + timedelta(days=400)]
