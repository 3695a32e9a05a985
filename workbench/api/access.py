"""Which scope opens which route: one table, read by the guard, by the description of the interface and by tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from dp.names import CALENDAR
from workbench.api.problems import EXAMPLE_PROBLEM, MEDIA_TYPE
from workbench.service.keyring import ALL_SCOPES, Caller
from workbench.service.keys import INGEST, METRICS, OPERATE, READ
from workbench.service.settings import SERIES

RouteNeeds = frozenset[str] | None
"""The scopes that a call needs all of; None where it needs no key."""

ANY_KEY = frozenset[str]()
MOUNTED = "*"

# (method, path of the route) → what it needs. A route that is not listed needs every scope, and a test finds it.
ACCESS: Mapping[tuple[str | None, str], RouteNeeds] = {
    ("GET", "/livez"): None,
    ("GET", "/readyz"): None,
    ("GET", "/healthz"): None,
    ("POST", "/event"): frozenset({INGEST}),
    ("POST", "/events"): frozenset({INGEST}),
    ("DELETE", "/users/{user:path}"): frozenset({OPERATE}),
    ("POST", "/days/{day}/close"): frozenset({OPERATE}),
    ("POST", "/renewal"): frozenset({OPERATE}),
    **{
        ("GET", f"/{cell}{day}"): frozenset({READ})
        for cell in (*SERIES, *(f"{metric}/flows" for metric in SERIES), *CALENDAR)
        for day in ("", "/{day}")
    },
    ("GET", "/releases/{name:path}"): frozenset({READ}),
    ("GET", "/budget"): frozenset({READ}),
    ("GET", "/config"): frozenset({READ}),
    ("GET", "/metrics"): frozenset({METRICS}),
    ("GET", "/metrics/published"): frozenset({READ}),
    # Live shows what is published, Operate exact numbers and its buttons, and one websocket carries both.
    (MOUNTED, "/ui"): frozenset({OPERATE, READ}),
    ("GET", "/ui"): frozenset({OPERATE, READ}),
    ("GET", "/"): ANY_KEY,
    ("GET", "/docs"): ANY_KEY,
    ("GET", "/docs/oauth2-redirect"): ANY_KEY,
    ("GET", "/openapi.json"): ANY_KEY,
    (MOUNTED, "/static-offline-docs"): ANY_KEY,
}

# A fresh release costs budget. Whatever is not plainly a no counts as a yes.
_NO = frozenset({"0", "f", "false", "n", "no", "off"})

CALLER = "dpdau.caller"

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key made by 'dpdau keys create'."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}
_REFUSALS = {
    "401": "The key is missing, wrong or expired",
    "403": "The key lacks a scope; or the budget is exhausted, and nothing was charged or released",
    "429": "Too many wrong keys; Retry-After says when one is looked at again",
    "503": "The file of keys cannot be used",
}


def needed(routes: Sequence[BaseRoute], scope: Scope) -> RouteNeeds:
    """What a call needs, by the route that will answer it; any key where none will."""
    # Most calls are to paths without parameters, which no other route takes from them; a test holds that.
    if (named := (scope.get("method"), scope["path"])) in ACCESS:
        return _with_fresh(ACCESS[named], scope)
    for route in routes:
        if route.matches(scope)[0] is Match.FULL:
            return _with_fresh(route_needs(scope.get("method", "GET"), getattr(route, "path", "")), scope)
    return ANY_KEY


def route_needs(method: str, path: str) -> RouteNeeds:
    """What the table says of a route: every scope where it says nothing."""
    for declared in ((method, path), (MOUNTED, path)):
        if declared in ACCESS:
            return ACCESS[declared]
    return ACCESS.get(("GET", path), ALL_SCOPES) if method == "HEAD" else ALL_SCOPES


def _with_fresh(needs: RouteNeeds, scope: Scope) -> RouteNeeds:
    if needs is None or READ not in needs:
        return needs
    if not scope["query_string"]:
        return needs
    asked = HTTPConnection(scope).query_params.getlist("fresh")
    return needs if all(value.lower() in _NO for value in asked) else needs | {OPERATE}


def may(connection: HTTPConnection, scope_name: str) -> bool:
    """Whether the caller whom the guard let through has a scope."""
    caller: Caller | None = connection.scope.get(CALLER)
    return caller is not None and scope_name in caller.scopes


def declare_access(document: dict[str, Any], routes: Sequence[BaseRoute]) -> None:
    """Write into an OpenAPI document what every operation needs, and how a call without it is refused."""
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    declared = {getattr(route, "path_format", ""): getattr(route, "path", "") for route in routes}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            needs = route_needs(method.upper(), declared[path])
            responses = operation["responses"]
            if needs is None:
                operation["security"] = []
                for status in ("401", "403"):
                    responses.pop(status, None)
                continue
            operation["security"] = [{scheme: sorted(needs)} for scheme in _SCHEMES]
            for status, description in _REFUSALS.items():
                content = {MEDIA_TYPE: {"example": EXAMPLE_PROBLEM}}
                responses[status] = {"description": description, "content": content}
