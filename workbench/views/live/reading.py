"""Reading what a service has published, with the bands that hold all days at once where there can be some."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import streamlit as st

from dp.release import Plan
from workbench.rows import TableRow
from workbench.service import Service
from workbench.views.live.agreed import agreed_numbers, plans_table, with_numbers
from workbench.views.live.table import AnswerRow, PublishedRow, counts_table


@dataclass(frozen=True)
class PublishedSeries:
    """All that is published.

    Attributes:
        rows: those of each metric, oldest first.
        no_band: metric → why it has no band.
        answers: those of each series of the other questions, oldest first.
        plans: the table "plans"; none where nothing is asked besides the metrics.
    """

    rows: list[PublishedRow]
    no_band: dict[str, str]
    answers: list[AnswerRow]
    plans: list[TableRow]


def published_series(service: Service) -> PublishedSeries:
    """All that is published."""
    streams = tuple(service.account.stream(name) for name in (*service.settings.series, *service.settings.asked))
    return _read(service, streams, service.published_days())


def shown_counts(published: PublishedSeries, band: str) -> list[TableRow]:
    """The counts of the metrics as pages show them: a row a metric and day, as in `counts_table`."""
    table = counts_table(published.rows, band)
    if not published.answers:
        return table
    return with_numbers(table, agreed_numbers(published.plans, [*published.rows, *published.answers], band))


@st.cache_data(show_spinner=False, max_entries=8)
def _read(_service: Service, streams: tuple[str, ...], days: int) -> PublishedSeries:
    """What is published of these streams never changes, so that it is read once for a number of days."""
    rows: list[PublishedRow] = []
    no_band: dict[str, str] = {}
    periods = _service.account.all_periods() if days else []
    plans = [_service.account.plans(period) for period in periods]
    for metric in _service.settings.series if days else ():
        published = [json.loads(row) for row in _service.releases(metric)[:days]]
        try:
            published = _with_bands([plan[metric] for plan in plans], published)
        except ValueError as error:
            no_band[metric] = str(error)
        rows += msgspec.convert(published, list[PublishedRow])
    answers = [row for name in (_service.answers.questions if days else ()) for row in _answers(_service, name)]
    asked = [one for period in periods for one in period.requests.items()] if answers else []
    return PublishedSeries(rows, no_band, [row for row in answers if row.day <= rows[-1].day], plans_table(asked))


def _answers(service: Service, name: str) -> list[AnswerRow]:
    """All published rows of a question, with bands where there can be some."""
    from dp.release import with_band

    found: list[Mapping[str, Any]] = []
    for period, series in service.account.answered(name):
        published = [json.loads(row) for rows in series.values() for row in rows]
        # The metrics say why there are none.
        with suppress(ValueError):
            published = with_band(service.account.plans(period)[name], published)
        found += published
    return msgspec.convert(found, list[AnswerRow])


def _with_bands(plans: Sequence[Plan], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of each period with the bands of its plan, which hold on all days of that period at once."""
    from dp.release import with_band

    found: list[dict[str, Any]] = []
    for plan in plans:
        own = rows[len(found) :][: plan.request.horizon]
        found += with_band(plan, own)
    return found
