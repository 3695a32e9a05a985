"""Broken twins: mistakes that were made elsewhere, each beside what does it right."""

from __future__ import annotations

from collections.abc import Callable

from dp.auditing.power import Twin
from dp.auditing.twins.mechanisms import MECHANISM_TWINS
from dp.auditing.twins.sketches import SKETCH_TWINS

__all__ = ["TWINS"]

TWINS: dict[str, Callable[[], Twin]] = {**MECHANISM_TWINS, **SKETCH_TWINS}
