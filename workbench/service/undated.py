"""Which day an operation is about that names none: today, unless the clock that says so was set back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from workbench.service.errors import Refused


class UndatedDay:
    """Today, for operations without a day. It is refused where the clock was set back to a day that is closed.

    Otherwise the activity of one real day would be filed under two days, and the promise is about one. A day may also
    be closed before it is over; what arrives on it afterwards is about that day, and late.

    Args:
        today: the calendar day by the clock.
        last_closed: the last closed day, if there is one.
        future_days: whether days after today may be closed, so that a closed day says nothing about the clock.
    """

    def __init__(self, today: Callable[[], date], last_closed: Callable[[], date | None], future_days: bool) -> None:
        self._today = today
        self._last_closed = last_closed
        self._newest = today()
        # No day is closed before it has begun.
        if not future_days:
            self._newest = max(self._newest, last_closed() or self._newest)

    def __call__(self) -> date:
        """The day.

        Raises:
            Refused: the clock was set back.
        """
        today = self._today()
        if today < self._newest:
            last = self._last_closed()
            if last is not None and today <= last:
                raise Refused(
                    "clock",
                    f"nothing was stored: the clock of the service shows {today}, but it has shown {self._newest}, and "
                    f"{last} is closed. Set the clock, or send the events with their day",
                )
        self._newest = today
        return today
