"""A call of gRPC between its metadata and its status: who makes it, what it may hold, and how it is refused."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message

from workbench.api.admission import HERE, OTHER_SITE, lacking, tokens_of
from workbench.api.entrance import Entrance
from workbench.api.origins import only_here
from workbench.api.problems import FAILURE, Problem, http_problem, problem_of
from workbench.rpc.messages import Received, parse_message
from workbench.service import Refused
from workbench.service.keyring import Caller
from workbench.service.requests import RequestKey, request_key

Result = TypeVar("Result")
LOG = logging.getLogger("dpdau.rpc")
CLIENT_GONE = 499
"""In place of a status of HTTP: the caller has gone, or its deadline is over."""
PROBLEM, RETRY_AFTER, REQUESTS_STORED, REQUEST_KEY = (
    "dpdau-problem", "retry-after", "dpdau-requests-stored", "idempotency-key",
)  # fmt: skip
# What a browser adds and nothing else: a page asks, by way of a translating proxy.
BROWSER = ("origin", "sec-fetch-site", "referer")

CODES = {
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    HTTPStatus.INTERNAL_SERVER_ERROR: grpc.StatusCode.INTERNAL,
}


class CallRefused(Exception):  # noqa: N818 - the name says what happened
    """A call that is not answered, and the problem that its caller is told."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


class Call:
    """A call whose caller may make it.

    Attributes:
        trailing: metadata that its caller gets with a refusal.
    """

    def __init__(self, entrance: Entrance, needs: frozenset[str], context: Any) -> None:
        self.trailing: dict[str, str] = {}
        self._entrance = entrance
        self._needs = needs
        self._context = context
        self._metadata = _metadata(context)
        self._caller = self._admitted()
        self._received = self._held = 0

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope."""
        return scope in self._caller.scopes

    async def request(self, kind: type[Received]) -> Received:
        """The only message of a call.

        Raises:
            Refused: there is none, or it is not one of this kind.
        """
        return parse_message(kind, await self.only())

    async def only(self) -> bytes:
        """The bytes of the only message of a call.

        Raises:
            Refused: there is none.
        """
        if (content := await self.receive()) is None:
            raise Refused("bad-request", "the call has no message; nothing was done")
        return content

    async def receive(self) -> bytes | None:
        """The next message, None behind the last one; it takes room until the next one is asked for.

        Raises:
            CallRefused: it does not come in time, or the key does not hold any more.
            Refused: there is no room for it.
        """
        self.leave()
        late = "the request did not arrive whole in time; nothing of it was stored"
        content = await _in_time(self._context.read(), self._entrance.limits.body_seconds, late)
        if content is grpc.aio.EOF:
            return None
        if self._received:
            self._caller = self._admitted()
        self._received += 1
        self._held = self._entrance.room.grow(0, len(content))
        return bytes(content)

    def leave(self) -> None:
        """Give back the room of the last message."""
        self._entrance.room.leave(self._held)
        self._held = 0

    async def send(self, message: Message) -> None:
        """Answer; a caller that does not take what it asked for is left."""
        writing = self._context.write(message.SerializeToString())
        await _in_time(writing, self._entrance.limits.answer_seconds, "the answer was not taken in time")

    async def tell(self, name: str, value: str) -> None:
        """Send metadata before the answer."""
        await self._context.send_initial_metadata(((name, value),))

    def _admitted(self) -> Caller:
        admission, address = self._entrance.admission, address_of(self._context.peer())
        if not admission.keyring.guarded:
            if only_here(address) and not any(name in self._metadata for name in BROWSER):
                return HERE
            raise CallRefused(OTHER_SITE)
        caller = admission.authenticate(address, tokens_of(self._metadata))
        if isinstance(caller, Problem):
            raise CallRefused(caller)
        if not self._needs <= caller.scopes:
            raise CallRefused(lacking(self._needs, caller))
        return caller

    @property
    def key(self) -> str | None:
        """The Idempotency-Key as it was sent."""
        return self._metadata.get(REQUEST_KEY)

    def request_key(self, method: str, content: bytes, number: int | None = None) -> RequestKey | None:
        """What tells a request from others, if it has a key.

        Args:
            number: of the message in a stream, each of which is a request of its own.
        """
        if self.key is None:
            return None
        named = request_key(self.key, [method], content)
        # A plain word has no blank, so that no other request has this key.
        return named if number is None else RequestKey(f"{named.key} {number}", named.digest)


Behaviour = Callable[[Call], Awaitable[None]]
"""Answers a call."""


def answering(
    entrance: Entrance, path: str, needs: frozenset[str], behaviour: Behaviour
) -> Callable[[Any, Any], Awaitable[None]]:
    """What gRPC calls for a method: the caller is judged before anything of the request is read."""

    async def answer(requests: object, context: Any) -> None:
        started, status, call = time.perf_counter(), CLIENT_GONE, None
        try:
            call = Call(entrance, needs, context)
            await behaviour(call)
            status = HTTPStatus.OK
        except grpc.aio.InternalError:
            # The caller has gone, and gRPC looks whether that is so.
            raise
        except Exception as error:
            problem = error.problem if isinstance(error, CallRefused) else problem_of(error)
            if problem is FAILURE:
                LOG.error("a call has failed", exc_info=error)
            status = problem.status
            await _refuse(context, problem, call.trailing if call else {})
        finally:
            if call:
                call.leave()
            entrance.metrics.count_request("POST", path, status, time.perf_counter() - started)

    return answer


async def _in_time(waiting: Awaitable[Result], seconds: float, otherwise: str) -> Result:
    try:
        return await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        raise CallRefused(http_problem(HTTPStatus.REQUEST_TIMEOUT, otherwise)) from None


def _metadata(context: Any) -> dict[str, str]:
    """What came with a call, as headers of HTTP are read: several values of a name are one, with commas."""
    found: dict[str, str] = {}
    for name, value in context.invocation_metadata():
        content = value if isinstance(value, bytes) else value.encode()
        found[name] = ", ".join([*([found[name]] if name in found else []), content.decode("latin-1")])
    return found


def address_of(peer: str) -> str:
    """The address in what gRPC says of a caller, such as `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


async def _refuse(context: Any, problem: Problem, trailing: dict[str, str]) -> None:
    code = CODES.get(problem.status, grpc.StatusCode.INVALID_ARGUMENT)
    if problem.kind == "budget-exhausted":
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
    told = {PROBLEM: problem.kind, **trailing}
    if problem.retry_after is not None:
        told[RETRY_AFTER] = str(math.ceil(problem.retry_after))
    await context.abort(code, problem.detail, tuple(told.items()))
