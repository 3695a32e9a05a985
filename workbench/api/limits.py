"""How much of the service callers may hold at once: time, bytes and connections."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.service import Refused

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What callers may hold.

    Attributes:
        head_seconds: for the head of a request, from the connection or from its first byte; clients send it at once.
        body_seconds: for a body, from its head; 32 MiB need 9 Mbit/s, and whoever has less sends fewer events at once.
        answer_seconds: for taking an answer that is waiting to be sent.
        head_bytes: of a head; cookies and proxies need a few KiB.
        body_bytes: of a body.
        bodies_bytes: of all bodies under way. Decoded, a body takes about ten times its size.
        small_bytes: a body up to this size may use all of `bodies_bytes`.
        kept_bytes: of `bodies_bytes` for small bodies, so that single events pass while files are sent.
        connections: half of the 1,024 files that a process may usually have open; as many of gRPC are a quarter.
        message_bytes: of a message of gRPC, whose size is known only when it has arrived.
        calls: of gRPC at once, each of which may be receiving a message.
    """

    head_seconds: float = 10
    body_seconds: float = 30
    answer_seconds: float = 30
    head_bytes: int = 64 * 2**10
    body_bytes: int = 32 * MIB
    bodies_bytes: int = 72 * MIB
    small_bytes: int = MIB // 4
    kept_bytes: int = 8 * MIB
    connections: int = 512
    message_bytes: int = 4 * MIB
    calls: int = 128


LIMITS = Limits()


class Room:
    """What bodies under way take together, over HTTP and gRPC; used by the threads of both.

    Decoded, a body takes about ten times its size.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken = 0
        self._lock = threading.Lock()

    def grow(self, held: int, size: int) -> int:
        """Let a body that holds so many bytes hold `size`, if that is more; returns what it holds.

        Raises:
            HTTPException: no body may be so large.
            Refused: there is no room now.
        """
        if size <= held:
            return held
        limits = self._limits
        if size > limits.body_bytes:
            largest = f"{limits.body_bytes / MIB:g} MiB"
            detail = f"the body is larger than {largest}; send the events in several requests"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        room = limits.bodies_bytes - (limits.kept_bytes if size > limits.small_bytes else 0)
        with self._lock:
            if self._taken + size - held > room:
                raise Refused(
                    "busy", "nothing was stored: too many large bodies are under way; send this one again later"
                )
            self._taken += size - held
        return size

    def leave(self, held: int) -> None:
        """A body is done with."""
        with self._lock:
            self._taken -= held


class BodyLimits:
    """ASGI middleware: bodies that are read take room, from their announcement to their answer.

    It stands behind the guard, so that only callers with a key take room. What is below `/ui` is Streamlit's, which
    keeps uploads on disk and has a limit of its own.
    """

    def __init__(self, app: ASGIApp, room: Room) -> None:
        self._app = app
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; its body is refused as soon as somebody asks for it."""
        if scope["type"] != "http" or scope["path"].startswith("/ui/"):
            await self._app(scope, receive, send)
            return
        received = held = 0

        async def counting() -> Message:
            nonlocal received, held
            if not received:
                held = self._room.grow(held, _announced(scope))
            message = await receive()
            received += len(message.get("body", b""))
            # Without an announcement, room is taken as the body comes.
            held = self._room.grow(held, received)
            return message

        try:
            await self._app(scope, counting, send)
        finally:
            self._room.leave(held)


def _announced(scope: Scope) -> int:
    text = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(text) if text.isdigit() and len(text) < 20 else 0
