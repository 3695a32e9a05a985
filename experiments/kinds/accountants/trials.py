"""What an accountant says of a number of releases: one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp.accounting.accountants import ACCOUNTANTS
from dp.accounting.mechanism_events import Part, discrete_laplace, gaussian, merge
from experiments.kinds.accountants.config import AccountantConfig, AccountantPoint


@dataclass(frozen=True)
class AccountantTask:
    """A point with all that its row depends on."""

    point: AccountantPoint
    config: AccountantConfig


def accountant_tasks(config: AccountantConfig, wanted: Sequence[AccountantPoint], folder: Path) -> list[AccountantTask]:
    """A task for each point; the folder is left empty."""
    return [AccountantTask(point, config) for point in wanted]


def evaluate_accountant(task: AccountantTask) -> dict[str, Any]:
    """One row: the ε of all releases together at the δ of the config; None where the accountant does not apply.

    `exact` says that nothing smaller holds; `parameter` is the number that says what one release is.
    """
    point, config = task.point, task.config
    parameter = config.releases[point.release]
    part = part_of(point.release, parameter, point.count)
    answer = ACCOUNTANTS[point.accountant].account(merge([part]), config.delta)
    return {
        "release": point.release,
        "accountant": point.accountant,
        "count": point.count,
        "parameter": parameter,
        "delta": config.delta,
        "epsilon": answer.epsilon,
        "exact": answer.exact,
    }


def part_of(release: str, parameter: float, count: int) -> Part:
    """The releases as accountants know them.

    Raises:
        ValueError: there is no such release, or a number is out of range.
    """
    match release:
        case "gaussian":
            return gaussian(sigma=parameter, count=count)
        case "discrete-laplace":
            return discrete_laplace(epsilon=parameter, count=count)
    raise ValueError(f"release is {release!r}; choose gaussian or discrete-laplace")
