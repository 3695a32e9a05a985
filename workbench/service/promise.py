"""What a service promises, in plain words."""

from __future__ import annotations

from dp.accounting.composition import basic
from dp.presence.daily import EPOCH
from dp.release import charged, protected
from workbench.service.settings import Settings


def promise_of_all(settings: Settings) -> str:
    """What is promised to whom by all series together, in one plain sentence."""
    requests = {metric: settings.request(metric, EPOCH) for metric in settings.series}
    total = basic([charged(request) for request in requests.values()])
    span = "however many days are" if settings.horizon is None else f"over all {settings.horizon} days together"
    parts = ", ".join(
        f"{metric.upper()} ({guarantee.epsilon:g}, {guarantee.delta:g})"
        for metric, guarantee in ((metric, charged(request)) for metric, request in requests.items())
    )
    groups: dict[str, list[str]] = {}
    for metric, request in requests.items():
        groups.setdefault(protected(request), []).append(metric.upper())
    if len(groups) == 1:
        (whom,) = groups
    else:
        whom = ", and for ".join(f"{whom} (in {', '.join(metrics)})" for whom, metrics in groups.items())
    return (
        f"Promised: ({total.epsilon:g}, {total.delta:g})-differential privacy of everything published {span} "
        f"({parts}), for {whom}; a fresh release of a past day is charged on top."
    )
