"""Requests that are sent twice: the second one changes nothing, whatever happened in between."""

from __future__ import annotations

import json
import threading
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from dp.presence.daily import day_number
from tests.examples import examples
from tests.workbench.api.common import NOW, bearing, close, keys_for, local, problem_of, settings_in, users
from workbench.api.app import create_app
from workbench.service import Ingested, Operation, Refused, Service, open_service
from workbench.service.requests import KEPT_DAYS, RequestKey, answer_of

pytestmark = pytest.mark.usefixtures("database")

DAY = date(2026, 1, 1)
ANN = [{"user": "ann", "day": str(DAY)}]


def post(client: TestClient, body: Any, key: str | None = None, path: str = "/events") -> Any:
    return client.post(path, json=body, headers={"Idempotency-Key": key} if key else {})


def test_a_retry_after_an_erasure_brings_nobody_back(client: TestClient, service: Service) -> None:
    first = post(client, ANN, "a")
    client.delete("/users/ann").raise_for_status()
    again = post(client, ANN, "a")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert service.preview(DAY)["mau"].truth == 0
    post(client, ANN, "b").raise_for_status()
    assert service.preview(DAY)["mau"].truth == 1


@pytest.mark.slow
def test_a_retry_after_a_retraction_or_a_close_changes_nothing(client: TestClient, service: Service) -> None:
    first = post(client, ANN[0], "a", "/event")
    post(client, [{**ANN[0], "op": "-"}]).raise_for_status()
    close(client, str(DAY))
    operations = service.status().operations
    assert post(client, ANN[0], "a", "/event").content == first.content
    assert service.status().operations == operations


def test_the_key_outlives_the_process_and_holds_in_another_one(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with open_service(settings, lambda: NOW) as one, open_service(settings, lambda: NOW) as other:
        first = post(local(create_app(one)), ANN, "a")
        assert post(local(create_app(other)), ANN, "a").content == first.content
    with open_service(settings, lambda: NOW) as later:
        assert post(local(create_app(later)), ANN, "a").content == first.content
        assert later.status().operations == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [([*ANN, *ANN], "/events"), ([], "/events"), (ANN[0], "/event"), (ANN, "/events?on_error=partial")],
)
def test_another_request_under_the_key_is_refused(client: TestClient, service: Service, body: Any, path: str) -> None:
    first = post(client, ANN, "a")
    problem_of(post(client, body, "a", path), 422, "key-reused")
    assert service.status().operations == 1
    assert post(client, ANN, "a").content == first.content


def test_a_refused_request_leaves_its_key_free(client: TestClient, service: Service) -> None:
    problem_of(post(client, [{"user": ""}], "a"), 422, "bad-event")
    assert post(client, ANN, "a").json()["accepted"] == 1
    assert service.status().operations == 1


def test_a_partial_answer_comes_back_whole(client: TestClient) -> None:
    body = [*ANN, {"user": 1.5}]
    first = post(client, body, "a", "/events?on_error=partial")
    assert (first.json()["accepted"], first.json()["rejected"]) == (1, 1)
    assert post(client, body, "a", "/events?on_error=partial").content == first.content


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 65, '"', '"a', "a/b", "a\tb"])
def test_a_key_is_a_plain_word(client: TestClient, service: Service, key: str) -> None:
    response = client.post("/events", json=ANN, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    problem_of(response, 422, "bad-request")
    twice = client.post("/events", json=ANN, headers=[(b"Idempotency-Key", b"a"), (b"Idempotency-Key", b"b")])
    problem_of(twice, 422, "bad-request")
    assert service.status().operations == 0


def test_the_key_may_stand_in_quotes(client: TestClient, service: Service) -> None:
    first = post(client, ANN, '"8e03978e-40d5-43dd-bc93-6894a57f9324"')
    assert post(client, ANN, "8e03978e-40d5-43dd-bc93-6894a57f9324").content == first.content
    assert service.status().operations == 1


def test_a_key_is_kept_for_the_time_that_is_stated_and_not_longer(tmp_path: Path) -> None:
    now = NOW
    with open_service(settings_in(tmp_path), lambda: now) as service:
        client = local(create_app(service))
        first = post(client, ANN, "a")
        now = NOW + timedelta(hours=48)
        assert post(client, ANN, "a").content == first.content
        now = NOW + timedelta(days=KEPT_DAYS + 1)
        assert post(client, ANN, "a").json()["seq"] == 2
        for index in range(20):
            now += timedelta(days=1)
            post(client, ANN, str(index)).raise_for_status()
        kept = service._write(
            lambda store: store.connection.exec_driver_sql("SELECT COUNT(*) FROM requests").scalar_one()
        )
        assert kept == KEPT_DAYS + 1


def test_a_close_forgets_requests_too(tmp_path: Path) -> None:
    def kept(service: Service) -> int:
        left = "SELECT COUNT(*) FROM requests"
        return int(service._write(lambda store: store.connection.exec_driver_sql(left).scalar_one()))

    now = NOW
    with open_service(settings_in(tmp_path), lambda: now) as service:
        client = local(create_app(service))
        post(client, ANN, "a").raise_for_status()
        close(client, str(DAY))
        assert kept(service) == 1
        now = NOW + timedelta(days=KEPT_DAYS)
        close(client, str(DAY + timedelta(days=1)))
        assert kept(service) == 1
        now = NOW + timedelta(days=KEPT_DAYS + 1)
        close(client, str(DAY + timedelta(days=2)))
        assert kept(service) == 0


@pytest.mark.parametrize("partial", ["", "?on_error=partial"])
@pytest.mark.parametrize("first", ["feed", "desk"])
def test_a_repeated_answer_tells_each_key_what_it_may_know(service: Service, partial: str, first: str) -> None:
    keys = keys_for(service.settings, {"feed": {"ingest"}, "desk": {"ingest", "operate"}})
    client = TestClient(create_app(service))

    def sent(name: str) -> bytes:
        headers = {**bearing(keys[name]), "Idempotency-Key": "a"}
        return bytes(client.post(f"/events{partial}", json=ANN, headers=headers).content)

    more = {"rejected": 0, "events": []} if partial else {}
    wanted = {
        "feed": json.dumps({"accepted": 1, "late": 0, **more}, separators=(",", ":")).encode(),
        "desk": json.dumps({"accepted": 1, "late": 0, "seq": 1, **more}, separators=(",", ":")).encode(),
    }
    assert [sent(name) for name in (first, "feed", "desk", "feed")] == [
        wanted[name] for name in (first, "feed", "desk", "feed")
    ]
    assert service.status().operations == 1


def test_neither_key_nor_body_stays_readable(tmp_path: Path) -> None:
    with open_service(settings_in(tmp_path), lambda: NOW) as service:
        body = json.dumps([{"user": "Zaphod"}]).encode()
        client = local(create_app(service))
        client.post("/events", content=body, headers={"Idempotency-Key": "Zaphod-1"}).raise_for_status()
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Zaphod" not in files


def test_requests_at_the_same_time_are_one(client: TestClient, service: Service) -> None:
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(post(client, users(3), "a").content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    assert service.status().operations == 3


SENT = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from(["x", "y"])), min_size=1, max_size=8)


@pytest.mark.slow
@examples(60)
@given(together=st.lists(SENT, max_size=4))
def test_each_key_stores_once_and_answers_as_the_first_time(
    tmp_path_factory: pytest.TempPathFactory, together: list[list[tuple[str | None, str]]]
) -> None:
    first: dict[str, tuple[str, bytes]] = {}
    stored = 0
    with open_service(settings_in(tmp_path_factory.mktemp("s")), lambda: NOW) as service:
        for group in together:
            batches = [[Operation(user, day_number(DAY))] for _, user in group]
            requests = [RequestKey(key, user) if key else None for key, user in group]
            fresh = {key for key, _ in group if key and key not in first}
            for (key, user), outcome in zip(group, service.submit(batches, requests).result(), strict=True):
                if key is None or key in fresh:
                    assert isinstance(outcome, Ingested)
                    stored += 1
                    fresh.discard(key or "")
                    if key:
                        first[key] = (user, answer_of(outcome, {}))
                elif first[key][0] == user:
                    assert outcome == first[key][1]
                else:
                    assert isinstance(outcome, Refused)
            assert service.status().operations == stored
