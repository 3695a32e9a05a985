"""Who is protected: the privacy unit and the difference series that one protected change can cause.

A mechanism never sees users. It sees a count series x ∈ ℕ^T, and its guarantee is a statement about which series are
neighbours. `ProtectedClass` is that statement: x and x' are neighbours when x − x' = ±Δ and Δ ∈ {0, 1}^T consists of at
most `runs` runs of ones inside a hull of `hull` ticks (proofs in docs/guarantees.md, section 1).

A question with several series, such as a count in every country or the users who are new, returning and gone, has a
class of differences over all of them: `PresenceChange` or `FlowChange` (docs/guarantees.md, section 18).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dp.names import UNITS
from dp.questions import Breakdown, Question

PrivacyUnit = Literal["user-day", "user"]
"""One of `dp.names.UNITS`."""


@dataclass(frozen=True)
class ProtectedClass:
    """All Δ ∈ {0, 1}^T that one protected change can cause in a count series.

    Attributes:
        runs: most runs of ones in Δ (m in the notation table).
        hull: most ticks from the first one of Δ to its last, inclusive (H).
        horizon: number of ticks T, or None for a series without an end.
        open_ended: the last of `runs` runs, where all are used, lasts to the horizon (a user frozen while present,
            which an odd W_BOUND does).
    """

    runs: int
    hull: int
    horizon: int | None
    open_ended: bool = False

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise ValueError(f"runs is {self.runs}; a protected change has at least 1 run")
        if self.hull < 1:
            raise ValueError(f"hull is {self.hull}; it is a number of ticks, at least 1")
        if self.horizon is not None and self.hull > self.horizon:
            raise ValueError(f"hull is {self.hull} ticks but the horizon has only {self.horizon}")
        if self.horizon is None and self.open_ended:
            raise ValueError("open_ended needs a horizon: a run cannot last to the end of an endless series")


def protected_class(unit: str, window: int, w_bound: int, horizon: int | None) -> ProtectedClass:
    """The class of difference series for a privacy unit, a window and a flip bound.

    Args:
        unit: "user-day" (one activity with its later retraction) or "user" (everything a user ever does).
        window: W, in ticks; a user counts at tick t when active on a day in (t − W, t].
        w_bound: W_BOUND, the most flips (starts and ends of presence runs) that the protected change causes.
        horizon: number of ticks T, or None for no end; the unit "user" needs an end.

    Returns:
        ⌈w_bound/2⌉ runs in a hull of `window` ticks (user-day) or of `horizon` ticks (user).

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    _validate_number("window", window, "days")
    _validate_number("w_bound", w_bound, "flips")
    if horizon is not None:
        _validate_number("horizon", horizon, "ticks")
    runs = (w_bound + 1) // 2
    match unit:
        case "user-day":
            hull = window if horizon is None else min(window, horizon)
            return ProtectedClass(min(runs, (hull + 1) // 2), hull, horizon)
        case "user":
            if horizon is None:
                raise ValueError("unit 'user' needs a horizon: without one, no bound on a user's ticks exists")
            most_runs = (horizon + 1) // 2
            return ProtectedClass(min(runs, most_runs), horizon, horizon, w_bound % 2 == 1 and runs <= most_runs)
    raise ValueError(f"unit is {unit!r}; choose one of {', '.join(UNITS)}")


@dataclass(frozen=True)
class PresenceChange:
    """All differences that one protected change can cause in the series of a question about who is present.

    Attributes:
        series: what each series that differs may show; the others do not differ.
        runs: most runs in all of them together.
        mixed: a series may gain in some runs and lose in others; each of the two is then in its class.
    """

    series: tuple[ProtectedClass, ...]
    runs: int
    mixed: bool = False


@dataclass(frozen=True)
class FlowChange:
    """All differences that one protected change can cause in the series of a question about flows.

    Attributes:
        entries: most numbers that differ, each by one, in all series and at all ticks together.
    """

    entries: int


def question_class(question: Question, unit: str, w_bound: int, horizon: int | None) -> PresenceChange | FlowChange:
    """The class of differences over all series of a question; proofs in docs/guarantees.md, section 18.

    Args:
        unit: "user-day" or "user".
        w_bound: W_BOUND; without effect on calendar cells with the unit user-day, which are published once.
        horizon: number of ticks of the question's series (of weeks, if it asks for weeks); None for no end.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    cell, breakdown = question.cell, question.breakdown
    by_activity = breakdown is not None and breakdown.kind != "fixed"
    if by_activity and unit == "user" and w_bound < 2:
        raise ValueError(
            f"w_bound is {w_bound}: a run in a segment of {question.name} counts if the bound covers its start and its "
            "end, which takes at least 2"
        )
    if cell.kind == "flows":
        return FlowChange(_flow_entries(breakdown, unit, w_bound))
    whole = protected_class(unit, cell.window or 1, w_bound, horizon)
    if breakdown is None or not by_activity:
        return PresenceChange((whole,), whole.runs)
    if unit == "user":
        # In several segments there may be more of them than one series has room for.
        runs = w_bound // 2
        return PresenceChange((ProtectedClass(min(runs, whole.runs), whole.hull, horizon),) * runs, runs)
    if breakdown.kind == "any":
        return PresenceChange((whole,) * breakdown.most, breakdown.most * whole.runs)
    return _last_segment_class(whole, w_bound, cell.window)


def _last_segment_class(whole: ProtectedClass, w_bound: int, window: int | None) -> PresenceChange:
    """A day that decides the segment takes its ticks from the segment of an earlier day."""
    runs = (w_bound + 1) // 2 * 2
    if window is None:
        return PresenceChange((whole, whole), 2)
    if window == 1:
        # One day alone decides what is seen of it.
        return PresenceChange((whole,), 1)
    if runs == 2:
        # The earlier day leaves the window a tick earlier at least.
        return PresenceChange((whole, ProtectedClass(1, min(whole.hull, window - 1), whole.horizon)), 2)
    wide = ProtectedClass(min(runs, (whole.hull + 1) // 2), whole.hull, whole.horizon)
    return PresenceChange((wide,) * runs, runs, mixed=True)


def _flow_entries(breakdown: Breakdown | None, unit: str, w_bound: int) -> int:
    """A run makes two entries differ; which start is a user's first may differ, too, and that is two more."""
    _validate_number("w_bound", w_bound, "flips")
    runs = (w_bound + 1) // 2
    match unit:
        case "user":
            return w_bound
        case "user-day" if breakdown is None or breakdown.kind == "fixed":
            return 2 * runs + 2
        case "user-day" if breakdown is not None and breakdown.kind == "any":
            return breakdown.most * (2 * runs + 2)
        case "user-day":
            return 8 * runs
    raise ValueError(f"unit is {unit!r}; choose one of {', '.join(UNITS)}")


def _validate_number(name: str, value: object, unit: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}; it is a whole number of {unit}, at least 1")
