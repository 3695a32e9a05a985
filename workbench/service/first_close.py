"""The first close: what it fixes for ever, and when it looks like a mistake."""

from __future__ import annotations

from datetime import date

from dp.release import charged
from workbench.service.errors import Refused
from workbench.service.periods import Period
from workbench.service.promise import spelt
from workbench.service.settings import Settings

FAR_DAYS = 7
CONFIRM = (
    "If that is meant, close it with a confirmation: confirm=true over HTTP, dpdau close --yes, or the box on the page "
    "Operate"
)


def check_only_store(settings: Settings, others: bool) -> None:
    """Refuse to begin with a budget that has paid for another store's days: that store may have been lost.

    Args:
        others: whether the budget holds charges of another store.

    Raises:
        Refused: it does.
    """
    if others:
        raise Refused(
            "doubtful-first-day",
            f"the budget {settings.budget!r} in {settings.ledger_place} has paid for the days of another store, and "
            "this one has no closed day. If that store was lost, put it back: otherwise its days are drawn, and paid "
            f"for, a second time, and the promises of both add up. Nothing was closed or charged. {CONFIRM}",
        )


def check_intended(settings: Settings, today: date, reported: tuple[date, date] | None, day: date) -> None:
    """Refuse a first day that somebody may have mistyped. A first day that the settings name was chosen.

    The refusal depends on the log: it is for the operator. So it does not say which days the log has.

    Args:
        reported: first and last day that an operation is about, None without any.

    Raises:
        Refused: the day is more than `FAR_DAYS` from today, or no operation is about it or about days around it.
    """
    if settings.first_day is not None:
        return
    doubts = []
    # In a replay, today means nothing.
    if not settings.future_days and abs((day - today).days) > FAR_DAYS:
        doubts.append(f"it is more than {FAR_DAYS} days from today, {today}")
    if reported is None:
        doubts.append("nothing has arrived yet")
    elif not reported[0] <= day <= reported[1]:
        doubts.append("it lies outside the days that the operations are about")
    if doubts:
        raise Refused(
            "doubtful-first-day",
            f"{day} would be the first day, and {' and '.join(doubts)}. Nothing was closed or charged. "
            f"{fixed_by(settings, day)} {CONFIRM}",
        )


def fixed_by(settings: Settings, first: date) -> str:
    """What the first close fixes for ever, in words."""
    period = Period.by_settings(settings, "", 1, first)
    return f"The first close fixes for ever: the first day {first}, {span_of(period)}, {charge_of(period)} at once."


def span_of(period: Period) -> str:
    """How far a period reaches, in words."""
    return "no horizon" if period.last is None else f"a horizon of {period.horizon} days to {period.last}"


def charge_of(period: Period) -> str:
    """What is charged for a period, in words."""
    charges = {name: charged(request) for name, request in period.requests.items()}
    series = ", ".join(f"{spelt(name)} ε {one.epsilon:g} and δ {one.delta:g}" for name, one in charges.items())
    total = period.charge
    return f"{series}; together ε {total.epsilon:g} and δ {total.delta:g} are charged to the budget {period.budget!r}"
