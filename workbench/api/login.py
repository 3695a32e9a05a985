"""The form by which a browser logs in: it sends the key once, and gets a cookie that is derived from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs, quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from workbench.api.access import needed

COOKIE = "dpdau_session"
LOGIN = "/login"
FIRST_PAGE = "/ui/"
LONGEST_FORM = 4096
# No part of a path is empty or begins with a dot, and nothing in it is encoded: whatever reads it, reads this.
_PLAIN = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?(\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?")


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a person asks for a page, and is better helped by a form than by a problem document."""
    return "text/html" in connection.headers.get("accept", "") and connection.scope.get("method") == "GET"


def to_login(connection: HTTPConnection) -> Response:
    """Send a browser to the form, and from there to the page that it wanted."""
    target = connection.scope["path"] + (f"?{connection.url.query}" if connection.url.query else "")
    return RedirectResponse(f"{LOGIN}?next={quote(target, safe='')}", HTTPStatus.SEE_OTHER)


def target_of(connection: HTTPConnection, routes: Sequence[BaseRoute]) -> str:
    """Where to go after logging in: what this service shows, and never another one's address.

    What is asked for by a link must do nothing but show: a query that makes it do more is left out.
    """
    asked = connection.query_params.get("next", FIRST_PAGE)
    scope = shown(connection, asked)
    if not _PLAIN.fullmatch(asked) or not any(route.matches(scope)[0] is Match.FULL for route in routes):
        return FIRST_PAGE
    more = needed(routes, scope) != needed(routes, {**scope, "query_string": b""})
    return asked.partition("?")[0] if more else asked


def shown(connection: HTTPConnection, target: str) -> Scope:
    """The call by which a browser goes to a target."""
    path, _, query = target.partition("?")
    return {**connection.scope, "method": "GET", "path": path, "query_string": query.encode()}


async def sent_key(request: Request) -> bytes | None:
    """The key of a form that was sent; None if it is longer than any key."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            return None
    return parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0].encode()


def logged_in(request: Request, target: str, token: str) -> Response:
    """Go where the browser wanted to go, with a cookie that stands for the key."""
    response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return response


def form(target: str, message: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    """The form, with what was wrong the last time."""
    note = f'<p role="alert">{escape(message)}</p>' if message else ""
    return HTMLResponse(_PAGE.format(target=quote(target, safe=""), note=note), int(status))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>dpdau: log in</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif }}
main {{ max-width: 22rem; margin: 20vh auto 0; padding: 0 1rem }}
label, input, button {{ display: block; width: 100%; box-sizing: border-box; font: inherit }}
input, button {{ padding: .6rem; margin-top: .5rem }}
</style>
</head>
<body><main>
<h1>dpdau</h1>
{note}
<form method="post" action="/login?next={target}">
<label for="key">Key of this service with the scopes operate and read</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
</form>
</main></body>
</html>
"""
