"""Sketches of one size, filled with a log whose users leave, and what they err by."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dp.names import SKETCHES
from experiments.engine.population import Population
from experiments.kinds.sketches.config import SketchConfig
from experiments.kinds.sketches.designs import SIZE_PARAMETERS
from experiments.kinds.sketches.trials import SketchTask, evaluate_sketch, sketch_tasks
from workbench.rows import TableRow
from workbench.views.axes import POPULATION_SEED
from workbench.views.jobs.job import Job, Tables

if TYPE_CHECKING:
    from workbench.views.sketches.research import SketchQuestion

SEED = 20260116
WINDOW, DAYS, TICKS = 30, 45, 10
TRIALS_A_ROUND, ROUNDS = 2, 12
KEY_BYTES = 8
BITS_A_BUCKET = 24


def size_of(sketch: str, memory: int, users: int) -> int | float | None:
    """The size parameter with which a sketch takes about so many bytes, or the next smaller one; None for sets."""
    match SIZE_PARAMETERS[sketch]:
        case "rate":
            return min(memory / (KEY_BYTES * users), 1.0)
        case "k":
            return memory // KEY_BYTES
        case "registers":
            return memory
        case "lg_buckets":
            return (memory * 8 // BITS_A_BUCKET).bit_length() - 1
        case "lg_k" if sketch == "theta":
            return (memory // KEY_BYTES).bit_length() - 1
        case "lg_k" | "lg_m":
            return memory.bit_length() - 1
    return None


def errors_of(rows: Sequence[dict[str, Any]]) -> TableRow:
    """The error of all rounds of a sketch together, with twice its standard error on either side."""
    squares = [row["rmse"] ** 2 for row in rows]
    number, mean = len(squares), sum(squares) / len(squares)
    spread = sum((square - mean) ** 2 for square in squares) / max(number - 1, 1)
    around = 2 * math.sqrt(spread / number)
    first = rows[0]
    return {
        **{name: first[name] for name in ("sketch", "parameter", "size", "privacy", "path", "epsilon", "delta")},
        "trials": number * TRIALS_A_ROUND,
        "bytes": float(sum(row["bytes"] for row in rows) / number),
        "users": float(first["users"]),
        "rmse": math.sqrt(mean),
        "rmse_low": math.sqrt(max(mean - around, 0.0)),
        "rmse_high": math.sqrt(mean + around),
        "formula": first["formula"],
        "bias": float(sum(row["bias"] for row in rows) / number),
        "missed": float(first["missed"]),
    }


def grow(question: SketchQuestion, job: Job, committed: Tables) -> Tables:
    """The tables of an answer, refined after every round of trials.

    Raises:
        ValueError: a field has an impossible value.
        Superseded: see `Job`.
    """
    config = config_of(question)
    config.check()
    tables = dict(committed)
    with tempfile.TemporaryDirectory() as folder:
        job.tell("generating users who come and leave", 0.0, tables)
        tasks = sketch_tasks(config, list(config.points()), Path(folder))
        found: list[list[dict[str, Any]]] = [[] for _ in tasks]
        for number in range(ROUNDS):
            for place, task in enumerate(tasks):
                job.tell("publishing sketches", (number + place / len(tasks)) / ROUNDS, None)
                found[place].append(evaluate_sketch(_of_round(task, number)))
            errors, days = [errors_of(rows) for rows in found], _days([rows[0] for rows in found])
            tables = {"errors": errors, "days": days, **committed}
            job.tell("publishing sketches", (number + 1) / ROUNDS, tables)
    return tables


def config_of(question: SketchQuestion) -> SketchConfig:
    """The experiment with the sketches of a question, each in one size.

    Raises:
        ValueError: a sketch is unknown.
    """
    unknown = [name for name in question.sketches if name not in SKETCHES]
    if unknown:
        raise ValueError(f"sketches has {', '.join(unknown)}; there are {', '.join(SKETCHES)}")
    grid: dict[str, dict[str, list[int | float]]] = {}
    for name in question.sketches:
        parameter, size = SIZE_PARAMETERS[name], size_of(name, question.memory, question.users)
        grid[name] = {} if parameter is None or size is None else {parameter: [size]}
    return SketchConfig(
        name="sketches",
        question="",
        figure="",
        epsilon=question.epsilon,
        delta=question.delta,
        trials=TRIALS_A_ROUND,
        seed=SEED,
        population=Population(
            users=question.users, days=DAYS, seed=POPULATION_SEED, delete_rate=question.deletions,
            erase_rate=question.deletions,
        ),
        window=WINDOW,
        ticks=TICKS,
        grid=grid,
    )  # fmt: skip


def _of_round(task: SketchTask, number: int) -> SketchTask:
    """The same sketch with fresh salts and noise."""
    return replace(task, config=msgspec.structs.replace(task.config, seed=SEED + number))


def _days(rows: Sequence[dict[str, Any]]) -> list[TableRow]:
    """What was published on each day before the last one, and how many users there were."""
    days: list[TableRow] = [
        {"sketch": "truth", "day": place - TICKS + 1, "users": users} for place, users in enumerate(rows[0]["truth"])
    ]
    for row in rows:
        days += [
            {"sketch": row["sketch"], "day": place - TICKS + 1, "users": users}
            for place, users in enumerate(row["released"])
        ]
    return days
