"""The log of a sample: what the sketch fixed-rate keeps of a log, for any question about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa

from dp.counts import Counts, Sample
from dp.log import Log, log_of
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.keys import keys_of
from dp.sketches.salts import Salts


def sampled(log: Log, design: FixedRate, salt: bytes) -> Log:
    """All operations of the users whom the salt chooses, in a log of its own.

    The period is that of the whole log; `log` stays open.

    Args:
        salt: 16 secret bytes (`dp.sketches.salts`).
    """
    users = log.connection.sql('SELECT user_id, "user" FROM users').to_arrow_table()
    kept = users.filter(pa.array(design.chosen(keys_of(users["user"], salt))))
    with log.connection.cursor() as cursor:
        cursor.register("kept", kept)
        operations = cursor.sql("SELECT o.* FROM operations AS o SEMI JOIN kept USING (user_id)").to_arrow_table()
    return log_of(log, operations, kept)


def sample_in_force(rate: float, salts: Salts, first: date, ticks: int | None) -> Sample:
    """The sample that a series counts from the tick `first` on, over `ticks` ticks; None: as far as salts are known."""
    known = (date.max - first).days
    last = first + timedelta(days=known if ticks is None else min(ticks - 1, known))
    rotations = tuple(((tick - first).days, salts.in_force(tick).fingerprint) for tick in salts.changes(first, last))
    return Sample(rate, salts.in_force(first).fingerprint, rotations)


def counts_of_sample(
    log: Log, design: FixedRate, salts: Salts, first: date, last: date, count: Callable[[Log], Mapping[str, Counts]]
) -> dict[str, Counts]:
    """The counts of the sample in force at each of the ticks `first` .. `last`.

    A window that began under an earlier salt is read whole under the present one, so nobody is counted twice or
    missed.

    Args:
        count: from a log to its counts by name, from the tick `first` on.
    """
    starts = [first, *salts.changes(first, last)]
    edges = [(start - first).days for start in starts] + [(last - first).days + 1]
    pieces = []
    for start in starts:
        with sampled(log, design, salts.in_force(start).key) as part:
            pieces.append(count(part))
    sample = sample_in_force(design.rate, salts, first, edges[-1])
    return {
        name: replace(
            whole,
            values=np.concatenate(
                [piece[name].values[begin:end] for piece, (begin, end) in zip(pieces, pairwise(edges), strict=True)]
            ),
            sample=sample,
        )
        for name, whole in pieces[0].items()
    }
