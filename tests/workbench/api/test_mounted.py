"""Streamlit's documents are told where they are; everything else passes as it is."""

from __future__ import annotations

import gzip

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tests.workbench.api.common import local
from workbench.api.app import create_app
from workbench.api.mounted import Mounted
from workbench.service import Service

DOCUMENT = "<!DOCTYPE html><html><head><title>Pages</title></head><body></body></html>"
SCRIPT = '<script>window.__streamlit={BACKEND_BASE_URL:location.origin+"/ui"}</script>'


async def pages(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    responses: dict[str, Response] = {
        "/text": PlainTextResponse("<head>"),
        "/missing": HTMLResponse(DOCUMENT, status_code=404),
    }
    response = responses.get(request.url.path, HTMLResponse(DOCUMENT))
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed = gzip.compress(bytes(response.body))
        response = Response(packed, headers={"content-encoding": "gzip", "content-type": "text/html"})
    await response(scope, receive, send)


async def get(path: str, **headers: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=Mounted(pages, "/ui"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/live", "/tradeoff?epsilon=2"])
async def test_a_document_is_told_where_it_is(path: str) -> None:
    response = await get(path, accept="text/html", accept_encoding="gzip, br")
    assert response.text == DOCUMENT.replace("<head>", f"<head>{SCRIPT}")
    assert int(response.headers["content-length"]) == len(response.content)


@pytest.mark.anyio
async def test_what_is_no_document_passes_as_it_is() -> None:
    assert (await get("/text", accept="*/*", accept_encoding="")).text == "<head>"
    assert (await get("/missing", accept="text/html")).text == DOCUMENT
    packed = await get("/packed", accept="*/*", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == DOCUMENT


def test_the_pages_are_found_without_their_last_slash(service: Service) -> None:
    client = local(create_app(service, pages=Starlette()))
    for path in ("/", "/ui"):
        response = client.get(path, follow_redirects=False)
        assert (response.status_code, response.headers["location"]) == (307, "/ui/")
