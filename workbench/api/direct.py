"""Routes that are answered before the framework's own: its way to a route takes longer than storing an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.api.problems import explained

Handler = Callable[[Request], Awaitable[Response]]


class Direct:
    """ASGI middleware: POSTs to some paths are answered here, errors of theirs as everywhere. It is the innermost.

    Args:
        posts: path → what answers a POST to it.
    """

    def __init__(self, app: ASGIApp, posts: Mapping[str, Handler]) -> None:
        self._app = app
        self._posts = posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the call, or pass it on."""
        answer = self._posts.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await answer(request)
        except Exception as error:
            response = explained(request, error)
        await response(scope, receive, send)
