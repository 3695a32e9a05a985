"""What the table of questions says, in a sentence; ValueError where the table says otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from experiments.engine.claims import require
from experiments.kinds.questions.config import SHARINGS


def whole_dashboard(table: pd.DataFrame) -> str:
    """What is gained by one release, and what a week costs beside a trailing month."""
    at_one = table[table["epsilon"] == 1.0].pivot(index="question", columns="sharing", values="max_std")
    require(set(SHARINGS) <= set(at_one.columns), "every sharing is there at an ε of 1")
    gain = at_one["apart"] / at_one["even"]
    require(bool((gain > 1).all()), "every question errs less in one release")
    alike = at_one["equal-error"]
    require(alike.max() < 1.001 * alike.min(), "shares for equal errors give equal errors")
    even = at_one["even"]
    return (
        f"In one release the {len(at_one)} questions of a dashboard err {gain.min():.1f} times less than one by one at "
        f"the same ε of 1; MAU in each of any number of segments costs {even['mau/country'] / even['mau']:.2f} times "
        f"the error of MAU in all, and an ISO week {even['week'] / even['mau']:.2f} times."
    )


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"whole_dashboard": whole_dashboard}
