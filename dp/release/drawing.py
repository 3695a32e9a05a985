"""Drawing: a mechanism's noise on its counts, secure in a release and seeded in a rehearsal; and rows of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dp.arrays import Integers
from dp.counts import Counts
from dp.ledger import Budget
from dp.mechanisms import EMPTY_STATE, Mechanism, State
from dp.mechanisms.protocol import NoiseSource, Released
from dp.mechanisms.together import run_together
from dp.noise import Noise
from dp.questions import SeriesName
from dp.release.own_counts import own_counts
from dp.release.plan import Plan, Series
from dp.release.request import Request, charged, spell_exceptions
from dp.release.sample import finite, for_all_users, noise_level

ROWS_AT_ONCE = 2**17
"""Rows that are drawn together: few enough for the processor's cache, enough for OpenDP in several threads."""


def simulate_rows(plan: Plan, counts: Mapping[str, Counts], seed: int) -> list[dict[str, Any]]:
    """One simulated release as rows; every row says `secure: false` and nothing is charged.

    Args:
        counts: see `publish`.
    """
    return list(each_simulated(plan, counts, seed))


def each_simulated(plan: Plan, counts: Mapping[str, Counts], seed: int) -> Iterator[dict[str, Any]]:
    """The rows of `simulate_rows`, of which few are in memory at a time; counts are checked before the first one."""
    return _rows_of_draws(plan, own_counts(plan, counts), seed)


def _rows_of_draws(plan: Plan, counts: Mapping[str, Integers], seed: int) -> Iterator[dict[str, Any]]:
    starts = dict.fromkeys(counts, 0)
    for block in blocks(plan.series, starts, {metric: len(own) for metric, own in counts.items()}):
        fresh = np.stack([counts[series.metric] for series in block.series])
        days = block.days(plan)
        drawn = draw(block.mechanism, [EMPTY_STATE] * len(fresh), fresh, source_of_block(block, seed), plan.request)
        for series, (_, released) in zip(block.series, drawn, strict=True):
            parts = row_parts(plan, series, days, released, remaining=None)
            yield from (parts.row(*tick) for tick in parts.ticks)


def seeded_source(generator: np.random.Generator) -> NoiseSource:
    """Reproducible draws; never for a release."""
    return seeded_sources([generator])


def seeded_sources(generators: Sequence[np.random.Generator]) -> NoiseSource:
    """Reproducible draws for several series, each of its own generator; never for a release."""

    def source(noise: Noise, size: int) -> Integers:
        each = size // len(generators)
        return np.concatenate([noise.seeded(generator, (each,)) for generator in generators]).astype(np.int64)

    return source


def secure_source(noise: Noise, size: int) -> Integers:
    """OpenDP's draws, with entropy of the operating system."""
    return noise.secure(size)


class Block(NamedTuple):
    """Series of one question that go on from the same tick and are drawn together.

    Attributes:
        series: one or more.
        start: the first tick that is drawn.
        stop: the tick after the last.
    """

    series: Sequence[Series]
    start: int
    stop: int

    @property
    def mechanism(self) -> Mechanism:
        """That of every one of them."""
        return self.series[0].mechanism

    def days(self, plan: Plan) -> list[str]:
        """The days of its ticks, in ISO's form."""
        days = self.series[0].question.cell.days_from(plan.request.first)
        return [day.isoformat() for day in itertools.islice(days, self.start, self.stop)]


def blocks(series: Iterable[Series], starts: Mapping[str, int], stops: Mapping[str, int]) -> Iterator[Block]:
    """All series that have ticks to draw, in their order, in blocks of at most ROWS_AT_ONCE rows, or one series.

    Rows of before count too, because a stream remembers them.

    Args:
        starts: metric → its next tick.
        stops: metric → the tick after its last.
    """
    for (_, start, stop), group in itertools.groupby(
        series, lambda one: (one.question.name, starts[one.metric], stops[one.metric])
    ):
        if start < stop:
            going_on, size = list(group), max(ROWS_AT_ONCE // stop, 1)
            for place in range(0, len(going_on), size):
                yield Block(going_on[place : place + size], start, stop)


def draw(
    mechanism: Mechanism, states: Sequence[State], counts: Integers, source: NoiseSource, request: Request
) -> Iterator[tuple[State, Released]]:
    """The state of each series after the ticks of `counts`, and what they publish of all users.

    Args:
        counts: a row for each series; see `run_together`.
    """
    level, sample = request.ci_level, request.sample
    if sample is None:
        yield from run_together(mechanism, states, counts, source, level)
        return
    of_noise = noise_level(level, mechanism.data_dependent)
    for state, released in run_together(mechanism, states, counts, source, of_noise):
        yield state, for_all_users(released, sample.rate, level, mechanism.data_dependent)


def source_of_block(block: Block, seed: int) -> NoiseSource:
    """The draws of a simulation for the series of a block."""
    # Every series has its own generator, so that asking for another metric leaves the others' noise as it was.
    return seeded_sources([np.random.default_rng([seed, *series.metric.encode()]) for series in block.series])


class RowParts(NamedTuple):
    """The rows of a series as they are published, one a tick: what all of them share is said once.

    Attributes:
        before: the columns that come first, the same in every row.
        ticks: of each tick the columns in between, and those that only some mechanisms have. These come last, or
            replace others.
        after: the columns that follow, the same in every row.
    """

    before: Mapping[str, Any]
    ticks: Iterable[tuple[dict[str, Any], dict[str, Any]]]
    after: Mapping[str, Any]

    def row(self, ticked: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """The row of one of the ticks."""
        return {**self.before, **ticked, **self.after, **own}

    def texts(self) -> Iterator[str]:
        """The rows in JSON."""
        # What all of them share is written once: that is most of a row.
        before, after = json.dumps(self.before)[:-1], json.dumps(self.after)[1:]
        for ticked, own in self.ticks:
            yield json.dumps(self.row(ticked, own)) if own else f"{before}, {json.dumps(ticked)[1:-1]}, {after}"


def row_parts(
    plan: Plan, series: Series, days: Sequence[str], released: Released, *, remaining: Budget | None
) -> RowParts:
    """What a series publishes on these days; `remaining` is None in a rehearsal."""
    request = plan.request
    whole = charged(request)
    numbers = [values.tolist() if np.isfinite(values).all() else map(finite, values) for values in released.arrays]
    columns = released.columns
    return RowParts(
        names_of(plan, series),
        (
            (
                {
                    "day": day,
                    "estimate": estimate,
                    "ci_low": low,
                    "ci_high": high,
                    "ci_level": request.ci_level,
                    "std": deviation,
                },
                dict(zip(columns, own, strict=True)),
            )
            for day, estimate, low, high, deviation, *own in zip(days, *numbers, *columns.values(), strict=True)
        ),
        {
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
        },
    )


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
