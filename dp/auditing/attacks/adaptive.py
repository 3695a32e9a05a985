"""Somebody decides after every release what everybody does next, and when the user whom they watch is to be present.

They win if the likelihood ratio of the whole transcript, an answer that returns, or what earlier answers gave away of
the noise tells whether that user was there better than the claimed (ε, δ) allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.arrays import Floats, Integers
from dp.auditing.attacks.fixed_threshold import ATTACK_CONFIDENCE, epsilon_lower_bound
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.auditing.bounds import Alarms, epsilon_bound
from dp.auditing.measurements import strategy_matrix
from dp.mechanisms import EMPTY_STATE, LinearMechanism, State, linear_design
from dp.mechanisms.sparse_vector import Held, SparseVector, calibrated, one_sided, surely_beyond
from dp.noise import Noise
from dp.release.drawing import seeded_source
from dp.units import protected_class

CRITERION = (
    "at the claimed δ neither the likelihood ratio, a returning answer nor the lowest one disproves the claimed ε"
)

GUARANTEE = Guarantee(4.0, 1e-3)
"""A weak guarantee, so that a few thousand series, which must be run tick by tick, show something."""
TICKS = 10
RUN = 5
"""The most ticks that the user stays: the hull of the class."""
TARGET_MECHANISMS = ("gaussian", "damped-square-root")
LOW, HIGH = 200, 1000
PURE = Guarantee(1.0, 0.0)
"""Guarantee of sparse-vector: daily counts of the unit user-day, with one release a day and no end."""
LEARNING_RELEASES = 30
"""Releases from which the adversary learns before the user may come."""

Booleans = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Step = Callable[[State, int, np.random.Generator], tuple[State, float]]
"""Releases one count: the next state and the estimate."""


def play_series(step: Step, present: bool, generator: np.random.Generator) -> tuple[Floats, Integers, Integers]:
    """One series against the adversary: the releases, the counts of everybody else, and when the user was to be there.

    Everybody else comes in crowds after a release that was high and stays away after a low one. The user comes after
    the first release that was above what is known of the rest, and then stays for RUN ticks; both are functions of what
    was published, so the adversary knows them, and only whether the user followed them is unknown.
    """
    releases, known, watched = np.zeros(TICKS), np.zeros(TICKS, dtype=np.int64), np.zeros(TICKS, dtype=np.int64)
    state, arrival = EMPTY_STATE, TICKS
    for tick in range(TICKS):
        surprising = tick > 0 and releases[tick - 1] > known[tick - 1]
        known[tick] = HIGH if surprising else LOW
        if arrival == TICKS and (surprising or tick == TICKS - RUN):
            arrival = tick
        watched[tick] = arrival <= tick < arrival + RUN
        state, releases[tick] = step(state, int(known[tick] + present * watched[tick]), generator)
    return releases, known, watched


def attack(
    setting: Setting, mechanism: LinearMechanism, new_step: Callable[[], Step]
) -> tuple[tuple[int, int], tuple[int, int], int]:
    """False and true alarms of the likelihood ratio and of returning answers, and the number of series of each kind.

    Args:
        mechanism: whose noise is claimed.
        new_step: what releases one series.
    """
    trials = setting.trials(1_000, 4_000)
    strategy = strategy_matrix(mechanism.strategy, TICKS)
    ratio, returning = [0, 0], [0, 0]
    for present in (False, True):
        for _ in range(trials):
            releases, known, watched = play_series(new_step(), present, setting.generator)
            moved = strategy @ watched
            # The logarithm of the likelihood ratio, in units of the noise's variance.
            ratio[present] += bool(moved @ (strategy @ (releases - known)) > moved @ moved / 2)
            here = releases[watched > 0] - known[watched > 0]
            returning[present] += not np.isin(here, (releases - known)[watched == 0]).any()
    return (ratio[0], ratio[1]), (returning[0], returning[1]), trials


def _design(name: str) -> LinearMechanism:
    design = linear_design(name, protected_class("user-day", RUN, 2, TICKS))
    return calibrate_linear([design], GUARANTEE, [1.0])[0]


def _run_tick(
    mechanism: LinearMechanism, state: State, count: int, generator: np.random.Generator
) -> tuple[State, float]:
    state, released = mechanism.run(state, np.array([count]), seeded_source(generator), 0.95)
    return state, float(released.estimates[0])


def _readings(setting: Setting, mechanism: LinearMechanism, new_step: Callable[[], Step]) -> tuple[Observation, ...]:
    ratio, returning, trials = attack(setting, mechanism, new_step)
    delta = GUARANTEE.delta
    shown = {
        "the likelihood ratio": epsilon_lower_bound(*ratio, trials, delta),
        "answers that return": epsilon_lower_bound(*returning, trials, delta),
    }
    return tuple(
        Observation(f"{mechanism.name}: ε shown at δ = {delta:g} by {test}", epsilon, GUARANTEE.epsilon, trials)
        for test, epsilon in shown.items()
    )


def steer(mechanism: SparseVector, present: bool, generator: np.random.Generator) -> tuple[float, float]:
    """One series of sparse-vector against the adversary, who makes the counts climb out of the band at every tick.

    After LEARNT ticks every count begins at the value released last. The user comes for one day, after the first value
    above what is known of the rest, at the latest two days later.

    Returns:
        What was released on that day less everybody else's count, and the lowest such number of all days before.
    """
    jump = surely_beyond(mechanism.threshold, mechanism.noise, mechanism.grid)
    source = seeded_source(generator)
    counts = LOW + jump * np.arange(LEARNING_RELEASES)
    state, released = mechanism.run(EMPTY_STATE, counts, source, 0.95)
    errors = (released.estimates - counts)[1:].tolist()
    last = released.estimates[-1]
    for chance in range(3):
        others = round(last) + jump
        comes = chance == 2 or errors[-1] > 0
        state, released = mechanism.run(state, np.array([others + (present and comes)]), source, 0.95)
        last = released.estimates[-1]
        if comes:
            break
        errors.append(last - others)
    return float(last - others), min(errors)


def sparse_vector_readings(setting: Setting, kind: type[SparseVector]) -> tuple[Observation, ...]:
    """The ε of sparse-vector that two tests show by their rates of alarms.

    One is the likelihood ratio of the released value. The other takes the lowest error so far for what is constant in
    all of them, and a value less than a user above it for one that nobody was added to.
    """
    one = calibrated(protected_class("user-day", 1, 2, None), 1, *PURE)
    mechanism = kind(one.hull, one.horizon, one.releases, one.threshold, one.noise)
    trials = setting.trials(700, 2_000)
    alarms = {"the likelihood ratio": [0, 0], "the lowest answer": [0, 0]}
    for present in (False, True):
        for _ in range(trials):
            error, lowest = steer(mechanism, present, setting.generator)
            alarms["the likelihood ratio"][present] += error > 1 / 2
            alarms["the lowest answer"][present] += error - lowest >= 1
    return tuple(
        Observation(
            f"{mechanism.name}: ε shown by {test}",
            float(epsilon_bound(Alarms(true, trials, false, trials), PURE.delta, ATTACK_CONFIDENCE)),
            PURE.epsilon,
            trials,
        )
        for test, (false, true) in alarms.items()
    )


def ours(setting: Setting) -> tuple[Observation, ...]:
    """Mechanisms that are run one tick at a time, with fresh noise for each."""
    readings: list[Observation] = []
    for mechanism in map(_design, TARGET_MECHANISMS[-1:] if setting.quick else TARGET_MECHANISMS):
        step = partial(_run_tick, mechanism)
        readings += _readings(setting, mechanism, partial(_every_series, step))
    return (*readings, *sparse_vector_readings(setting, SparseVector))


def _every_series(step: Step) -> Step:
    """A mechanism remembers nothing but its state: one step serves all series."""
    return step


def reuse_noise(setting: Setting) -> tuple[Observation, ...]:
    """Noise that is kept and used again when the same count comes back, so that nobody can average it out."""
    mechanism = _design("gaussian")

    def new_step() -> Step:
        answers: dict[int, float] = {}

        def step(state: State, count: int, generator: np.random.Generator) -> tuple[State, float]:
            state, estimate = _run_tick(mechanism, state, count, generator)
            return state, answers.setdefault(count, estimate)

        return step

    return _readings(setting, mechanism, new_step)


def half_noise(setting: Setting) -> tuple[Observation, ...]:
    """Half the noise that is claimed."""
    mechanism = _design("damped-square-root")

    def step(state: State, count: int, generator: np.random.Generator) -> tuple[State, float]:
        def source(noise: Noise, size: int) -> Integers:
            return np.rint(noise.seeded(generator, (size,)) / 2).astype(np.int64)

        state, released = mechanism.run(state, np.array([count]), source, 0.95)
        return state, float(released.estimates[0])

    return _readings(setting, mechanism, partial(_every_series, step))


@dataclass(frozen=True)
class EdgesKeepNoise(SparseVector):
    """The edges of its band get their noise once, and keep it from one release to the next."""

    def _step(self, held: Held, tick: int, count: int, draws: Integers, tested: Booleans) -> Held:
        after = super()._step(held, tick, count, draws, tested)
        if tick == 0:
            return after
        moved = after.value - held.value
        return after._replace(ceiling=held.ceiling + moved, floor=held.floor + moved)


@dataclass(frozen=True)
class ReleasesComparedCount(SparseVector):
    """It releases the noisy count that its test compared with the edge, and not the edge plus the gap."""

    def _step(self, held: Held, tick: int, count: int, draws: Integers, tested: Booleans) -> Held:
        after = super()._step(held, tick, count, draws, tested)
        if tick == 0:
            return after
        above, below, _, _ = one_sided(draws)
        side = np.sign(after.value - held.value)
        compared = self.grid * count + np.where(side > 0, above, -below)
        moved = np.where(side == 0, 0, compared - after.value)
        return after._replace(value=after.value + moved, ceiling=after.ceiling + moved, floor=after.floor + moved)


TARGETS: dict[str, Target] = {
    OURS: ours,
    "the same noise whenever a count returns": reuse_noise,
    "half the noise": half_noise,
    "sparse-vector with edges that keep their noise": partial(sparse_vector_readings, kind=EdgesKeepNoise),
    "sparse-vector releasing what its test compared": partial(sparse_vector_readings, kind=ReleasesComparedCount),
}
