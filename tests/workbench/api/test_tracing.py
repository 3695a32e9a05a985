"""A tracer that the environment names learns nothing: spans would carry paths, and a path may name a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace

from tests.workbench.api.common import local
from workbench.api.app import create_app
from workbench.service import Service

SECRET = "Zq7-planted-secret"


class Recorder(trace.ProxyTracerProvider):
    """Remembers what its spans are about."""

    def __init__(self) -> None:
        self.spans: list[str] = []

    def get_tracer(self, *names: Any, **more: Any) -> trace.Tracer:
        return RecordingTracer(self.spans)


class RecordingTracer(trace.NoOpTracer):
    def __init__(self, spans: list[str]) -> None:
        self._spans = spans

    def start_span(self, name: str, *details: Any, **more: Any) -> trace.Span:
        self._spans.append(f"{name} {details} {more}")
        return trace.INVALID_SPAN

    def start_as_current_span(self, name: str, *details: Any, **more: Any) -> Any:
        self._spans.append(f"{name} {details} {more}")
        return super().start_as_current_span(name)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: recorder)
    monkeypatch.setattr(trace, "get_tracer", recorder.get_tracer)
    return recorder


def requested(client: TestClient, paths: Sequence[str]) -> None:
    for path in paths:
        client.delete(path)


def test_no_span_says_what_is_asked(service: Service, recorder: Recorder) -> None:
    with local(create_app(service)) as client:
        requested(client, [f"/users/{SECRET}", f"/nowhere/{SECRET}"])
        client.post("/event", json={"user": SECRET})
    assert recorder.spans == []


def test_an_application_as_it_comes_would_tell(recorder: Recorder) -> None:
    app = FastAPI()
    app.delete("/users/{user}")(lambda user: user)
    with TestClient(app) as client:
        requested(client, [f"/users/{SECRET}"])
    assert any(SECRET in span for span in recorder.spans)
