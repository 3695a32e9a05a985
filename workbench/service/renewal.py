"""The next period: charged for by the operator when the horizon is over, or before.

The store goes on as it is, so a window that reaches back over the border counts what it should. The streams are new:
fresh noise, a charge of their own. Flips are counted anew from the first day of the period, which is what its promise
needs (docs/guarantees.md, section 9.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from dp.ledger import Ledger
from dp.presence.daily import EPOCH
from dp.release import plan_release
from workbench.service.access import StoreAccess
from workbench.service.account import Account
from workbench.service.days import calendar_day
from workbench.service.errors import Refused
from workbench.service.first_close import charge_of, span_of
from workbench.service.periods import Period, check_same_series
from workbench.service.promise import promise_of_periods
from workbench.service.settings import Settings

SOON_DAYS = 30
"""So few days before the end of the horizon, whoever operates the service is told."""


@dataclass(frozen=True)
class Proposal:
    """What a renewal would do, or has done.

    Attributes:
        period: the next one.
        charged: whether it was charged before, so that nothing is to be done.
        text: what is charged and promised, in words.
    """

    period: Period
    charged: bool
    text: str


@dataclass(frozen=True)
class Renewal:
    """Renews a service; use `Service.renewal`.

    Attributes:
        check: refuses a store and a ledger that do not belong together.
    """

    account: Account
    access: StoreAccess
    settings: Settings
    check: Callable[[Ledger], None]

    def propose(self, first: date | None = None) -> Proposal:
        """What `renew` would charge; nothing is changed.

        Raises:
            Refused: as `renew`, but for the confirmation.
        """
        with self.account.open() as ledger, ledger.transaction():
            return self._proposal(ledger, first)

    def renew(self, first: date | None = None, *, confirmed: bool) -> Proposal:
        """Charge the next period, durable before this returns. One that was charged before costs nothing.

        Args:
            first: its first day. Needed before the horizon is over; and whoever may repeat the call names it, so that
                the same period is meant.

        Raises:
            Refused: the horizon is not over, has no end, the day is another one, the settings are those of other
                series, or it was not confirmed.
            BudgetExhausted: nothing was charged.
            LedgerError: the budget does not exist, or its time has not come; nothing was charged.
        """
        with self.account.open() as ledger:
            with ledger.transaction():
                proposal = self._proposal(ledger, first)
                if not (proposal.charged or confirmed):
                    raise Refused("unconfirmed-renewal", f"{proposal.text} {CONFIRM}")
                if not proposal.charged:
                    self.account.charge(ledger, proposal.period)
            charges = len(self.account.own_charges(ledger))
        self.access.submit(lambda store: store.note_charged(charges)).result()
        return proposal

    def _proposal(self, ledger: Ledger, first: date | None) -> Proposal:
        periods = self.account.periods(ledger)
        if not periods:
            raise Refused(
                "not-over",
                "no day is closed yet, so there is nothing to renew: the first close begins the first period",
            )
        self.check(ledger)
        open_day = calendar_day(self.access.progress().open_day)
        if (made := charged_before(periods, open_day, first)) is not None:
            return Proposal(made, True, f"The period {made.days} is charged already; nothing is to be done.")
        last = periods[-1]
        period = self.account.period_by_settings(len(periods) + 1, next_first(last, open_day, first))
        check_same_series(periods, period)
        self.account.plans(period)
        left = ledger.budget(period.budget).remaining
        return Proposal(
            period,
            False,
            f"The next period begins on {period.first}, with {span_of(period)}: {charge_of(period)}, of which "
            f"ε {left.epsilon:g} and δ {left.delta:g} are left. {promise_of_periods([*periods, period])}",
        )


def charged_before(periods: Sequence[Period], open_day: date | None, first: date | None) -> Period | None:
    """The period that a renewal means, if it has been charged.

    Args:
        first: its first day, if that was named. If not, it is one of which no day is closed.
    """
    if first is not None:
        return next((period for period in periods if period.first == first), None)
    return periods[-1] if len(periods) > 1 and open_day == periods[-1].first else None


def next_first(last: Period, open_day: date | None, first: date | None) -> date:
    """The first day of the period after the last one that is charged.

    Raises:
        Refused: there is none, the last one is not over, or the day that was named is another one.
    """
    if (following := last.following) is None:
        raise Refused("not-over", f"the promise covers {last.days}: it has no end, and nothing is to be renewed")
    if first not in (None, following):
        raise Refused("not-next", f"a period cannot begin on {first}: the next one begins on {following}")
    if open_day is None or open_day < last.first:
        raise Refused("not-over", f"the period {last.days} is charged and has not begun; nothing is to be renewed yet")
    if first is None and not last.is_over(open_day):
        left = (following - open_day).days
        raise Refused(
            "not-over",
            f"{left} of {last.horizon} days of the period {last.days} can still be closed. To charge the next one "
            f"before, name its first day: dpdau renew --from {following}, or POST /renewal?from={following}",
        )
    return following


def horizon_advice(settings: Settings) -> list[str]:
    """One sentence where the series could do without a horizon: user-days, by mechanisms whose noise does not grow.

    What it costs them is below 1 % of the noise (tests/workbench/service/test_renewal.py).
    """
    requests = settings.requests(EPOCH).values()
    if settings.horizon is None or any(request.unit == "user" for request in requests):
        return []
    try:
        for request in msgspec.structs.replace(settings, horizon=None).requests(EPOCH).values():
            plan_release(request)
    except ValueError:
        return []
    return [ENDLESS_IS_FREE]


ENDLESS_IS_FREE = (
    'horizon = "unlimited" would cost these series next to nothing, and nothing would have to be renewed; it can be '
    "chosen until the first close, and at a renewal"
)
CONFIRM = "Nothing was charged. If that is meant, confirm it: dpdau renew --yes, or confirm=true over HTTP"
