"""Shares of a budget with which all questions of a release err alike."""

from __future__ import annotations

from collections.abc import Mapping

from dp.release.plan import Plan

STEADY = 2**10
"""Ticks over which the error of a series without an end is looked at."""


def largest_deviations(plan: Plan) -> dict[str, float]:
    """The largest standard deviation of each question's series over the horizon, in users."""
    request = plan.request
    deviations = {}
    for name, series in plan.by_question.items():
        ticks = series.question.cell.number(request.first, request.horizon or STEADY)
        deviations[name] = float(series.mechanism.standard_deviation(ticks).max())
    return deviations


def equal_shares(plan: Plan, sizes: Mapping[str, float] | None = None) -> dict[str, float]:
    """Shares, adding up to 1, with which the largest standard deviation of every question is the same.

    Gaussian noise falls with the root of a share, Laplace noise with the share itself.

    Args:
        plan: of a linear mechanism, with any shares.
        sizes: question → a count that is expected of it; errors are then the same relative to these. They are public
            guesses, and never taken from the log. None: the same number of users.

    Returns:
        Question → share.

    Raises:
        ValueError: sizes are not one positive number for every question.
    """
    deviations = largest_deviations(plan)
    sizes = dict.fromkeys(deviations, 1.0) if sizes is None else sizes
    if set(sizes) != set(deviations) or any(not size > 0 for size in sizes.values()):
        raise ValueError(
            f"sizes are for {', '.join(sizes) or 'nothing'}; one positive count is needed for each of "
            f"{', '.join(deviations)}"
        )
    power = 2 if plan.request.family.noise == "gaussian" else 1
    needed = {
        name: plan.request.shares[name] * (deviation / sizes[name]) ** power for name, deviation in deviations.items()
    }
    whole = sum(needed.values())
    return {name: share / whole for name, share in needed.items()}
