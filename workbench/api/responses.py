"""Answers in JSON, and how the interface describes them."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

JSON = "application/json"
RELEASE_EXAMPLE = {
    "metric": "mau", "window": 30, "day": "2026-01-01", "estimate": 984.26, "ci_low": 953.40, "ci_high": 1015.13,
    "ci_level": 0.95, "std": 15.75, "epsilon": 0.5, "delta": 1e-6, "epsilon_total": 0.5, "delta_total": 1e-6,
    "mechanism": "damped-square-root", "sketch": "exact", "unit": "user-day", "w_bound": 2, "horizon": 365,
    "budget": "live", "budget_remaining": 1.8, "secure": True,
}  # fmt: skip
QUESTION_EXAMPLE = {
    "question": "mau", "breakdown": "platform", "segment": "ios",
    **{name: value for name, value in RELEASE_EXAMPLE.items() if name not in ("metric", "window")},
}  # fmt: skip


def json_response(content: Any) -> Response:
    """Whatever msgspec can write, as JSON."""
    return Response(msgspec.json.encode(content), media_type=JSON)


def documented(example: Any) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` of a route that answers like this example."""
    return {200: {"description": "Done", "content": {JSON: {"example": example}}}}
