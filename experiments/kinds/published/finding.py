"""What the table of published norms says, in a sentence; ValueError where the table says otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from experiments.engine.claims import require
from experiments.kinds.published.config import FACTORISATIONS, LONGEST_DENSE

CLOSE = 1 + 1e-9
"""Two numbers that should be ordered may be the same but for rounding."""


def published_norms(table: pd.DataFrame) -> str:
    """Whether the norms are the published ones, and what the best matrices exceed ln(T)/π by."""
    known = table.dropna(subset=["reference_rms"])
    require(set(known["subject"]) == set(FACTORISATIONS), "every factorisation has a reference")
    for column in ("rms", "largest"):
        both = known.dropna(subset=[f"reference_{column}"])
        apart = (both[column] / both[f"reference_{column}"] - 1).abs().max()
        require(apart < 5e-6, "the norms are the reference norms to five digits")
    year = table[table["horizon"] == 365].set_index("subject")
    above = {name: year[name] - math.log(365) / math.pi for name in ("rms", "largest")}
    proved = above["rms"]["henzinger-kalinin-upadhyay-2025-above"]
    require(proved < above["rms"]["dense"] < proved + 0.01, "the best matrix lies just above the range that is proved")
    largest = year["largest"]
    ordered = largest["dense"] < largest["mathias-1993"] < largest["square-root"]
    require(ordered, "the best matrix keeps to the bound of Mathias 1993, and the square root does not")
    _require_order(table)
    return (
        "At T = 365 both trees, the square root, the best Toeplitz matrix and the best matrix have the reference norms "
        f"to five digits; the best matrix exceeds ln(T)/π by {above['rms']['dense']:.2f} in the root mean square, just "
        "above the range that was proved for long horizons in 2025, and by less than the 1 of Mathias 1993 in the "
        f"largest error, which the square root with its {above['largest']['square-root']:.2f} does not."
    )


def _require_order(table: pd.DataFrame) -> None:
    """Raise ValueError unless bounds and factorisations are in their order at every horizon."""
    wide = table.pivot(index="horizon", columns="subject", values="rms")
    for less, more in (("lower-bound", "dense"), ("dense", "toeplitz")):
        require((wide[less] <= wide[more] * CLOSE).loc[:LONGEST_DENSE].all(), f"{less} is at most {more}")
    require((wide["toeplitz"] <= wide["square-root"] * CLOSE).all(), "toeplitz is at most square-root")
    largest = table.pivot(index="horizon", columns="subject", values="largest")
    bound = "matousek-nikolov-talwar-2020"
    for subject in ("dense", "toeplitz", "square-root", "binary-tree"):
        both = largest[[bound, subject]].dropna()
        require((both[bound] <= both[subject]).all(), f"{subject} does not fall below {bound}")


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"published_norms": published_norms}
