"""What a service promises, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dp.accounting.composition import basic
from dp.names import METRICS
from dp.presence.daily import EPOCH
from dp.release import Request, charged, promise, protected
from workbench.service.periods import Period, costs
from workbench.service.settings import Settings

FRESH = "a fresh release of a past day is charged on top."


def promise_of_all(settings: Settings) -> str:
    """What is promised to whom by all series together, in one plain sentence."""
    requests = settings.requests(EPOCH)
    span = "however many days are" if settings.horizon is None else f"over all {settings.horizon} days together"
    total = basic([charged(request) for request in requests.values()])
    return (
        f"Promised: ({total.epsilon:g}, {total.delta:g})-differential privacy of everything published {span} "
        f"({_parts(requests)}), for {_whom(requests)}; {FRESH}"
    )


def promise_of_periods(periods: Sequence[Period]) -> str:
    """The same of several periods: what each promises, and what all of them promise together."""
    total, (latest, *_) = costs(periods), periods[::-1]
    each = "; ".join(
        f"{period.days} ({one.epsilon:g}, {one.delta:g}): {_parts(period.requests)}"
        for period in periods
        for one in (period.charge,)
    )
    return (
        f"Promised: ({total.epsilon:g}, {total.delta:g})-differential privacy of everything published in "
        f"{len(periods)} periods together ({each}), for {_whom(latest.requests)}; {_adding(periods)}; {FRESH}"
    )


def promises_of(periods: Sequence[Period]) -> dict[str, str]:
    """Metric → one plain sentence a period: what is promised to whom."""
    if len(periods) == 1:
        return {name: promise(request) for name, request in periods[0].requests.items()}
    return {
        name: " ".join(
            f"{period.days}: {promise(period.requests[name])}" for period in periods if name in period.requests
        )
        for name in dict.fromkeys(name for period in periods for name in period.requests)
    }


def spelt(name: str) -> str:
    """A metric or a question in a sentence: MAU, MAU/platform, week."""
    metric, *rest = name.split("/")
    return "/".join([metric.upper() if metric in METRICS else metric, *rest])


def _parts(requests: Mapping[str, Request]) -> str:
    return ", ".join(
        f"{spelt(name)} ({guarantee.epsilon:g}, {guarantee.delta:g})"
        for name, guarantee in ((name, charged(request)) for name, request in requests.items())
    )


def _whom(requests: Mapping[str, Request]) -> str:
    groups: dict[str, list[str]] = {}
    for metric, request in requests.items():
        groups.setdefault(protected(request), []).append(spelt(metric))
    if len(groups) == 1:
        return next(iter(groups))
    return ", and for ".join(f"{whom} (in {', '.join(metrics)})" for whom, metrics in groups.items())


def _adding(periods: Sequence[Period]) -> str:
    """How the periods add up."""
    units = {request.unit for request in periods[0].requests.values()}
    said = []
    if "user-day" in units:
        said.append("a user-day costs what it is charged in the periods that its window reaches")
    if "user" in units:
        said.append("a user costs the charges of all periods")
    return ", and ".join(said)
