"""The row of a point: the ε that an accountant reports for a number of releases."""

from __future__ import annotations

from typing import Any

from dp.accounting.accountants import ACCOUNTANTS
from dp.accounting.mechanism_events import merge
from experiments.engine.tasks import PointTask
from experiments.kinds.accountants.config import AccountantConfig, AccountantPoint
from experiments.kinds.accountants.events import part_of


def evaluate_accountant(task: PointTask[AccountantConfig, AccountantPoint]) -> dict[str, Any]:
    """One row: the ε of all releases together at the δ of the config; None where the accountant does not apply.

    `exact` says that no smaller ε holds; `parameter` is the number that describes one release.
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
