"""Who is protected: the privacy unit and the difference series that one protected change can cause.

A mechanism never sees users. It sees a count series x ∈ ℕ^T, and its guarantee is a statement about which series are
neighbours. `ProtectedClass` is that statement: x and x' are neighbours when x − x' = ±Δ and Δ ∈ {0, 1}^T consists of at
most `runs` runs of ones inside a hull of `hull` ticks (proofs in docs/guarantees.md, section 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dp.names import UNITS

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


def _validate_number(name: str, value: object, unit: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}; it is a whole number of {unit}, at least 1")
