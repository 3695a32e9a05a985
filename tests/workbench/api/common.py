"""What the tests of the HTTP interface share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.oracles import service_model
from workbench.service import Settings, load_settings
from workbench.service.keys import PREFIX, ServiceKey, keys_text, session_token, token_hash

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PROBLEM_FIELDS = {"type", "title", "status", "detail"}


def settings_in(folder: Path, *given: tuple[str, str]) -> Settings:
    places = [(name, str(place)) for name, place in service_model.places_in(folder, "s", "l").items()]
    return load_settings(None, {}, [*places, *given])


def local(app: FastAPI, **options: Any) -> TestClient:
    """A client that calls the service as programs on its machine do."""
    return TestClient(app, base_url="http://127.0.0.1:8000", **options)


def users(number: int, day: str = "2026-01-01", op: str = "+") -> list[dict[str, str]]:
    return [{"user": f"u{index}", "day": day, "op": op} for index in range(number)]


def close(client: TestClient, *days: str) -> None:
    for day in days:
        client.post(f"/days/{day}/close", params={"confirm": True}).raise_for_status()


def problem_of(response: Any, status: int, kind: str) -> dict[str, Any]:
    """The problem document, checked against RFC 9457."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    content = response.json()
    assert set(content) >= PROBLEM_FIELDS
    assert content["type"] == f"urn:dpdau:problem:{kind}"
    assert content["status"] == status
    assert len(content["detail"]) > 20
    return content  # type: ignore[no-any-return]


def keys_for(settings: Settings, named: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Name → key; the file of keys holds them with these scopes, and no others."""
    secrets = {name: f"{PREFIX}{index:064x}" for index, name in enumerate(named)}
    kept = {
        name: ServiceKey(
            sha256=token_hash(session_token(secrets[name].encode())),
            scopes=frozenset(scopes),  # type: ignore[arg-type]
            made=NOW.date(),
        )
        for name, scopes in named.items()
    }
    settings.keys_path.touch(mode=0o600)
    settings.keys_path.write_text(keys_text(kept))
    return secrets


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
