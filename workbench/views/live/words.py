"""Words and types that the parts of the page share."""

from __future__ import annotations

from datetime import date


def day_name(day: date) -> str:
    """A day in words, the same in every locale of the server: Mon 2 March 2026."""
    return f"{day:%a} {day.day} {day:%B %Y}"
