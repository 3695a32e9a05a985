"""Counts for a plan: an engine or a log is asked for what the plan needs, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from dp.counts import Counts, Freeze
from dp.progress import Progress, silent

if TYPE_CHECKING:
    from dp.log import Attributes, Log
    from dp.presence import Engine
    from dp.presence.tombstone_file import Compaction
    from dp.release.plan import Plan
    from dp.sketches.salts import Salts


def engine_counts(
    engine: Engine, windows: Mapping[str, int], first: date, last: date, freeze: Freeze
) -> dict[str, Counts]:
    """The counts of every metric at the ticks `first` .. `last`.

    Args:
        windows: metric → trailing days.
        freeze: see `dp.counts.Freeze`.

    Raises:
        ValueError: see `dp.presence.Horizon`.
    """
    distinct = sorted(set(windows.values()))
    if isinstance(freeze, tuple):
        bounded = engine.bounded_counts(distinct, first, last, freeze)
        return {metric: bounded[window] for metric, window in windows.items()}
    flips = engine.daily_flips(distinct, first, last, freeze)
    return {metric: flips[window].counts for metric, window in windows.items()}


def count_log(
    log: Log,
    plan: Plan,
    last: date,
    *,
    salts: Salts | None = None,
    compaction: Compaction | None = None,
    attributes: Attributes | None = None,
    progress: Progress = silent,
) -> dict[str, Counts]:
    """The counts of a log that a plan needs, from its first tick to `last`, as its sketch counts them.

    Args:
        salts: of the keys, where the plan counts a sample.
        compaction: what is left of the users who left this log; the counts are then those of the whole log from the
            day of the compaction on.
        attributes: of the users, where the plan has a breakdown by them.

    Raises:
        ValueError: the sketch cannot give what the plan needs, a sample has no salts, `last` is before the first tick,
            or the compaction does not know the flips since then (`dp.presence.Tombstones.since`).
    """
    from dp.presence import NumpyEngine
    from dp.presence.tombstone_file import left_behind

    request, freeze = plan.request, plan.freeze
    windows, first = request.windows, request.first
    if compaction is not None and request.sketch != "exact":
        raise ValueError(f"tombstones go with the sketch 'exact': {request.sketch!r} counts from rows alone")
    if request.questions:
        return question_counts(log, plan, last, compaction=compaction, attributes=attributes, progress=progress)
    if request.sketch == "bitmap":
        return _bitmap_counts(log, windows, first, last, freeze)
    if request.sample is None:
        engine = NumpyEngine(log.connection, *left_behind(compaction), progress=progress)
        return engine_counts(engine, windows, first, last, freeze)
    if salts is None:
        raise ValueError("salts are missing: the plan counts a sample, which is chosen by a secret salt")
    from dp.sketches.fixed_rate import FixedRate
    from dp.sketches.sampling import counts_of_sample

    def of_part(part: Log) -> dict[str, Counts]:
        return engine_counts(NumpyEngine(part.connection, progress=progress), windows, first, last, freeze)

    return counts_of_sample(log, FixedRate(request.sample.rate), salts, first, last, of_part)


def question_counts(
    log: Log,
    plan: Plan,
    last: date,
    *,
    compaction: Compaction | None = None,
    attributes: Attributes | None = None,
    progress: Progress = silent,
) -> dict[str, Counts]:
    """The counts of every series of a plan, metrics and questions, in one pass over a log.

    Args:
        compaction: refused, because it does not say in which segments erased users had been.
        attributes: as of `count_log`.

    Raises:
        ValueError: the log or the attributes lack a column, or there is a compaction.
    """
    from dp.presence.questions import count_questions

    request, freeze = plan.request, plan.freeze
    assert not isinstance(freeze, tuple)  # only mechanisms that answer no questions choose among bounds
    found = count_questions(
        log,
        request.asked,
        request.first,
        last,
        w_bound=freeze,
        attributes=attributes,
        tombstones=compaction and compaction.tombstones,
        progress=progress,
    )
    rows = (row for question in request.asked for row in found[question.name])
    return {
        series.metric: Counts(row, series.window, request.first, freeze, part=series.part)
        for series, row in zip(plan.series, rows, strict=True)
    }


def _bitmap_counts(log: Log, windows: Mapping[str, int], first: date, last: date, freeze: Freeze) -> dict[str, Counts]:
    from dp.sketches.bitmap import Bitmap
    from dp.sketches.windows import following

    if isinstance(freeze, tuple):
        raise ValueError("sketch is 'bitmap', which follows one W_BOUND; adaptive-flippancy needs several: use exact")
    return {
        metric: Counts(
            np.array(
                [int(one.estimate()) for one in following(log, Bitmap(), None, window, first, last, freeze)],
                dtype=np.int64,
            ),
            window,
            first,
            freeze,
        )
        for metric, window in windows.items()
    }
