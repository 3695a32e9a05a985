"""The log of a synthetic population in a file."""

from __future__ import annotations

from pathlib import Path

from dp.log.generate import generate, write_log
from experiments.engine.population import START, Population


def write_synthetic_log(population: Population, path: Path) -> None:
    """Generate the log of a population, which begins on `START`, and write it to `path`."""
    log = generate(population.users, population.days, seed=population.seed, start=START, **population.rates)
    write_log(log, path)
