"""A check that every config makes of the names in it."""

from __future__ import annotations

from collections.abc import Iterable


def refuse_unknown(key: str, values: Iterable[str], known: Iterable[str]) -> None:
    """Raise ValueError, which names the key, if a value is none of the known ones."""
    known = list(known)
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{key} has {', '.join(unknown)}; choose from {', '.join(known)}")
