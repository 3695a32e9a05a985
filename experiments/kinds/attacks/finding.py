"""What the table of attacks says, in a sentence; ValueError where the table says otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from dp.auditing.attacks import ATTACKS
from experiments.engine.claims import require
from experiments.kinds.attacks.figure import worst_reading


def attacks(table: pd.DataFrame) -> str:
    """Whether the project withstands the attacks, and whether broken twins fall."""
    ours, twins = table[table["ours"]], table[~table["ours"]]
    require(set(table["attack"]) == set(ATTACKS), "all attacks are made")
    require(len(ours) == 10, "there are ten attacks")
    require(ours["held"].all(), "the project withstands all attacks")
    require(not twins["held"].any(), "all broken twins fall")
    worst = ours.apply(worst_reading, axis=1)
    extremes = (worst.min(), worst.max())
    require(extremes == (0, 1), "readings lie between nothing and exactly what the claims allow")
    return (
        "The project withstands all ten attacks, with readings between nothing and exactly what the claims allow; "
        f"all {len(twins)} broken twins fall."
    )


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"attacks": attacks}
