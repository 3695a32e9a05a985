"""Connections that wait for their caller end in time: Uvicorn has a deadline only between two requests."""

from __future__ import annotations

import asyncio
import functools
from asyncio import TimerHandle
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from workbench.api.limits import Limits
from workbench.api.problems import Problem, http_problem, problem_of
from workbench.service import Refused

# What a body may be framed by: chunks of one byte take six, and trailers as much as a head.
FRAME_FACTOR = 8

NOTHING, HEAD, BODY = "nothing", "head", "body"


def protocol_of(limits: Limits) -> type[asyncio.Protocol]:
    """What `uvicorn.Config(http=…)` takes."""
    return cast("type[asyncio.Protocol]", functools.partial(LimitedProtocol, limits))


class _Lingering:
    """The transport as an answer sees it. Closed while the body is still on its way, it would reset the connection,
    and the caller would not see the answer.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class LimitedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with deadlines for head, body and answer, and bounds on heads and connections.

    The deadlines are set after whatever arrived is parsed, so that a request that arrives at once costs none.
    """

    def __init__(self, limits: Limits, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        # What is waited for; the requests of a connection are told apart by their number.
        self._awaited = (0, HEAD)
        self._deadline: TimerHandle | None = None
        self._unread: TimerHandle | None = None
        self._overhead = 0
        # Of the request that is being answered; Uvicorn keeps the one that arrived last, which may have to wait.
        self._answered: RequestResponseCycle | None = None
        self._leaving = False

    # What the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head, unless there are too many connections."""
        super().connection_made(transport)
        self._lingering = cast("asyncio.Transport", _Lingering(transport, self._close_when_read))
        if len(self.connections) > self._limits.connections:
            self._end(problem_of(Refused("busy", "too many connections are open; try again later")))
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self.resume_writing()
        self._drop_answer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and wait for what is still to come."""
        before = self._awaited
        self._overhead += len(data)
        super().data_received(data)
        number, awaited = self._awaited
        if self.transport.is_closing():
            self._stop_waiting()
        elif self._overhead > self._limits.head_bytes:
            self._end(http_problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too large"))
        elif awaited == NOTHING and self.cycle is not None and self.cycle.response_complete:
            # The rest of a request that is answered, or line breaks: Uvicorn's deadline is gone with their arrival.
            self._awaited = (number + 1, HEAD)
            self._wait()
        elif self._awaited != before:
            self._wait()

    def pause_writing(self) -> None:
        """Wait for the caller to take what it was sent."""
        super().pause_writing()
        self._unread = self.loop.call_later(self._limits.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on sending."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def shutdown(self) -> None:
        """Do not wait for the rest of a request that has not arrived whole."""
        if self._awaited[1] == BODY and self.cycle is self._answered and not self.cycle.response_started:
            self._drop_answer()
            self.transport.close()
        else:
            super().shutdown()

    # What the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._awaited = (self._awaited[0] + 1, HEAD)
        self._overhead = max(1, self._overhead)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep headers, and no trailers, which nobody reads."""
        if self._awaited[1] == HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body follows."""
        super().on_headers_complete()
        self._awaited = (self._awaited[0], BODY)
        self._overhead = 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        super().on_body(body)
        self._overhead = max(0, self._overhead - FRAME_FACTOR * len(body))

    def on_message_complete(self) -> None:
        """The request is there."""
        super().on_message_complete()
        self._awaited = (self._awaited[0], NOTHING)
        self._overhead = 0
        if self._leaving:
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the protocol of websockets, which has deadlines of its own."""
        if self._answered is not None and not self._answered.response_complete:
            # It would be taken away from the answer before.
            self.send_400_response("")
            return
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._end(http_problem(HTTPStatus.BAD_REQUEST, "this is not an HTTP request that can be understood"))

    # Deadlines

    def _wait(self) -> None:
        self._stop_waiting()
        seconds = {HEAD: self._limits.head_seconds, BODY: self._limits.body_seconds}.get(self._awaited[1])
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self._late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        answering = self._answered is not None and not self._answered.response_complete
        before = answering and (self._awaited[1] == HEAD or self.cycle is not self._answered)
        if self.flow.read_paused or before:
            # It is our own turn: to read, or to answer the request before.
            self._wait()
        elif answering or (self._overhead and self._awaited[1] == HEAD):
            detail = "the request did not arrive whole in time; nothing was stored"
            self._end(http_problem(HTTPStatus.REQUEST_TIMEOUT, detail))
        else:
            self.transport.close()

    def _end(self, problem: Problem) -> None:
        """Close the connection, with an answer unless another one is under way."""
        self._stop_waiting()
        answered = self._answered
        if answered is None or answered.response_complete or not answered.response_started:
            answer = problem.response()
            lines = [b"%s: %s\r\n" % pair for pair in [*answer.raw_headers, (b"connection", b"close")]]
            status = HTTPStatus(answer.status_code)
            first = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
            self.transport.write(b"".join([first, *lines, b"\r\n", bytes(answer.body)]))
        self._drop_answer()
        self.transport.close()

    def _drop_answer(self) -> None:
        """The application has nothing to add: its caller is gone."""
        if self._answered is not None:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        cycle.transport = self._lingering
        super()._start_asgi_task(cycle, app)

    def _close_when_read(self) -> None:
        if self._awaited[1] == BODY and self.cycle is self._answered and self.cycle.response_complete:
            self._leaving = True
        else:
            self.transport.close()
