"""The log of a sample: what the sketch fixed-rate keeps of a log, so that every question can be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dp.log import Log, log_of
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.keys import keys_of
from dp.sketches.salts import Salts

Counts = Mapping[str, NDArray[np.int64]]


def sampled(log: Log, design: FixedRate, salt: bytes) -> Log:
    """The operations of those users whom the salt chooses, all of them, in a log of its own.

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


def counts_of_sample(
    log: Log, design: FixedRate, salts: Salts, first: date, last: date, count: Callable[[Log], Counts]
) -> dict[str, NDArray[np.int64]]:
    """The counts of the sample at the ticks `first` .. `last`, at each of them of the sample that is in force then.

    A window that began under another salt is read whole under the present one, so nobody is counted twice and nobody
    is missing.

    Args:
        count: from a log to its counts by name, from the tick `first` on; shape (ticks, …).
    """
    starts = [first, *salts.changes(first, last)]
    edges = [(start - first).days for start in starts] + [(last - first).days + 1]
    pieces = []
    for start, (begin, end) in zip(starts, pairwise(edges), strict=True):
        with sampled(log, design, salts.in_force(start).key) as part:
            pieces.append({name: series[begin:end] for name, series in count(part).items()})
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
