"""A real server on loopback, and callers that send half of what they announce, or too much, or nothing."""

from __future__ import annotations

import dataclasses
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from workbench.api.app import create_app
from workbench.api.limits import Limits
from workbench.api.serving import server_of
from workbench.service import Service

pytestmark = pytest.mark.slow

WAIT = 0.4
SHORT = Limits(
    head_seconds=WAIT, body_seconds=WAIT, answer_seconds=WAIT, head_bytes=4096, body_bytes=2**20,
    bodies_bytes=3 * 2**20, small_bytes=2**12, kept_bytes=2**20, connections=64,
)  # fmt: skip
PATIENT = dataclasses.replace(SHORT, head_seconds=60, body_seconds=60)
EVENT = b'{"user": "ann"}'
HEAD = b"POST /event HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(EVENT) + EVENT


@contextmanager
def served(service: Service, limits: Limits = SHORT, key: str | None = None) -> Iterator[int]:
    """The port of a server with these limits."""
    server = server_of(create_app(service, limits=limits, api_key=key), limits)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def call(port: int, sent: bytes = b"") -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", port), timeout=10)
    caller.sendall(sent)
    return caller


def answer(caller: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    found = b""
    with caller, suppress(ConnectionError):
        while part := caller.recv(2**16):
            found += part
    return found


def call_whole(port: int, sent: bytes = WHOLE) -> bytes:
    """The answer to a request that is there whole."""
    with call(port, sent) as caller:
        response = b""
        while b"\r\n\r\n" not in response or len(response.partition(b"\r\n\r\n")[2]) < _length(response):
            part = caller.recv(2**16)
            assert part, response
            response += part
    return response


def _length(response: bytes) -> int:
    return int(response.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


HALF_SENT = {
    "nothing": b"",
    "a line break": b"\r\n",
    "half a line": b"POST /ev",
    "half a head": HEAD,
    "half a header": HEAD + b"X-Padding: a",
    "no body": HEAD + b"Content-Length: 100\r\n\r\n",
    "half a body": HEAD + b'Content-Length: 100\r\n\r\n{"user"',
    "half a chunk": HEAD + b'Transfer-Encoding: chunked\r\n\r\nff\r\n{"user"',
    "no last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "half a trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Tr",
    "a body that nobody reads": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n",
    "a body that is refused": HEAD + b"Content-Length: 99999999\r\n\r\n{",
    "a second head": WHOLE + b"POST /ev",
    "a second body": WHOLE + HEAD + b"Content-Length: 100\r\n\r\n",
    "a line break after a request": WHOLE + b"\r\n",
}
# What the last, unfinished request is answered; 408 where nothing is said.
LAST = {
    "nothing": [],
    "a body that nobody reads": [200],
    "a body that is refused": [413],
    "a line break after a request": [],
}


def test_half_sent_requests_end_in_time_and_are_told_so(service: Service) -> None:
    with served(service) as port:
        started = time.monotonic()
        callers = {name: call(port, sent) for name, sent in HALF_SENT.items()}
        answers = {name: answer(caller) for name, caller in callers.items()}
        # A connection that is idle after an answer ends later, by Uvicorn's own deadline.
        assert time.monotonic() - started < 5 + 10 * WAIT
    for name, sent in HALF_SENT.items():
        statuses = [int(part.split(b" ", 1)[0]) for part in answers[name].split(b"HTTP/1.1 ")[1:]]
        assert statuses[: sent.count(EVENT)] == [200] * sent.count(EVENT), name
        assert statuses[sent.count(EVENT) :] == LAST.get(name, [408]), name
    assert service.status().operations == sum(sent.count(EVENT) for sent in HALF_SENT.values())


@pytest.mark.parametrize(
    ("head", "drip"),
    [(b"", b"\r\n"), (HEAD, b"X-A: b\r\n"), (HEAD + b"Content-Length: 99999\r\n\r\n", b" "), (WHOLE, b"\r\n")],
)
def test_drip_by_drip_is_as_late_as_not_at_all(service: Service, head: bytes, drip: bytes) -> None:
    with served(service) as port:
        started = time.monotonic()
        with call(port, head) as caller, suppress(ConnectionError):
            while time.monotonic() < started + 20 * WAIT:
                caller.sendall(drip)
                time.sleep(0.02)
        assert time.monotonic() - started < 10 * WAIT


def test_what_comes_in_pieces_and_in_time_is_stored(service: Service) -> None:
    with served(service, PATIENT) as port, call(port) as caller:
        for place in range(0, len(WHOLE), 9):
            caller.sendall(WHOLE[place : place + 9])
            time.sleep(0.01)
        assert caller.recv(2**16).startswith(b"HTTP/1.1 200 ")
        caller.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for byte in EVENT * 2:
            caller.sendall(b"1\r\n%c\r\n" % byte)
        caller.sendall(b"0\r\nX-Trailer: a\r\n\r\n")
        assert caller.recv(2**16).startswith(b"HTTP/1.1 422 ")
    assert service.status().operations == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /",
        HEAD + b"X-A: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: ",
    ],
    ids=["path", "header", "extension of a chunk", "trailer"],
)
def test_a_head_without_end_is_refused(service: Service, head: bytes) -> None:
    with served(service, PATIENT) as port:
        caller = call(port, head)
        with suppress(ConnectionError):
            for _ in range(2**12):
                caller.sendall(b"a" * 2**10)
        response = answer(caller)
        # Where more was under way than was read, the answer may be lost.
        assert response == b"" or b" 431 " in response.splitlines()[0]
        assert call_whole(port).startswith(b"HTTP/1.1 200 ")


def test_connections_are_bounded_and_become_free_again(service: Service) -> None:
    with served(service, dataclasses.replace(SHORT, connections=4)) as port, ExitStack() as open_ones:
        for _ in range(4):
            open_ones.enter_context(call(port, HEAD))
        refused = answer(call(port))
        assert status(refused) == 503
        assert b"retry-after: 5\r\n" in refused.lower()
        time.sleep(2 * WAIT)
        assert status(call_whole(port)) == 200


def test_stalled_bodies_take_bounded_room_and_small_ones_pass(service: Service) -> None:
    large = HEAD.replace(b"/event ", b"/events ") + b"Content-Length: %d\r\n\r\n" % 2**20 + b" " * 2**19
    chunked = HEAD.replace(b"/event ", b"/events ") + b"Transfer-Encoding: chunked\r\n\r\n100000\r\n" + b" " * 2**19
    with served(service, dataclasses.replace(SHORT, body_seconds=2)) as port:
        stalled = [call(port, large) for _ in range(2)]
        time.sleep(0.2)
        for sent in (large, chunked) * 3:
            with call(port, sent) as refused:
                response = refused.recv(2**16)
            assert status(response) == 503
            assert b"retry-after: 5\r\n" in response.lower()
            assert b"urn:dpdau:problem:busy" in response
        assert status(call_whole(port)) == 200
        assert [status(answer(caller)) for caller in stalled] == [408, 408]
        time.sleep(WAIT)
        whole = large + b" " * (2**19 - 2) + b"[]"
        assert status(call_whole(port, whole)) == 200


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_whoever_reads_after_sending_sees_a_refusal_too(service: Service, connection: bytes) -> None:
    sent = HEAD + b"Connection: %s\r\nContent-Length: %d\r\n\r\n" % (connection, 2**23) + b" " * 2**23
    with served(service, PATIENT) as port:
        for _ in range(5):
            assert status(call_whole(port, sent)) == 413


def test_without_the_key_a_body_takes_no_room(service: Service) -> None:
    with served(service, PATIENT, key="a key") as port, ExitStack() as open_ones:
        for _ in range(8):
            caller = open_ones.enter_context(call(port, HEAD + b"Content-Length: 1000000\r\n\r\n["))
            assert status(caller.recv(2**16)) == 401
        assert status(call_whole(port, WHOLE.replace(b"Host", b"X-API-Key: a key\r\nHost"))) == 200


def test_the_form_of_the_login_waits_no_longer(service: Service) -> None:
    with served(service, key="a key") as port:
        sent = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nkey="
        assert status(answer(call(port, sent))) == 408


def test_whoever_does_not_take_the_answers_is_hung_up_on(service: Service) -> None:
    with served(service) as port, call(port) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
        caller.settimeout(10)
        ask = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with pytest.raises(ConnectionError):  # noqa: PT012 - at one of the calls
            for _ in range(10_000):
                caller.sendall(ask)
                time.sleep(0.001)


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PIECES = [
    WHOLE, HEAD, EVENT, b"GET ", b"POST ", b"/event", b"/users/ann", b"*", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n",
    b"\n", b"Host: 127.0.0.1\r\n", b"Host: \xff\r\n", b"Content-Length: 15\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Idempotency-Key: a\r\n", b"f\r\n",
    b"0\r\n\r\n", b"\0", b"\xff", b"%ff", b"%", b"?", b"#", b"\r\n\r\n",
    UPGRADE,
]  # fmt: skip


def test_any_bytes_on_a_connection_are_no_failure(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(1)
    with served(service) as port:
        for _ in range(40):
            callers = [call(port, b"".join(rng.choices(PIECES, k=rng.randint(1, 9)))) for _ in range(20)]
            for caller in callers:
                if rng.random() < 0.5:
                    caller.close()
                    continue
                with suppress(OSError):
                    caller.shutdown(socket.SHUT_WR)
                for part in answer(caller).split(b"HTTP/1.1 ")[1:]:
                    assert part[:1] in b"1234", part
        assert status(call_whole(port)) == 200
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_an_upgrade_before_the_answer_is_no_failure(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    with served(service, PATIENT) as port:
        for sent in [WHOLE + UPGRADE, WHOLE + WHOLE + UPGRADE] * 5:
            assert answer(call(port, sent)).startswith(b"HTTP/1.1 400 ")
        assert answer(call(port, UPGRADE)).startswith(b"HTTP/1.1 403 ")
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_callers_that_leave_are_no_failures(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    with served(service, PATIENT) as port:
        for sent in HALF_SENT.values():
            call(port, sent).close()
        time.sleep(WAIT)
        metrics = call_whole(port, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b'status="200"' in metrics
        assert b'status="5' not in metrics
    said = capfd.readouterr()
    assert (said.out + said.err)[-3000:] == ""


def test_a_half_sent_request_does_not_hold_up_the_end(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    with served(service, PATIENT) as port, ExitStack() as open_ones:
        for sent in HALF_SENT.values():
            open_ones.enter_context(call(port, sent))
        time.sleep(WAIT)
        started = time.monotonic()
        leaving = open_ones.pop_all()
    assert time.monotonic() - started < 2
    leaving.close()
    said = capfd.readouterr()
    assert (said.out + said.err)[-3000:] == ""
