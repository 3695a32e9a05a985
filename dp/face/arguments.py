"""What calls of the public face have in common: metrics, days and frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from dp.names import METRICS

if TYPE_CHECKING:
    import pandas as pd

DateLike = date | str


def windows_of(metrics: str | Sequence[str] | Mapping[str, int]) -> dict[str, int]:
    """Trailing window in days of each metric; ValueError if a name is unknown."""
    if isinstance(metrics, Mapping):
        return dict(metrics)
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if unknown := [name for name in names if name not in METRICS]:
        raise ValueError(
            f"metrics has {unknown[0]!r}; choose from {', '.join(METRICS)}, or give any name with its window in days, "
            'as in {"14-day": 14}'
        )
    return {name: METRICS[name] for name in names}


def day_of(name: str, value: DateLike) -> date:
    """The date; ValueError, which names the argument, if it is none."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; it is a date, or its text, such as 2024-01-31") from None


def table_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame with a row each."""
    import pandas as pd

    return pd.DataFrame(list(rows))
