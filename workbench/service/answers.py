"""What is published of questions besides the metrics: flows, calendar cells and segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice

from dp.ledger import Ledger
from dp.questions import Question
from workbench.service.account import Account
from workbench.service.errors import Refused
from workbench.service.periods import Period, period_of
from workbench.service.settings import SERIES, Settings


@dataclass(frozen=True)
class PublishedAnswers:
    """Published rows of questions; use `Service.answers`."""

    account: Account
    settings: Settings

    @property
    def questions(self) -> dict[str, Question]:
        """The questions that are or were asked, by name: of several meanings of a name the last."""
        charged = {
            name: question
            for period in self.account.all_periods()
            for name, request in period.requests.items()
            for question in request.questions
        }
        return {**charged, **self.settings.asked}

    def on(self, name: str, day: date) -> list[str]:
        """The rows of all series of a question on a day, byte for byte as they were published.

        Raises:
            Refused: there is no such question, or it is not published on that day, or not yet.
        """
        self._check(name)
        with self.account.opened() as ledger:
            periods = self.account.periods(ledger) if ledger else []
            if ledger is None or not periods:
                raise Refused("open-day", f"no day is closed yet, so there is no {name} of {day}: close it first")
            return self._on(ledger, _period_of(periods, name, day), name, day)

    def all_on(self, day: date) -> list[str]:
        """The rows of all questions that are published on a closed day."""
        with self.account.open() as ledger:
            period = period_of(self.account.periods(ledger), day)
            asked = () if period is None else period.asked
            names = [one.question.name for one in asked if one.question.cell.days(day, day)]
            return [row for name in names if period for row in self._on(ledger, period, name, day)]

    def _on(self, ledger: Ledger, period: Period, name: str, day: date) -> list[str]:
        (question,) = period.requests[name].questions
        tick = question.cell.place(period.first, day)
        rows = ledger.releases_at(self.account.stream(name, period.number), tick)
        if not rows:
            raise Refused("open-day", f"{day} is not closed yet, so there is no {name} of it")
        return [rows[series.key] for series in question.series]

    def rows(self, name: str) -> list[str]:
        """All rows of a question, oldest day first, those of a day in the order of its series.

        Raises:
            Refused: there is no such question.
        """
        self._check(name)
        found = (rows for _, series in self.account.answered(name) for rows in zip(*series.values(), strict=True))
        return [row for rows in found for row in rows]

    def latest(self) -> list[str]:
        """The rows of the last day on which each question is published."""
        with self.account.opened() as ledger:
            if ledger is None:
                return []
            periods = self.account.periods(ledger)
            known = dict.fromkeys(name for period in periods for name in period.requests if name not in SERIES)
            days = {name: self._last_day(ledger, periods, name) for name in known}
            return [
                row for name, day in days.items() if day
                for row in self._on(ledger, _period_of(periods, name, day), name, day)
            ]  # fmt: skip

    def last_day(self, name: str) -> date:
        """The last day on which a question is published.

        Raises:
            Refused: there is no such question, or no row of it yet.
        """
        self._check(name)
        with self.account.opened() as ledger:
            if ledger and (day := self._last_day(ledger, self.account.periods(ledger), name)):
                return day
        raise Refused("open-day", f"no row of {name} is published yet: its first day has to be closed")

    def _last_day(self, ledger: Ledger, periods: Sequence[Period], name: str) -> date | None:
        for period in reversed(periods):
            for question in period.requests[name].questions if name in period.requests else ():
                published = ledger.count_releases(self.account.stream(name, period.number), question.series[0].key)
                if published:
                    return next(islice(question.cell.days_from(period.first), published - 1, None))
        return None

    def _check(self, name: str) -> None:
        if name not in self.settings.questions and name not in (known := self.questions):
            choice = ", ".join([*self.settings.series, *known])
            raise Refused("unknown-metric", f"there is no such metric or question; choose {choice}")


def _period_of(periods: Sequence[Period], name: str, day: date) -> Period:
    """The period in which a question is published on a day."""
    period = period_of(periods, day)
    if period is None or name not in period.requests:
        raise Refused("unknown-day", f"{name} is not asked on {day}: it is no day of a period that asks it")
    (question,) = period.requests[name].questions
    if not question.cell.days(day, day):
        last = question.cell.last_day(day)
        raise Refused("unknown-day", f"{name} is published on the last day of a {question.cell.kind}: {last}")
    return period
