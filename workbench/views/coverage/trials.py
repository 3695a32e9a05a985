"""Trials of intervals: releases of one series, tallied by what their intervals hold, so that more can come in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from dp.accounting.calibrate import calibrate_designs
from dp.accounting.composition import Guarantee
from dp.arrays import Floats, Integers
from dp.intervals.binomial import at_least, at_most, clopper_pearson
from dp.mechanisms import Mechanism, Trials, design, family_of
from dp.names import METRICS
from dp.units import protected_class
from workbench.rows import TableRow
from workbench.views.counting import BoundedCounts
from workbench.views.coverage.research import LEVELS, CoverageQuestion

SEED = 20260102
BAR_LEVEL = 0.95
"""Confidence level of the Clopper–Pearson bars."""


@dataclass
class HeldTally:
    """How often intervals of one level held a count.

    Attributes:
        by_day: trials in which the day's interval held it, shape (T,).
        one_day: trials in which that of one day, drawn at random, did.
        band: trials in which all intervals of the band did.
    """

    by_day: Integers
    one_day: int = 0
    band: int = 0


@dataclass
class LevelTally:
    """What the intervals of one level held.

    Attributes:
        counted: the count that noise was added to.
        true: the true one.
        finite: trials in which a day had an interval, shape (T,).
        one_day: trials in which one day, drawn at random, had one.
        width: of all intervals together, in users.
    """

    counted: HeldTally
    true: HeldTally
    finite: Integers
    one_day: int = 0
    width: float = 0.0


class IntervalTrials:
    """The trials of one mechanism, as many as have been drawn.

    Args:
        name: of the mechanism.
        bounded: counts under the question's bound, if it has one, and true ones.

    Raises:
        ValueError: the mechanism cannot serve the question, or has no intervals for one count.
    """

    def __init__(self, question: CoverageQuestion, name: str, bounded: BoundedCounts) -> None:
        self.truth = np.array(bounded[None])
        freezes = question.unit == "user" and family_of(name).needs_w_bound
        self.counted = np.array(bounded[question.w_bound if freezes else None])
        self.mechanism = _calibrated(question, name, len(self.truth))
        self.drawn = 0
        ticks = len(self.truth)

        def nothing() -> HeldTally:
            return HeldTally(np.zeros(ticks, np.int64))

        self.levels = {level: LevelTally(nothing(), nothing(), np.zeros(ticks, np.int64)) for level in LEVELS}

    def draw(self, trials: int, batch: int) -> None:
        """Draw more trials; those of one batch are the same every time."""
        seed = hashlib.sha256(f"{SEED} {self.mechanism.name} {batch}".encode()).digest()[:16]
        generator = np.random.default_rng(int.from_bytes(seed))
        run = self.mechanism.trials(self.counted, trials, generator, BAR_LEVEL)
        days = np.arange(trials), generator.integers(len(self.truth), size=trials)
        self.drawn += trials
        for level, tally in self.levels.items():
            self._tally(tally, run, level, days)

    def _tally(self, tally: LevelTally, run: Trials, level: float, days: tuple[Integers, Integers]) -> None:
        half = np.broadcast_to(run.reach(level), run.errors.shape)
        wide = np.broadcast_to(run.reach(1 - (1 - level) / len(self.truth)), run.errors.shape)
        finite = np.isfinite(half)
        tally.finite += finite.sum(axis=0)
        tally.one_day += int(finite[days].sum())
        tally.width += float(2 * half[finite].sum())
        for held, errors in (
            (tally.counted, run.errors), (tally.true, run.errors + (self.counted - self.truth)),
        ):  # fmt: skip
            inside = (np.abs(errors) <= half) & finite
            held.by_day += inside.sum(axis=0)
            held.one_day += int(inside[days].sum())
            held.band += int((np.abs(errors) <= wide).all(axis=1).sum())


def _calibrated(question: CoverageQuestion, name: str, horizon: int) -> Mechanism:
    protected = protected_class(question.unit, METRICS[question.metric], question.w_bound, horizon)
    guarantee = Guarantee(question.epsilon, question.delta)
    mechanism = calibrate_designs([design(name, protected)], guarantee, [1.0])[0]
    if mechanism.bounds is not None:
        raise ValueError(f"mechanism is {name!r}, whose intervals are for a W_BOUND that it chooses; choose another")
    return mechanism


def coverage_rows(question: CoverageQuestion, trials: IntervalTrials) -> list[TableRow]:
    """A row for each level; see `research.answer_coverage` for the columns."""
    return [_level_row(question, trials, level, tally) for level, tally in trials.levels.items()]


def _level_row(question: CoverageQuestion, trials: IntervalTrials, level: float, tally: LevelTally) -> TableRow:
    days, bias = int(tally.finite.sum()), trials.counted - trials.truth
    name = trials.mechanism.name
    return {
        "mechanism": name,
        "metric": question.metric,
        "epsilon": question.epsilon,
        "delta": 0.0 if family_of(name).delta == "none" else question.delta,
        "unit": question.unit,
        "w_bound": question.w_bound,
        "window": METRICS[question.metric],
        "horizon": len(trials.truth),
        "level": level,
        "trials": trials.drawn,
        "users": float(trials.truth.mean()),
        "width": tally.width / days if days else None,
        "no_interval": 1 - days / (trials.drawn * len(trials.truth)),
        **_held_columns("", tally.counted, days, tally.one_day, trials.drawn),
        **_held_columns("true_", tally.true, days, tally.one_day, trials.drawn),
        "bias_rms": float(np.sqrt(np.square(bias).mean())),
    }


def _held_columns(prefix: str, held: HeldTally, days: int, one_day: int, trials: int) -> TableRow:
    columns = {"pointwise": int(held.by_day.sum()) / days if days else None}
    for name, hits, tries in (("one_day", held.one_day, one_day), ("band", held.band, trials)):
        low, high = clopper_pearson(hits, tries, BAR_LEVEL) if tries else (0.0, 1.0)
        columns |= {name: hits / tries if tries else None, f"{name}_low": low, f"{name}_high": high}
    return {f"{prefix}{name}": value for name, value in columns.items()}


def day_rows(question: CoverageQuestion, trials: IntervalTrials) -> list[TableRow]:
    """A row for each day, counted from 1, at the level of the question; days without any interval are left out."""
    tally = trials.levels[question.level]
    shown = np.flatnonzero(tally.finite)
    tries, miss = tally.finite[shown], (1 - BAR_LEVEL) / 2
    columns: dict[str, Integers | Floats] = {"day": shown + 1}
    for prefix, held in (("", tally.counted), ("true_", tally.true)):
        hits = held.by_day[shown]
        columns |= {
            f"{prefix}held": hits / tries,
            f"{prefix}held_low": at_least(hits, tries, miss),
            f"{prefix}held_high": at_most(hits, tries, miss),
        }
    columns |= {"frozen": (trials.truth - trials.counted)[shown]}
    return [
        {"mechanism": trials.mechanism.name, **dict(zip(columns, values, strict=True))}
        for values in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]
