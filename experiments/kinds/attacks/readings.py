"""What a reading of an attack says of what is allowed."""

from __future__ import annotations

import math

NOTHING, BEYOND = 0.02, 30.0
"""Places in pictures of readings that are zero, and of those that are more than this many times what is allowed."""


def over_limit(measured: float, limit: float | None) -> float:
    """A reading over the most that is allowed; 0 over 0 is 0, and so is anything of which nothing is claimed."""
    if limit is None or math.isnan(limit):
        return 0.0
    return measured / limit if limit > 0 else math.inf if measured > 0 else 0.0
