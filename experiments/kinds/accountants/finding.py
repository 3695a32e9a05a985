"""What the table of accountants says, in a sentence; ValueError where the table says otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from experiments.engine.claims import require


def accountants_year(table: pd.DataFrame) -> str:
    """By how much adding up overstates the ε of a year."""
    last = table[table["count"] == 365]
    year = last.pivot(index="release", columns="accountant", values="epsilon")
    least = year.drop(columns="naive").min(axis=1)
    exact = last[last["exact"]].set_index("release")["epsilon"]
    require((exact.reindex(least.index) == least).all(), "the least ε is exact, and so the true one")
    factors = year["naive"] / least
    return (
        f"Adding up the ε of a year's daily releases says {factors['discrete-laplace']:.1f} times what is true of "
        f"discrete Laplace noise and {factors['gaussian']:.0f} times what is true of Gaussian noise."
    )


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"accountants_year": accountants_year}
