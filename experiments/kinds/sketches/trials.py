"""The row of one sketch in one size: a pure function of a log and a seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from dp.arrays import Floats
from dp.log import Log, read_log
from dp.noise import LaplaceNoise
from dp.presence import NumpyEngine, UserFlips, user_flips
from dp.sketches import Sketch, SketchDesign, family_of
from dp.sketches.bit_matrix import BitMatrix, BitSketch
from dp.sketches.cpc import Cpc
from dp.sketches.exact import Exact
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.flipped import seeded_flips
from dp.sketches.hll import Hll
from dp.sketches.keys import ANY_SALT
from dp.sketches.salts import Salt, Salts
from dp.sketches.table import some_keys
from dp.sketches.windows import follow, rolling
from experiments.engine.grid import point_seed
from experiments.engine.population import START
from experiments.engine.synthetic_log import write_synthetic_log
from experiments.kinds.sketches.config import SketchConfig, SketchPoint
from experiments.kinds.sketches.designs import sketch_design

STEPS_PER_USER = 2**20
"""Steps of the noise in a user."""

PRIVACY = {
    "sensitivity": "noise for one user",
    "intrinsic": "private by itself",
    "none": "baseline: not private",
}
"""By the kind of a sketch's contract, how private a published count is."""


@dataclass(frozen=True)
class SketchTask:
    """A point with all that its row depends on.

    Attributes:
        log: of the population, or None where all its users came on one day.
        truth: users present at each of the published ticks.
        union: users in the union of daily sketches at each of these ticks; nobody ever leaves it.
    """

    point: SketchPoint
    config: SketchConfig
    log: Path | None
    truth: tuple[int, ...]
    union: tuple[int, ...]

    @property
    def follows(self) -> bool:
        """Whether users leave the sketch when they leave the window."""
        return family_of(self.point.sketch).removes in ("yes", "toggles")


def sketch_tasks(config: SketchConfig, wanted: Sequence[SketchPoint], folder: Path) -> list[SketchTask]:
    """A task for each point; their log, if there is one, is written into the folder."""
    population = config.population
    if population.days == 1:
        users = (population.users,)
        return [SketchTask(point, config, None, users, users) for point in wanted]
    path = folder / "population.parquet"
    write_synthetic_log(population, path)
    first, last = _ticks(config)
    with read_log(path) as log:
        flips = NumpyEngine(log.connection).daily_flips([config.window], first, last)[config.window]
        unions = rolling(log, Exact(), _always(ANY_SALT), config.window, first, last, ignore_removals=True)
        union = tuple(int(sketch.estimate()) for sketch in unions)
    truth = tuple(flips.counts.values.tolist())
    return [SketchTask(point, config, path, truth, union) for point in wanted]


def evaluate_sketch(task: SketchTask) -> dict[str, Any]:
    """One row: bytes and relative error of a sketch. Each published count has the ε of the config by itself.

    `rmse` is over all trials and ticks, relative to the true counts. `bias` is their mean relative error, and
    `bias_deviation` the standard error of that mean over trials (the ticks of a trial are correlated). `formula` is
    what `rmse` should be: √(variance of the sketch + variance of the noise + square of what a sketch without removals
    misses); the last of these is `missed`, relative. `bytes` is the average size of the sketch in memory. `released`
    are the counts of the first trial, `truth` the true ones, tick by tick.

    Raises:
        ValueError: the parameters are none of the sketch's.
    """
    point, config = task.point, task.config
    generator = np.random.default_rng(point_seed(config.seed, point))
    truth = np.array(task.truth, dtype=np.float64)
    users = truth if task.follows else np.array(task.union, dtype=np.float64)
    estimates, sizes, design = _publish(task, generator)
    errors = estimates / truth - 1
    deviation = np.array([_deviation(task, design, count) for count in users])
    missed = (users - truth) / truth
    return {
        "sketch": point.sketch,
        "parameter": point.parameter,
        "size": None if point.size is None else float(point.size),
        "privacy": PRIVACY[family_of(point.sketch).contract.kind],
        "path": "at once" if task.log is None else "followed" if task.follows else "merged days",
        "epsilon": config.epsilon,
        "delta": config.delta if point.sketch == "fm" else 0.0,
        "trials": config.trials,
        "ticks": len(truth),
        "window": config.window,
        "delete_rate": config.population.delete_rate,
        "erase_rate": config.population.erase_rate,
        "bytes": sizes.mean(),
        "users": truth.mean(),
        "rmse": math.sqrt((errors**2).mean()),
        "formula": math.sqrt(((deviation / truth) ** 2 + missed**2).mean()),
        "bias": errors.mean(),
        "bias_deviation": errors.mean(axis=1).std(ddof=1) / math.sqrt(config.trials),
        "missed": missed.mean(),
        "released": [round(float(value), 1) for value in estimates[0]],
        "truth": list(task.truth),
    }


def _publish(task: SketchTask, generator: np.random.Generator) -> tuple[Floats, Floats, SketchDesign]:
    """The published counts and the bytes of their sketches, both of shape (trials, ticks), and the last design."""
    point, config = task.point, task.config
    estimates = np.empty((config.trials, len(task.truth)))
    sizes = np.empty_like(estimates)
    with _open_log(task.log) as log:
        flips = user_flips(log.connection, config.window, *_ticks(config)) if log and task.follows else None
        for trial in range(config.trials):
            salt = generator.bytes(16)
            design = sketch_design(point.sketch, point.size, config.epsilon, config.delta, salt)
            for tick, sketch in enumerate(sketches_by_tick(task, log, flips, design, salt)):
                estimates[trial, tick] = noisy_estimate(sketch, design, point.sketch, config.epsilon, generator)
                sizes[trial, tick] = len(sketch.to_bytes())
    return estimates, sizes, design


def sketches_by_tick(
    task: SketchTask, log: Log | None, flips: UserFlips | None, design: SketchDesign, salt: bytes
) -> Iterator[Sketch]:
    """The sketch at each published tick.

    Args:
        log: of the population; None where all users came on one day.
        flips: of its users, for a sketch that follows them.
    """
    family = family_of(task.point.sketch)
    if log is None:
        yield design.empty().add(some_keys(family, task.config.population.users, salt))
        return
    if flips is not None:
        yield from follow(flips, design, salt if family.keys == "hash" else None, task.config.ticks)
    else:
        first, last = _ticks(task.config)
        yield from rolling(log, design, _always(salt), task.config.window, first, last, ignore_removals=True)


def noisy_estimate(
    sketch: Sketch, design: SketchDesign, name: str, epsilon: float, generator: np.random.Generator
) -> float:
    """One published count, with seeded coins and noise.

    A sketch that is private by itself gives its estimate. The others get discrete Laplace noise for one user more or
    less: right where that user moves the estimate by a known amount, and a baseline that is not private elsewhere.
    """
    if isinstance(sketch, BitSketch):
        return sketch.private(seeded_flips(generator)).estimate()
    if family_of(name).contract.kind == "intrinsic":
        return sketch.estimate()
    noise = LaplaceNoise(round(STEPS_PER_USER * noise_scale(design, epsilon))).seeded(generator, ())
    return sketch.estimate() + float(noise) / STEPS_PER_USER


def noise_scale(design: SketchDesign, epsilon: float) -> float:
    """Scale of the Laplace noise, in users: how far one user moves the estimate (1 if unknown) over ε."""
    return 1 / (design.rate * epsilon) if isinstance(design, FixedRate) else 1 / epsilon


def _deviation(task: SketchTask, design: SketchDesign, count: float) -> float:
    """Standard error of a published count, from sketch and noise together, around the count that the sketch holds."""
    if isinstance(design, BitMatrix):
        return design.flipped_error(count)
    if isinstance(design, Hll | Cpc):
        error = design.standard_error(count, merged=task.log is not None)
    else:
        error = design.standard_error(count)
    if family_of(task.point.sketch).contract.kind == "intrinsic":
        return error
    return math.hypot(error, math.sqrt(2) * noise_scale(design, task.config.epsilon))


def _ticks(config: SketchConfig) -> tuple[date, date]:
    last = START + timedelta(days=config.population.days - 1)
    return last - timedelta(days=config.ticks - 1), last


def _always(salt: bytes) -> Salts:
    return Salts(((date.min, Salt(salt)),))


def _open_log(path: Path | None) -> AbstractContextManager[Log | None]:
    return nullcontext() if path is None else read_log(path)
