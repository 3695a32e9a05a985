"""How far the days of a store have come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dp.presence.daily import EPOCH
from workbench.service.errors import NotNext
from workbench.service.packing import NEVER


@dataclass(frozen=True)
class ClosedDays:
    """How far the days have come: the first and the last closed tick, both None before the first.

    Attributes:
        sealed: the tick that is being counted; what arrives now counts from the next one.
    """

    first: int | None
    last: int | None
    sealed: int | None = None

    @property
    def open_day(self) -> int | None:
        """The tick that is closed next; None where that is still to be chosen."""
        return self.open_from(None)

    def open_from(self, earliest: int | None) -> int | None:
        """The tick that is closed next; `earliest` if no tick is closed yet."""
        return earliest if self.last is None else self.last + 1

    def counts_from(self, earliest: int | None) -> int:
        """The tick from which what arrives now counts at the earliest; NEVER before the first is known."""
        if self.sealed is not None:
            return self.sealed + 1
        open_day = self.open_from(earliest)
        return NEVER if open_day is None else open_day

    def require_next(self, day: int) -> None:
        """Refuse a day that is not the one to be closed next.

        Raises:
            NotNext: another day is.
        """
        wanted = self.open_day if self.sealed is None else self.sealed
        if wanted is not None and day != wanted:
            raise NotNext(f"day {EPOCH + timedelta(days=day)} is not next: {EPOCH + timedelta(days=wanted)} is")

    @property
    def days(self) -> int:
        """How many days are closed."""
        return 0 if self.first is None or self.last is None else self.last - self.first + 1
