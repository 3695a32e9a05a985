"""Independent trials, drawn with bounded memory by several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from dp.arrays import Floats, Integers
from dp.auditing.options import ReportShare
from dp.mechanisms import Mechanism

Sampler = Callable[[int, np.random.Generator], Floats]
"""That many fresh trials, one a row."""

ReleaseSampler = Callable[[Integers], Sampler]
"""From counts to a sampler of their releases, shape (trials, T)."""

ChunkedSampler = Callable[[int, np.random.Generator, ReportShare], Floats]
"""A sampler that reports its progress."""

CHUNK_FLOATS = 2**19
"""4 MiB of draws at a time, which a core's cache almost holds."""


def in_chunks(sampler: Sampler, width: int, workers: int = 1) -> ChunkedSampler:
    """The same trials with bounded memory: trials of `width` floats are drawn in chunks, by `workers` threads.

    Each chunk has a generator of its own, so that the trials do not depend on the number of threads.
    """
    rows = max(CHUNK_FLOATS // width, 1)

    def sample(number: int, generator: np.random.Generator, report: ReportShare) -> Floats:
        sizes = [min(rows, number - start) for start in range(0, number, rows)]
        sources = generator.spawn(len(sizes))
        # The threads of one matrix product would wait for each other while the others want the cores, and how many
        # there are shows in its last bits.
        with _linear_algebra().limit(limits=1):
            if workers == 1:
                return _concatenate(map(sampler, sizes, sources), number, report)
            with ThreadPoolExecutor(workers) as pool:
                return _concatenate(pool.map(sampler, sizes, sources), number, report)

    return sample


@cache
def _linear_algebra() -> ThreadpoolController:
    """The libraries that multiply matrices; to find them takes longer than a small audit."""
    return ThreadpoolController()


def _concatenate(chunks: Iterable[Floats], number: int, report: ReportShare) -> Floats:
    trials: list[Floats] = []
    done = 0
    for chunk in chunks:
        trials.append(chunk)
        done += len(chunk)
        report(done / number)
    return np.concatenate(trials)


def simulate_releases(mechanism: Mechanism, counts: Integers) -> Sampler:
    """What is published, in users; shape (trials, T)."""
    return lambda trials, generator: mechanism.simulate(counts, trials, generator)


def subtract_known(release_sampler: ReleaseSampler, known: Floats | Integers) -> ReleaseSampler:
    """The releases less what the attacker knows of them, shape (T,)."""

    def errors(counts: Integers) -> Sampler:
        sampler = release_sampler(counts)
        return lambda trials, generator: sampler(trials, generator) - known

    return errors
