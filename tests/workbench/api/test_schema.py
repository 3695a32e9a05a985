"""Calls that the description of the interface allows, and calls that it does not, with a key of every scope."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.examples import examples
from tests.workbench.api.common import bearing, close, keys_for, local, users
from workbench.api.app import create_app
from workbench.service import Service
from workbench.service.keyring import ALL_SCOPES
from workbench.service.keys import SCOPES

pytestmark = pytest.mark.slow

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
SCOPES_OF = {**{name: frozenset({name}) for name in SCOPES}, "all": ALL_SCOPES}
NOT_LET_IN = ("urn:dpdau:problem:key-missing", "urn:dpdau:problem:scope-missing")


def verdict(response: Any) -> bool:
    """Whether the caller was let in."""
    return not (response.status_code in (401, 403) and response.json()["type"] in NOT_LET_IN)


def needs_of(case: Any) -> frozenset[str]:
    """What the description says that a call needs; a fresh release and an erasure need more."""
    (scopes, _) = case.operation.definition.raw["security"] or [{"bearer": []}, {}]
    asked = str((case.query or {}).get("fresh", "false")).lower()
    body = case.body if isinstance(case.body, list) else [case.body]
    more = asked not in ("false", "0", "no", "off", "f", "n") or any(
        isinstance(event, dict) and event.get("op") == "erase" for event in body
    )
    return frozenset(scopes["bearer"]) | ({"operate"} if more else set())


def tried(app: FastAPI, key: str, scopes: frozenset[str], number: int) -> Counter[bool]:
    """How often the caller was let in, and how often not; every answer is checked."""
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    seen: Counter[bool] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        # What has no parameters can be asked in one way only.
        asked = [*operation.iter_parameters(), *operation.body]
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if asked else (GenerationMode.POSITIVE,):

            @examples(number, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
            @given(operation.as_strategy(generation_mode=mode))
            def call(case: Any) -> None:
                response = case.call(headers=bearing(key))
                case.validate_response(response, checks=CHECKS)
                let_in = verdict(response)
                seen[let_in] += 1
                needs = needs_of(case)
                if let_in:
                    assert needs <= scopes or response.status_code == 422, (case.operation.label, needs)
                else:
                    assert not needs <= scopes, (case.operation.label, needs)

            call()
    return seen


@pytest.mark.parametrize("name", SCOPES_OF)
def test_no_call_fails_or_reaches_beyond_its_scope(service: Service, name: str) -> None:
    with local(create_app(service)) as client:
        client.post("/events", json=users(20)).raise_for_status()
        close(client, "2026-01-01")
    keys = keys_for(service.settings, SCOPES_OF)
    seen = tried(create_app(service), keys[name], SCOPES_OF[name], 4)
    assert seen[True] > 3
    assert bool(seen[False]) == (name != "all")
