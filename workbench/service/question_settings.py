"""Settings of what is published besides DAU, WAU and MAU: questions by their names, and breakdowns.

A question is called as in a share: mau/flows, week, mau/platform, mau/flows/platform.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dp.names import CALENDAR, DEFAULT_MECHANISM
from dp.questions import Breakdown, Cell, Question, breakdown, kind_of, rolling


class QuestionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one question is answered; all of its series together.

    Attributes:
        epsilon: of the question over the whole horizon.
        delta: of the question over the whole horizon.
        unit: who is protected, "user-day" or "user".
        w_bound: W_BOUND, the most flips of what is protected.
        mechanism: a name in `dp.mechanisms.MECHANISMS` whose error does not depend on the data.
    """

    epsilon: float
    delta: float = 1e-6
    unit: str = "user-day"
    w_bound: int = 2
    mechanism: str = DEFAULT_MECHANISM


class BreakdownSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Into which segments users are divided.

    Attributes:
        kind: "last", "any" or "any:K", as in `dp.questions.Breakdown`.
        values: those that are told apart; or, from every column to them.
    """

    kind: str
    values: tuple[str, ...] | dict[str, tuple[str, ...]]

    def named(self, name: str) -> Breakdown:
        """The breakdown of that name.

        Raises:
            ValueError: it cannot be one.
        """
        kind, most = kind_of(self.kind)
        return breakdown(name, self.values, kind, most=most)


def question_named(name: str, windows: Mapping[str, int], breakdowns: Mapping[str, Breakdown]) -> Question:
    """The question of a name.

    Args:
        windows: metric → trailing days.
        breakdowns: by name.

    Raises:
        ValueError: there is none of that name.
    """
    metric, *rest = name.split("/")
    cell: Cell | None = None
    if metric in CALENDAR:
        cell = Cell("week" if metric == "week" else "month", metric)
    elif metric in windows:
        cell = rolling(metric, windows[metric])
        if rest[:1] == ["flows"]:
            cell, rest = Cell("flows", metric, windows[metric]), rest[1:]
    if cell is None or len(rest) > 1 or (rest and rest[0] not in breakdowns):
        known = f"; breakdowns are {', '.join(breakdowns)}" if breakdowns else ""
        raise ValueError(
            f"there is no question {name!r}: it is a cell ({', '.join([*windows, *CALENDAR])}, or flows such as "
            f"{next(iter(windows))}/flows), then perhaps / and the name of a breakdown{known}"
        )
    if not rest and cell.kind == "rolling":
        raise ValueError(f"the question {name!r} is published anyway: its settings are those of {metric}")
    return Question(cell, breakdowns[rest[0]] if rest else None)
