"""Reading what a service has published, with the bands that hold all days at once where there can be some."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import streamlit as st

from dp.release import Plan
from workbench.service import Service
from workbench.views.live.table import PublishedRow


@dataclass(frozen=True)
class PublishedSeries:
    """All published rows of all metrics.

    Attributes:
        rows: those of each metric, oldest first.
        no_band: metric → why it has no band.
    """

    rows: list[PublishedRow]
    no_band: dict[str, str]


def published_series(service: Service) -> PublishedSeries:
    """All that is published."""
    streams = tuple(service.account.stream(metric) for metric in service.settings.series)
    return _read(service, streams, service.published_days())


@st.cache_data(show_spinner=False, max_entries=8)
def _read(_service: Service, streams: tuple[str, ...], days: int) -> PublishedSeries:
    """What is published of these streams never changes, so that it is read once for a number of days."""
    rows: list[PublishedRow] = []
    no_band: dict[str, str] = {}
    plans = [_service.account.plans(period) for period in _service.account.all_periods()] if days else []
    for metric in _service.settings.series if days else ():
        published = [json.loads(row) for row in _service.releases(metric)[:days]]
        try:
            published = _with_bands([plan[metric] for plan in plans], published)
        except ValueError as error:
            no_band[metric] = str(error)
        rows += msgspec.convert(published, list[PublishedRow])
    return PublishedSeries(rows, no_band)


def _with_bands(plans: Sequence[Plan], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of each period with the bands of its plan, which hold on all days of that period at once."""
    from dp.release import with_band

    found: list[dict[str, Any]] = []
    for plan in plans:
        own = rows[len(found) :][: plan.request.horizon]
        found += with_band(plan, own)
    return found
