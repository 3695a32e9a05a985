"""Mechanisms side by side, the ε for an accuracy, and what releases cost together: a frame each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dp.accounting.comparison import Statistic, compare_all, epsilon_for_deviation
from dp.accounting.composition import Guarantee
from dp.face.arguments import table_of, windows_of
from dp.mechanisms import MECHANISMS
from dp.names import DEFAULT_W_BOUND, YEAR
from dp.units import ProtectedClass, protected_class

if TYPE_CHECKING:
    import pandas as pd


def compare(
    metric: str = "mau",
    *,
    epsilon: float = 1.0,
    delta: float = 1e-6,
    unit: str = "user-day",
    w_bound: int = DEFAULT_W_BOUND,
    horizon: int | None = YEAR,
    window: int | None = None,
    mechanisms: Sequence[str] = tuple(MECHANISMS),
    bound: bool = False,
    spend_delta: bool = False,
) -> pd.DataFrame:
    """Mechanisms side by side, each calibrated alone: a row each, as `dpdau mechanisms` prints.

    Args:
        horizon: ticks that the guarantee covers, None for no end.
        window: trailing days in place of the metric's.
        bound: whether to search for the lower bound, which takes some seconds.
        spend_delta: whether Laplace noise spends δ, too.

    Raises:
        ValueError: an argument is out of range or unknown.

    Examples:
        >>> import dp
        >>> table = dp.compare("dau", mechanisms=["laplace", "gaussian"])
        >>> table["max_std"].round(2).tolist()
        [1.41, 4.22]
    """
    protected = _protected(metric, window, unit, w_bound, horizon)
    compared = compare_all(mechanisms, protected, Guarantee(epsilon, delta), bound=bound, spend_delta=spend_delta)
    return table_of(map(asdict, compared.rows))


def calibrate(
    metric: str = "mau",
    *,
    target_std: float,
    statistic: Statistic = "max",
    delta: float = 1e-6,
    unit: str = "user-day",
    w_bound: int = DEFAULT_W_BOUND,
    horizon: int | None = YEAR,
    window: int | None = None,
    mechanisms: Sequence[str] = tuple(MECHANISMS),
) -> pd.DataFrame:
    """Accuracy first: the smallest ε with which each mechanism's noise is small enough, as `dpdau calibrate` prints.

    Args:
        target_std: standard deviation of a release, in users.
        statistic: "max" if every release shall meet it, "rms" if their root mean square shall.

    Raises:
        ValueError: an argument is out of range or unknown.

    Examples:
        >>> import dp
        >>> dp.calibrate("dau", target_std=20, mechanisms=["gaussian"])["epsilon"].round(3).tolist()
        [0.189]
    """
    protected = _protected(metric, window, unit, w_bound, horizon)
    return table_of(
        {
            **asdict(epsilon_for_deviation(name, protected, target_std, delta, statistic)),
            "target_std": target_std,
            "statistic": statistic,
        }
        for name in mechanisms
    )


def compose(releases: Sequence[Mapping[str, Any]], *, delta: float) -> pd.DataFrame:
    """What releases cost together: the ε of every accountant at one δ, a row each.

    Args:
        releases: one table for each kind of release, as in the file of `dpdau compose`: `mechanism`, its parameters and
            `count`.
        delta: of all together; 0 where all are pure.

    Raises:
        ValueError: a key or a value does not belong; the message names it.

    Examples:
        >>> import dp
        >>> year = [{"mechanism": "gaussian", "sigma": 20.0, "count": 365}]
        >>> table = dp.compose(year, delta=1e-6).set_index("accountant")
        >>> float(table.loc["gdp", "epsilon"].round(3))
        4.639
    """
    from dp.accounting.accountants import compose as answers_of
    from dp.accounting.spec import event_of

    events = [event_of(f"release {number}", table) for number, table in enumerate(releases, 1)]
    return table_of(
        {"accountant": name, "epsilon": answer.epsilon, "exact": answer.exact, "reason": answer.reason}
        for name, answer in answers_of(events, delta).items()
    )


def _protected(metric: str, window: int | None, unit: str, w_bound: int, horizon: int | None) -> ProtectedClass:
    (days,) = windows_of(metric).values()
    return protected_class(unit, window or days, w_bound, horizon)
