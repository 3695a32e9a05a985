"""The limit on wrong keys: against a slow bucket, and over HTTP, the form and websockets."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.workbench.api.common import bearing, keys_for, problem_of
from workbench.api import failure_limit
from workbench.api.app import create_app
from workbench.api.failure_limit import OF_ALL, OF_ONE, TRUSTED_SECONDS, FailureLimit, FailureRate, network
from workbench.service import Service

PERSONAL = "a key that a person chose"


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now: Any = 1000.0

    def __call__(self) -> float:
        return self.now  # type: ignore[no-any-return]


class SlowBucket:
    """So many tokens at most; one comes back every so many seconds."""

    def __init__(self, rate: FailureRate) -> None:
        self.rate, self.tokens, self.at = rate, Fraction(rate.burst), Fraction(0)

    def advance(self, now: Fraction) -> None:
        gained = (now - self.at) / Fraction(self.rate.seconds)
        self.tokens, self.at = min(Fraction(self.rate.burst), self.tokens + gained), now

    def wait(self, now: Fraction) -> Fraction:
        self.advance(now)
        return max(Fraction(0), (1 - self.tokens) * Fraction(self.rate.seconds))

    def take(self, now: Fraction) -> None:
        self.advance(now)
        self.tokens -= 1


rates = st.builds(FailureRate, burst=st.integers(1, 4), seconds=st.sampled_from([0.5, 1.0, 6.0]))
steps = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), max_size=40)


@given(rates, rates, steps)
@examples(50)
def test_the_limit_is_that_of_slow_buckets(of_one: FailureRate, of_all: FailureRate, calls: Any) -> None:
    clock = Hand()
    limit = FailureLimit(clock, of_one, of_all)
    own = {name: SlowBucket(of_one) for name in "abc"}
    everyone = SlowBucket(of_all)
    for name, quarters in calls:
        clock.now += quarters / 4
        now = Fraction(clock.now)
        wanted = max(own[name].wait(now), everyone.wait(now))
        assert limit.wait(name) == wanted
        if not wanted:
            limit.note_failure(name)
            own[name].take(now)
            everyone.take(now)


def test_whoever_was_right_is_not_held_by_what_others_do() -> None:
    clock = Hand()
    limit = FailureLimit(clock)
    limit.note_right("10.0.0.1")
    for index in range(OF_ALL.burst):
        limit.note_failure(f"10.0.1.{index}")
    assert limit.wait("10.0.0.2") > 0
    assert limit.wait("10.0.0.1") == 0
    for _ in range(OF_ONE.burst):
        limit.note_failure("10.0.0.1")
    assert limit.wait("10.0.0.1") == OF_ONE.seconds
    clock.now += TRUSTED_SECONDS
    for index in range(OF_ALL.burst):
        limit.note_failure(f"10.0.1.{index}")
    assert limit.wait("10.0.0.1") > 0


def test_in_three_seconds_few_guesses_are_looked_at() -> None:
    clock = Hand()
    limit = FailureLimit(clock)
    looked_at = 0
    for _ in range(913):
        clock.now += 3 / 913
        if not limit.wait("10.0.0.1"):
            looked_at += 1
            limit.note_failure("10.0.0.1")
    assert looked_at == OF_ONE.burst + math.floor(3 / OF_ONE.seconds)


def test_the_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_limit, "MOST_ADDRESSES", 10)
    limit = FailureLimit(Hand())
    for index in range(50):
        limit.note_failure(f"10.0.0.{index}")
        limit.note_right(f"10.0.0.{index}")
    assert len(limit._recovered) == len(limit._trusted) == 10
    assert "10.0.0.49" in limit._recovered


def test_one_caller_has_one_address() -> None:
    assert network("10.0.0.1") == network("::ffff:10.0.0.1") != network("10.0.0.2")
    assert network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9") != network("2001:db8:1:3::1")
    assert network("a socket") == "a socket"


# Over HTTP


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def made(service: Service) -> str:
    return keys_for(service.settings, {"reader": {"read"}})["reader"]


@pytest.fixture
def calling(service: Service, made: str, clock: Hand) -> Callable[..., TestClient]:
    """Clients of one application, each at an address of its own."""
    app = create_app(service, api_key=PERSONAL, seconds=clock)

    def from_address(address: str = "10.0.0.1") -> TestClient:
        return TestClient(app, client=(address, 1), follow_redirects=False)

    return from_address


def by_header(client: TestClient, key: str) -> Any:
    return client.get("/config", headers=bearing(key))


def by_other_header(client: TestClient, key: str) -> Any:
    return client.get("/config", headers={"X-API-Key": key})


def by_form(client: TestClient, key: str) -> Any:
    return client.post("/login?next=/docs", data={"key": key})


def by_cookie(client: TestClient, key: str) -> Any:
    return client.get("/config", headers={"Cookie": f"dpdau_session={key}"})


def beside_a_right_one(client: TestClient, key: str) -> Any:
    made = "dpdau_" + "0" * 64
    return client.get("/config", headers={"X-API-Key": made, **bearing(key)})


WAYS = [by_header, by_other_header, by_form, by_cookie]


@pytest.mark.parametrize("way", [*WAYS, beside_a_right_one])
def test_guessing_stops_after_a_few(calling: Callable[..., TestClient], clock: Hand, way: Any) -> None:
    client = calling()
    for index in range(OF_ONE.burst):
        way(client, f"guess {index}")
    blocked = by_header(client, PERSONAL)
    assert problem_of(blocked, 429, "too-many-failures")
    assert int(blocked.headers["retry-after"]) == OF_ONE.seconds
    assert by_header(calling("10.0.0.2"), PERSONAL).status_code == 200
    clock.now += OF_ONE.seconds
    assert by_header(client, PERSONAL).status_code == 200


@pytest.mark.parametrize("way", WAYS)
def test_while_blocked_a_right_guess_looks_like_a_wrong_one(calling: Callable[..., TestClient], way: Any) -> None:
    client = calling()
    for _ in range(OF_ONE.burst):
        by_header(client, "always the same")
    answers = {key: way(client, key) for key in (PERSONAL, "wrong")}
    assert {answer.status_code for answer in answers.values()} == {429}
    assert {answer.headers["retry-after"] for answer in answers.values()} == {"6"}
    assert answers[PERSONAL].content == answers["wrong"].content
    assert all("set-cookie" not in answer.headers for answer in answers.values())


def test_a_made_key_is_served_even_from_a_blocked_address(calling: Callable[..., TestClient], made: str) -> None:
    client = calling()
    for _ in range(50):
        by_header(client, "wrong")
    assert by_header(client, made).status_code == 200
    assert by_form(client, made).status_code == 303


@pytest.mark.slow
def test_many_addresses_together_stop_too(calling: Callable[..., TestClient], clock: Hand, made: str) -> None:
    known = calling("10.9.9.9")
    assert by_header(known, PERSONAL).status_code == 200
    statuses = [by_header(calling(f"10.0.{index % 50}.1"), "wrong").status_code for index in range(150)]
    assert statuses == [401] * OF_ALL.burst + [429] * (150 - OF_ALL.burst)
    assert by_header(calling("10.8.8.8"), PERSONAL).status_code == 429
    assert by_header(calling("10.8.8.8"), made).status_code == 200
    assert by_header(known, PERSONAL).status_code == 200
    clock.now += OF_ALL.seconds
    assert by_header(calling("10.8.8.8"), PERSONAL).status_code == 200


def test_two_guesses_in_one_call_are_two(calling: Callable[..., TestClient]) -> None:
    client = calling()
    for _ in range(OF_ONE.burst // 2):
        assert client.get("/config", headers={**bearing("one"), "X-API-Key": "another"}).status_code == 401
    assert by_header(client, PERSONAL).status_code == 429


def test_a_call_without_a_key_is_no_guess(calling: Callable[..., TestClient], made: str) -> None:
    client = calling()
    for _ in range(12):
        problem_of(client.get("/config"), 401, "key-missing")
        assert client.get("/healthz").status_code == 200
        problem_of(client.delete("/users/ann", headers=bearing(made)), 403, "scope-missing")
    assert by_header(client, PERSONAL).status_code == 200


def test_guesses_count_while_the_file_of_keys_is_broken(
    calling: Callable[..., TestClient], service: Service, made: str
) -> None:
    client = calling()
    service.settings.keys_path.chmod(0o644)
    answers = [by_header(client, f"guess {index}") for index in range(OF_ONE.burst)]
    assert {problem_of(answer, 503, "keys-unusable")["status"] for answer in answers} == {503}
    assert all("retry-after" in answer.headers for answer in answers)
    assert by_header(client, PERSONAL).status_code == 429
    service.settings.keys_path.chmod(0o600)
    assert by_header(client, made).status_code == 200
