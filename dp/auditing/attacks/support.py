"""Somebody looks at the last bits of released numbers, and at nothing else.

They win if a number was released that the neighbouring count could not have given, as with noise that is
drawn in floats (Mironov 2012, "On significance of the least significant bits for differential privacy").
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.auditing.attacks.logs import FIRST
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.ledger import open_ledger
from dp.mechanisms import GRID
from dp.release import Request, plan_release, publish, stated_counts

CRITERION = "released numbers are whole multiples of the grid, and each could have come from the neighbouring count"

PURE, APPROXIMATE = Guarantee(1.0, 0.0), Guarantee(1.0, 1e-6)
TARGET_MECHANISMS = {"laplace": PURE, "binary-tree-laplace": PURE, "gaussian": APPROXIMATE, "binary-tree": APPROXIMATE}
"""Mechanisms that release their measurements or sums of them, so that nothing hides the noise from the reader."""
COUNTS = (0, 1)
"""Counts of two logs that differ by one user: nobody, and that user."""
SLACK = 4
"""Neighbouring uniform draws that are also tried, because the last digit of a logarithm may be off."""


@dataclass(frozen=True)
class ReleaseSupport:
    """What was released for a count, and which of it another count could have given.

    Attributes:
        release: the numbers for a count.
        possible: which numbers the noise of the target lets a count give.
    """

    release: Callable[[int], Floats]
    possible: Callable[[Floats, int], np.ndarray[tuple[int], np.dtype[np.bool_]]]


def attack(released: ReleaseSupport) -> tuple[float, float]:
    """Shares of the numbers that are off the grid, and that the neighbouring count could not have given."""
    off, impossible = [], []
    for count, other in (COUNTS, COUNTS[::-1]):
        numbers = released.release(count)
        if not released.possible(numbers, count).all():
            raise RuntimeError("the inspection calls numbers impossible that were released: it proves nothing")
        off.append(~on_grid(numbers))
        impossible.append(~released.possible(numbers, other))
    return float(np.mean(off)), float(np.mean(impossible))


def on_grid(numbers: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which numbers are whole multiples of 1/GRID; multiplying a float by a power of two is exact."""
    scaled = numbers * GRID
    return np.asarray(scaled == np.rint(scaled))


def whole_grid_steps(numbers: Floats, count: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which numbers differ from the count by multiples of the grid: discrete noise takes every such value."""
    return on_grid(numbers - count)


def publish_constant(setting: Setting, mechanism: str, guarantee: Guarantee, count: int) -> Floats:
    """What `publish` shows of constant counts, with the noise of OpenDP."""
    ticks = setting.trials(64, 512)
    request = Request({"dau": 1}, "user-day", 2, guarantee, mechanism, FIRST, ticks, {"dau": 1.0})
    with open_ledger(setting.new_folder() / "ledger.db") as ledger:
        ledger.create_budget("team", guarantee, FIRST, None)
        plan = plan_release(request)
        counts = stated_counts(plan, {"dau": np.full(ticks, count)})
        rows = publish(ledger, "stream", "team", plan, counts, setting.now)
    return np.array([json.loads(row)["estimate"] for row in rows])


def textbook_laplace(generator: np.random.Generator, ticks: int, count: int) -> Floats:
    """The count plus Laplace noise of scale 1, the inverse of its distribution at a uniform float."""
    uniform = generator.integers(1, 2**53, ticks) / 2**53
    return np.asarray(count + np.where(generator.random(ticks) < 0.5, -1.0, 1.0) * np.log(uniform))


def textbook_support(numbers: Floats, count: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which floats `textbook_laplace` can give for a count: those with a uniform draw that leads to them."""
    nearest = np.rint(np.exp(-np.abs(numbers - count)) * 2**53)
    found = np.zeros(len(numbers), dtype=np.bool_)
    # All draws beside the nearest are tried that a rounded difference could stand for.
    reach = int(SLACK + 2**53 * np.spacing(np.abs(numbers).max() + 1))
    for step in range(-reach, reach + 1):
        uniform = np.clip(nearest + step, 1, 2**53 - 1) / 2**53
        for sign in (-1.0, 1.0):
            found |= count + sign * np.log(uniform) == numbers
    return found


def ours(setting: Setting) -> tuple[Observation, ...]:
    """Numbers that were really published, with whole-number noise."""
    readings: list[Observation] = []
    for mechanism, guarantee in TARGET_MECHANISMS.items():
        readings += _readings(
            mechanism, ReleaseSupport(partial(publish_constant, setting, mechanism, guarantee), whole_grid_steps)
        )
    return tuple(readings)


def float_laplace(setting: Setting) -> tuple[Observation, ...]:
    """Laplace noise as textbooks draw it, in floats."""
    ticks = setting.trials(1_000, 10_000)
    released = ReleaseSupport(lambda count: textbook_laplace(setting.generator, ticks, count), textbook_support)
    return tuple(_readings("textbook Laplace", released))


def _readings(name: str, released: ReleaseSupport) -> list[Observation]:
    off, impossible = attack(released)
    return [
        Observation(f"{name}: share of numbers off the grid", off, 0),
        Observation(f"{name}: share of numbers that the neighbouring count cannot give", impossible, 0),
    ]


TARGETS: dict[str, Target] = {OURS: ours, "Laplace noise drawn in floats": float_laplace}
