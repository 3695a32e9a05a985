"""Drawing: a mechanism's noise on its counts, secure in a release and seeded in a rehearsal; and rows of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from dp.arrays import Integers
from dp.counts import Counts
from dp.ledger import Budget
from dp.mechanisms import EMPTY_STATE, Mechanism, State
from dp.mechanisms.protocol import NoiseSource, Released
from dp.noise import Noise
from dp.questions import SeriesName
from dp.release.own_counts import own_counts
from dp.release.plan import Plan, Series
from dp.release.request import Request, charged, spell_exceptions
from dp.release.sample import finite, for_all_users, noise_level


def simulate_rows(plan: Plan, counts: Mapping[str, Counts], seed: int) -> list[dict[str, Any]]:
    """One simulated release as rows; every row says `secure: false` and nothing is charged.

    Args:
        counts: see `publish`.
    """
    checked = own_counts(plan, counts)
    # Every series has its own generator, so that asking for another metric leaves the others' noise as it was.
    return [
        row
        for series in plan.series
        for row in release_rows(
            plan,
            series,
            0,
            draw(
                series.mechanism,
                EMPTY_STATE,
                checked[series.metric],
                seeded_source(np.random.default_rng([seed, *series.metric.encode()])),
                plan.request,
            )[1],
            remaining=None,
        )
    ]


def seeded_source(generator: np.random.Generator) -> NoiseSource:
    """Reproducible draws; never for a release."""

    def source(noise: Noise, size: int) -> Integers:
        return noise.seeded(generator, (size,)).astype(np.int64)

    return source


def secure_source(noise: Noise, size: int) -> Integers:
    """OpenDP's draws, with entropy of the operating system."""
    return noise.secure(size)


def draw(
    mechanism: Mechanism, state: State, counts: Integers, source: NoiseSource, request: Request
) -> tuple[State, Released]:
    """The state after the ticks of `counts`, and what they publish of all users."""
    level, sample = request.ci_level, request.sample
    if sample is None:
        return mechanism.run(state, counts, source, level)
    state, released = mechanism.run(state, counts, source, noise_level(level, mechanism.data_dependent))
    return state, for_all_users(released, sample.rate, level, mechanism.data_dependent)


def release_rows(
    plan: Plan, series: Series, start: int, released: Released, *, remaining: Budget | None
) -> list[dict[str, Any]]:
    """One row a tick, as published; `remaining` is None in a rehearsal."""
    request = plan.request
    whole = charged(request)
    days = itertools.islice(series.question.cell.days_from(request.first), start, None)
    return [
        {
            **names_of(plan, series),
            "day": day.isoformat(),
            "estimate": float(estimate),
            "ci_low": finite(low),
            "ci_high": finite(high),
            "ci_level": request.ci_level,
            "std": finite(deviation),
            "epsilon": series.guarantee.epsilon,
            "delta": series.guarantee.delta,
            "epsilon_total": whole.epsilon,
            "delta_total": whole.delta,
            "mechanism": request.mechanism_of(series.question.name),
            "sketch": request.sketch,
            "unit": request.unit,
            "w_bound": request.flip_bound,
            "horizon": request.horizon,
            "budget": remaining.name if remaining else None,
            "budget_remaining": remaining.remaining.epsilon if remaining else None,
            "secure": remaining is not None,
            **({"on_time": spell_exceptions(request.on_time)} if request.on_time is not None else {}),
            **dict(zip(released.columns, extra, strict=True)),
        }
        for day, estimate, low, high, deviation, *extra in zip(
            itertools.islice(days, len(released.estimates)), *released.arrays, *released.columns.values(), strict=True
        )
    ]


def names_of(plan: Plan, series: Series) -> dict[str, Any]:
    """Which series a row is of: by metric and window, or, where more is asked than metrics, by question and segment."""
    if plan.request.questions:
        return series.name._asdict()
    return {"metric": series.metric, "window": series.window}


def series_of(row: Mapping[str, Any]) -> str:
    """Which series of its plan a published row is of (`Series.metric`)."""
    if "metric" in row:
        return str(row["metric"])
    return SeriesName(row["question"], row["breakdown"], row["segment"]).key
