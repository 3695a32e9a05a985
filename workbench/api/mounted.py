"""Streamlit's pages below a path: they are told where they are."""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = re.compile(rb"<head>", re.IGNORECASE)


class Mounted:
    """Streamlit's application, whose documents name the path that they are mounted under.

    Without it, a page that is opened by its own address asks for Streamlit's files below that address first, and the
    browser reports an error.

    Args:
        path: for instance "/ui".
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._script = f'<head><script>window.__streamlit={{BACKEND_BASE_URL:location.origin+"{path}"}}</script>'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on everything, and documents with one script more."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started: Message | None = None
        body = b""

        async def send_document(message: Message) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start" and _is_document(message):
                started = message
            elif started is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    content = _HEAD.sub(self._script.encode(), body, count=1)
                    MutableHeaders(scope=started)["content-length"] = str(len(content))
                    await send(started)
                    await send({"type": "http.response.body", "body": content})

        if _asks_for_document(scope):
            # Plain, so that there is a place to put the script.
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]}
        await self._app(scope, receive, send_document)


def _asks_for_document(scope: Scope) -> bool:
    return "text/html" in Headers(scope=scope).get("accept", "")


def _is_document(message: Message) -> bool:
    headers = MutableHeaders(scope=message)
    plain = "content-encoding" not in headers
    return plain and message["status"] == 200 and headers.get("content-type", "").startswith("text/html")
