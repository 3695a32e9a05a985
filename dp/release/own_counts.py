"""A plan takes counts that were counted as it says, and no others: what is promised is promised for those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from dp.counts import Counts, Freeze
from dp.mechanisms.protocol import MOST_USERS
from dp.release.plan import Plan, Series


def own_counts(plan: Plan, counts: Mapping[str, Counts]) -> dict[str, NDArray[np.int64]]:
    """The counts of every series, shape (ticks,) or (ticks, 2·bounds).

    Raises:
        ValueError: counts are missing, were not counted as the plan says (its window, first tick, flip bound, sample),
            are no whole numbers, or are longer than the horizon; the message names the metric.
    """
    return {series.metric: _checked(plan, series, counts) for series in plan.series}


def stated_counts(plan: Plan, values: Mapping[str, NDArray[np.int64]]) -> dict[str, Counts]:
    """Counts from elsewhere, which the caller states to have been counted as the plan says.

    Nothing can check that. If users were not frozen where the plan needs it, the release does not keep its promise.

    Args:
        values: metric → counts from the first tick on.
    """
    request, series = plan.request, {one.metric: one for one in plan.series}
    return {
        metric: Counts(
            np.asarray(one), series[metric].window, request.first, plan.freeze,
            request.sample and request.sample.before(len(one)), series[metric].part,
        )
        for metric, one in values.items()
    }  # fmt: skip


def _checked(plan: Plan, series: Series, counts: Mapping[str, Counts]) -> NDArray[np.int64]:
    metric = series.metric
    if metric not in counts:
        raise ValueError(f"counts of {metric} are missing")
    given = counts[metric]
    if not isinstance(given, Counts):
        raise ValueError(
            f"counts of {metric} are a bare {type(given).__name__}, which does not say how they were counted; "
            "count the log for this plan, or state it with dp.release.stated_counts"
        )
    for difference in _differences(plan, series, given):
        raise ValueError(f"counts of {metric} are not this plan's: {difference}")
    values = given.values
    columns = (2 * len(plan.freeze),) if isinstance(plan.freeze, tuple) else ()
    if values.shape[1:] != columns:
        raise ValueError(
            f"counts of {metric} have the shape {values.shape}; {('ticks', *columns)} is needed "
            f"for {plan.request.mechanism}"
        )
    if np.any((values < 0) | (values > MOST_USERS) | (values != np.floor(values))):
        raise ValueError(f"counts of {metric} must be whole numbers between 0 and 2^36")
    horizon = plan.request.horizon
    if horizon is not None and len(values) > (most := series.question.cell.number(plan.request.first, horizon)):
        raise ValueError(
            f"{len(values)} ticks were asked for, but the guarantee covers a horizon of {most}; "
            "for more days open another stream, which is charged again"
        )
    return values.astype(np.int64)


def _differences(plan: Plan, series: Series, given: Counts) -> Iterator[str]:
    """How counts were counted otherwise than a plan says."""
    request = plan.request
    if given.part != series.part:
        yield f"they answer {_what(given)} and not {series.metric}, asked in this way"
    if given.window != series.window:
        yield f"they are for a window of {given.window} days and not {series.window}"
    if given.first != request.first:
        yield f"their first tick is {given.first} and not {request.first}"
    if given.freeze != plan.freeze:
        yield f"{_frozen(given.freeze)}, but what is promised needs counts in which {_frozen(plan.freeze)}"
    wanted = request.sample and request.sample.before(len(given.values))
    if given.sample != wanted:
        yield f"they count {_whom(given)}, but the request is for {'a sample' if given.sample is None else 'another'}"


def _frozen(freeze: Freeze) -> str:
    match freeze:
        case None:
            return "nobody is frozen"
        case int():
            return f"users are frozen after {freeze} changes of presence"
    return f"users are frozen after {', '.join(map(str, freeze))} changes of presence, column by column"


def _whom(given: Counts) -> str:
    return "all users" if given.sample is None else f"a sample of {given.sample}"


def _what(given: Counts) -> str:
    return "how many users are present in all" if given.part is None else given.part[1].key
