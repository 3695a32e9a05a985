"""Where a call comes from: this machine, a page of this service, or another site's page in somebody's browser."""

from __future__ import annotations

import functools
import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import Message, Send


@functools.lru_cache(maxsize=64)
def only_here(host: str) -> bool:
    """Whether only this machine can reach an address of that name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.lru_cache(maxsize=64)
def _names_here(host: str) -> bool:
    return only_here(_name(f"//{host}"))


def from_here(connection: HTTPConnection) -> bool:
    """Whether a program of this machine asks, or a page that comes from this service, but no other site's page.

    Any page that a browser on this machine shows can send requests to loopback. Such a request carries the page's
    origin, or says that it is cross-site, or calls this machine by a name of its own (DNS rebinding).
    """
    host, origin = connection.headers.get("host", ""), connection.headers.get("origin")
    return _names_here(host) and not foreign(connection) and (origin is None or _net(origin) == host)


def foreign(connection: HTTPConnection) -> bool:
    """Whether a browser says that another site's page asks, other than by a link that leads to a page of ours.

    Such a page does nothing by being shown, as long as it is not shown inside another one.
    """
    headers, scope = connection.headers, connection.scope
    if headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
        return False
    link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not (link and scope.get("method") == "GET" and _is_page(scope["path"]))


def unframed(send: Send) -> Send:
    """Forbid other sites to show an answer inside their pages."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"content-security-policy", b"frame-ancestors 'self'")]
            message = {**message, "headers": headers}
        await send(message)

    return sending


def _is_page(path: str) -> bool:
    return path in ("/", "/docs", "/ui") or path.startswith("/ui/")


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _net(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
