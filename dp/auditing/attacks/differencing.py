"""Somebody knows what everybody but one user did, and takes the DAU, WAU and MAU of all days from one another.

They win if any linear test of the joint release tells whether that user was active on one day better than the claimed
(ε, δ) allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from dp.accounting.composition import Guarantee
from dp.arrays import Floats, Integers
from dp.auditing.attacks.fixed_threshold import best_direction, epsilon_lower_bound
from dp.auditing.attacks.logs import FIRST
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.mechanisms import GRID, LinearMechanism
from dp.release import Request, plan_release

CRITERION = "at the claimed δ no linear test of the joint release, also the best one, disproves the claimed ε"

GUARANTEE = Guarantee(1.0, 1e-6)
WINDOWS = {"dau": 1, "wau": 7, "mau": 30}
TICKS = 45
ACTIVE_TICK = 10
"""The tick of the activity that is to be detected; all its windows end within the series."""
TARGET_MECHANISMS = ("gaussian", "binary-tree", "damped-square-root", "optimal")
KNOWN_COUNTS = 800 + np.arange(TICKS) % 7
"""The counts without that user, the same in all series: only the change matters."""
CHUNK = 10_000
TRIALS = (40_000, 200_000)
"""Releases with and as many without the user; quick and full."""


def attack(setting: Setting, mechanisms: Sequence[LinearMechanism]) -> dict[str, float]:
    """The ε that each of several tests disproves, by name.

    Args:
        mechanisms: one a window of WINDOWS.
    """
    changes = [_change(window) for window in WINDOWS.values()]
    tests = _tests(mechanisms, changes)
    # The best threshold for as many releases with as without the change lies half way.
    thresholds = {
        test: sum(float(weight @ change) for weight, change in zip(weights, changes, strict=True)) / 2
        for test, weights in tests.items()
    }
    recognised = {(test, present): 0 for test in tests for present in (False, True)}
    trials = setting.trials(*TRIALS)
    for start in range(0, trials, CHUNK):
        number = min(CHUNK, trials - start)
        for present in (False, True):
            errors = [
                mechanism.simulate(KNOWN_COUNTS + present * change, number, setting.generator) - KNOWN_COUNTS
                for mechanism, change in zip(mechanisms, changes, strict=True)
            ]
            for test, weights in tests.items():
                scores = sum(error @ weight for error, weight in zip(errors, weights, strict=True))
                recognised[test, present] += int(np.count_nonzero(scores >= thresholds[test]))
    return {
        test: epsilon_lower_bound(recognised[test, False], recognised[test, True], trials, GUARANTEE.delta)
        for test in tests
    }


def _change(window: int) -> Integers:
    ticks = np.arange(TICKS)
    return ((ticks >= ACTIVE_TICK) & (ticks < ACTIVE_TICK + window)).astype(np.int64)


def _tests(mechanisms: Sequence[LinearMechanism], changes: Sequence[Integers]) -> dict[str, list[Floats]]:
    """Weights of all released numbers, series by series."""
    decoders = [
        mechanism.strategy.decode(np.eye(mechanism.strategy.draws(0, TICKS))) * mechanism.noise.scale / GRID
        for mechanism in mechanisms
    ]
    best = [best_direction(decoder, change) for decoder, change in zip(decoders, changes, strict=True)]
    at, nothing, end = np.eye(TICKS), np.zeros(TICKS), ACTIVE_TICK + WINDOWS["mau"]
    return {
        "the best test of all series": best,
        "MAU of neighbouring days": [nothing, nothing, at[ACTIVE_TICK] - at[ACTIVE_TICK - 1] + at[end - 1] - at[end]],
        "MAU less WAU a week later": [nothing, -at[ACTIVE_TICK + 7], at[ACTIVE_TICK + 7]],
        "DAU, WAU and MAU of the day": [at[ACTIVE_TICK], at[ACTIVE_TICK], at[ACTIVE_TICK]],
    }


def _linear(mechanism: str, windows: dict[str, int]) -> list[LinearMechanism]:
    request = Request(windows, "user-day", 2, GUARANTEE, mechanism, FIRST, TICKS, dict.fromkeys(windows, 1.0))
    return [cast(LinearMechanism, series.mechanism) for series in plan_release(request).series]


def _readings(setting: Setting, name: str, mechanisms: Sequence[LinearMechanism]) -> tuple[Observation, ...]:
    trials = setting.trials(*TRIALS)
    return tuple(
        Observation(f"{name}: ε shown at δ = {GUARANTEE.delta:g} by {test}", epsilon, GUARANTEE.epsilon, trials)
        for test, epsilon in attack(setting, mechanisms).items()
    )


def ours(setting: Setting) -> tuple[Observation, ...]:
    """A joint release under one guarantee, by several mechanisms."""
    names = TARGET_MECHANISMS[-2:] if setting.quick else TARGET_MECHANISMS
    return tuple(reading for name in names for reading in _readings(setting, name, _linear(name, WINDOWS)))


def calibrate_each_alone(setting: Setting) -> tuple[Observation, ...]:
    """Three series, each with the noise of a release of its own, sold under one guarantee."""
    name = "damped-square-root"
    alone = [_linear(name, {metric: window})[0] for metric, window in WINDOWS.items()]
    return _readings(setting, name, alone)


TARGETS: dict[str, Target] = {OURS: ours, "each series calibrated as if it were alone": calibrate_each_alone}
