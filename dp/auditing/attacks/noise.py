"""Somebody exchanges what the noise is drawn by, for another scale, shape or number of bits, or for draws that return.

They win if draws with OpenDP's entropy, draws from a seed and the claimed law are not close to one another, or if what
is released with the two kinds of draws is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial, singledispatch

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtr

from dp.accounting.calibrate import calibrate_designs
from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import delta_for
from dp.arrays import Floats, Integers
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.auditing.closeness import (
    Frequencies,
    approximate_dp,
    are_close,
    discretise,
    dp_resolution,
    exact_frequencies,
    frequencies,
    majority,
    majority_error,
    resolution,
)
from dp.auditing.mechanisms import BASE_COUNT
from dp.mechanisms import EMPTY_STATE, GRID, LinearMechanism, Mechanism, design, family_of
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.mechanisms.protocol import NoiseSource
from dp.mechanisms.sparse_vector import SparseVector
from dp.noise import GaussianNoise, LaplaceNoise, Noise
from dp.release.drawing import secure_source
from dp.units import protected_class

VOTES = 5
LIMIT = VOTES // 2
"""Votes that may be against."""
ERROR = 0.006
"""Probability that one vote is wrong."""

CRITERION = (
    f"by most of {VOTES} votes both paths draw the claimed noise independently, keep (ε, δ) and release "
    f"the same numbers; what is so is denied at most once in {1 / majority_error(ERROR, VOTES):,.0f} readings"
)

SCALE = 4 * GRID + 1
"""Scale of the noise that is tested: four users, as in a release."""
WIDTH, REACH = 1.25, 3
"""Width of a cell in standard deviations, and the cells on either side of the middle one."""
CELLS = 2 * REACH + 1
PAIR_WIDTH = 2.0
"""Width of the cells of pairs, three by three."""
RUN_WIDTH = 1.5
"""Width of the cells of whole runs, three by three by three."""
BITS = 4
"""Last bits of a draw that are tested."""
VOTE_DRAWS = (7_500, 30_000)
"""Draws of one call, of the two of a vote; quick and full."""
RUNS = (160, 800)
"""Releases of a vote; quick and full."""
SEEDED = 10
"""Seeded draws for one of OpenDP's, which takes a hundred times as long."""
EPSILON = 1.0
"""ε of neighbours one scale apart."""

TARGET_MECHANISMS = (
    "gaussian", "laplace", "damped-square-root", "honaker-tree", "sparse-vector", "adaptive-flippancy",
)  # fmt: skip
QUICK = ("gaussian", "damped-square-root")
TICKS = 5
WINDOW = 3

Draw = Callable[[int], Integers]
"""That many draws of a noise."""


# --- Draws -----------------------------------------------------------------------------------------------------------


def draw_readings(setting: Setting, noise: Noise, draw: Draw) -> tuple[Observation, ...]:
    """Votes against draws that claim to be of a noise.

    Args:
        draw: stands for `noise.secure`; it is called twice a vote.
    """
    half = _half(setting)

    def vote() -> dict[str, bool]:
        draws = np.stack([draw(half), draw(half)])
        seeded = _seeded(setting, noise)
        tolerance = resolution(ERROR, draws.size, seeded.size)
        alike = are_close(_frequencies(draws, noise), _frequencies(seeded, noise), tolerance)
        return {"not close to seeded ones": alike, **_verdicts(noise, draws)}

    return _readings(_noise_name(noise), "secure draws are", [vote() for _ in range(VOTES)])


def seeded_draw_readings(setting: Setting, noise: Noise) -> tuple[Observation, ...]:
    """Votes against what `noise.seeded` draws."""
    votes = [_verdicts(noise, _seeded(setting, noise)) for _ in range(VOTES)]
    return _readings(_noise_name(noise), "seeded draws are", votes)


def _half(setting: Setting) -> int:
    """Draws of one call, of the two of a vote."""
    return setting.trials(*VOTE_DRAWS)


def _seeded(setting: Setting, noise: Noise) -> Integers:
    return noise.seeded(setting.generator, (2, SEEDED * _half(setting))).astype(np.int64)


def _noise_name(noise: Noise) -> str:
    return "Laplace noise" if noise.pure else "Gaussian noise"


def _verdicts(noise: Noise, halves: Integers) -> dict[str, bool]:
    """Verdicts on the draws of two calls, shape (2, draws), by what is wrong if they reject."""
    draws, (first, second) = halves.ravel(), halves
    before, after = draws.reshape(-1, 2).T
    claimed = exact_frequencies(cell_shares(noise, WIDTH * math.sqrt(noise.variance), REACH))
    even = exact_frequencies(np.full(2**BITS, 0.5**BITS))
    claim = Guarantee(EPSILON, 0.0 if noise.pure else delta_for(1.0, EPSILON))
    return {
        "not close to the claimed law": are_close(
            _frequencies(draws, noise), claimed, resolution(ERROR, draws.size, math.inf)
        ),
        "not close to the claimed law in pairs with the draw before": _independent(before, after, noise),
        "not close to the claimed law in pairs with another call": _independent(first, second, noise),
        "not even in their last bits": are_close(
            frequencies(draws % 2**BITS, 2**BITS), even, resolution(ERROR, draws.size, math.inf)
        ),
        "not (ε, δ)-private": approximate_dp(
            _frequencies(first, noise),
            _frequencies(second + noise.scale, noise),
            claim,
            dp_resolution(ERROR, CELLS, claim.epsilon, first.size, second.size),
        ),
    }


def _frequencies(draws: Integers, noise: Noise) -> Frequencies:
    return frequencies(discretise(draws, WIDTH * math.sqrt(noise.variance), REACH), CELLS)


def _independent(first: Integers, second: Integers, noise: Noise) -> bool:
    """Whether pairs of draws are close to independent draws of the claimed law."""
    granularity = PAIR_WIDTH * math.sqrt(noise.variance)
    shares = cell_shares(noise, granularity, 1)
    pairs = 3 * discretise(first, granularity, 1) + discretise(second, granularity, 1)
    return are_close(
        frequencies(pairs, 9),
        exact_frequencies(np.outer(shares, shares).ravel()),
        resolution(ERROR, pairs.size, math.inf),
    )


def cell_shares(noise: Noise, granularity: float, reach: int) -> Floats:
    """What the claimed law gives each cell of `discretise`; shape (2·reach + 1,).

    Sums over whole numbers are exact for Laplace noise, and for Gaussian noise integrals whose ends lie half way, which
    differ from them by less than 1/(24σ²).
    """
    # The first whole number of each cell but the first.
    ends = np.ceil((np.arange(-reach, reach) + 0.5) * granularity)
    if noise.pure:
        ratio = math.exp(-1 / noise.scale)
        outside = ratio ** np.where(ends > 0, ends, 1 - ends) / (1 + ratio)
        below = np.where(ends > 0, 1 - outside, outside)
    else:
        below = ndtr((ends - 0.5) / noise.scale)
    return np.diff(below, prepend=0.0, append=1.0)


# --- Releases --------------------------------------------------------------------------------------------------------


def release_readings(setting: Setting, name: str, source: NoiseSource) -> tuple[Observation, ...]:
    """Votes against what a mechanism releases with draws from `source`, beside what it simulates.

    Args:
        source: stands for what `dp.release.publish` draws from; it is called for each run.
    """
    mechanism = small_mechanism(name)
    counts = counts_for(mechanism)
    cells, number = observation_cells(mechanism, counts, setting.generator)
    runs = setting.trials(*RUNS)
    votes = []
    for _ in range(VOTES):
        secure = cells(np.array([mechanism.run(EMPTY_STATE, counts, source, 0.95)[1].estimates for _ in range(runs)]))
        simulated = cells(mechanism.simulate(counts, SEEDED * runs, setting.generator))
        tolerance = resolution(ERROR, secure.size, simulated.size)
        alike = are_close(frequencies(secure, number), frequencies(simulated, number), tolerance)
        votes.append({"not close to simulated ones": alike})
    return _readings(name, "released numbers are", votes)


def small_mechanism(name: str) -> Mechanism:
    """A small instance of any registered mechanism, of TICKS ticks."""
    pure = family_of(name).delta == "none"
    unit = "user" if family_of(name).own_bounds else "user-day"
    protected = protected_class(unit, WINDOW, 2, TICKS)
    return calibrate_designs([design(name, protected)], Guarantee(1.0, 0.0 if pure else 1e-6), [1.0])[0]


@singledispatch
def counts_for(mechanism: Mechanism) -> Integers:
    """Counts at which a mechanism that depends on the data decides now one way and now the other."""
    return np.full(TICKS, BASE_COUNT)


@counts_for.register
def _(mechanism: SparseVector) -> Integers:
    # One and a half bands up at each tick.
    return BASE_COUNT + np.arange(TICKS) * (3 * mechanism.threshold // (2 * mechanism.grid))


@counts_for.register
def _(mechanism: AdaptiveFlippancy) -> Integers:
    counts = np.zeros((TICKS, 2 * len(mechanism.levels)), dtype=np.int64)
    counts[:, ::2] = BASE_COUNT
    # Half as many frozen as a threshold, from the second tick on.
    counts[1:, 1:-1:2] = np.array(mechanism.thresholds) // (2 * mechanism.grid)
    counts[:, 0] -= counts[:, 1]
    return counts


ObservationCells = tuple[Callable[[Floats], Integers], int]
"""What turns estimates of shape (trials, TICKS) into independent cells, and how many cells there are."""


@singledispatch
def observation_cells(mechanism: Mechanism, counts: Integers, generator: np.random.Generator) -> ObservationCells:
    """Cells of independent observations.

    Linear mechanisms show one independent number a tick, all of deviation 1: what is released less the counts, divided
    by the root of its covariance. Sums of Laplace noise are independent only where they are one draw each; of other
    mechanisms each run gives one cell: what is released at the first, the middle and the last tick together.
    """
    present = counts[:, 0] if counts.ndim == 2 else counts
    deviations = (mechanism.simulate(counts, 10_000, generator) - present).std(axis=0)
    return partial(_run_cells, deviations, present), 27


@observation_cells.register
def _(mechanism: LinearMechanism, counts: Integers, generator: np.random.Generator) -> ObservationCells:
    decoder = mechanism.strategy.decode(np.eye(mechanism.strategy.draws(0, TICKS)))
    covariance = decoder.T @ decoder * mechanism.noise.variance / GRID**2
    if mechanism.noise.pure and np.count_nonzero(covariance) > TICKS:
        return observation_cells.dispatch(object)(mechanism, counts, generator)
    root = np.linalg.cholesky(covariance).astype(np.float64)
    return partial(_whiten, root, counts), CELLS


def _whiten(root: Floats, present: Integers, estimates: Floats) -> Integers:
    return discretise(solve_triangular(root, (estimates - present).T, lower=True).ravel(), WIDTH, REACH)


def _run_cells(deviations: Floats, present: Integers, estimates: Floats) -> Integers:
    cells = discretise((estimates - present) / deviations, RUN_WIDTH, 1)
    return np.asarray(9 * cells[:, 0] + 3 * cells[:, TICKS // 2] + cells[:, -1])


def _readings(name: str, seen: str, votes: Sequence[Mapping[str, bool]]) -> tuple[Observation, ...]:
    """One reading for each of the questions that every vote answers."""
    return tuple(
        Observation(
            f"{name}: votes of {VOTES} that {seen} {wrong}", majority(vote[wrong] for vote in votes).against, LIMIT
        )
        for wrong in votes[0]
    )


# --- Targets ---------------------------------------------------------------------------------------------------------


def ours(setting: Setting) -> tuple[Observation, ...]:
    """Both kinds of noise, and what is released with them."""
    readings: list[Observation] = []
    for noise in (GaussianNoise(SCALE), LaplaceNoise(SCALE)):
        readings += draw_readings(setting, noise, noise.secure) + seeded_draw_readings(setting, noise)
    for name in QUICK if setting.quick else TARGET_MECHANISMS:
        readings += release_readings(setting, name, secure_source)
    return tuple(readings)


BrokenDraw = Callable[[np.random.Generator, int], Integers]
"""That many draws that claim to be of CLAIMED."""

CLAIMED = GaussianNoise(SCALE)


def scale_too_small(generator: np.random.Generator, size: int) -> Integers:
    """A scale that is a fifth too small."""
    return _draws(GaussianNoise(round(0.8 * SCALE)), generator, size)


def mean_off(generator: np.random.Generator, size: int) -> Integers:
    """A mean that is a quarter of a scale off."""
    return _draws(CLAIMED, generator, size) + SCALE // 4


def variance_as_deviation(generator: np.random.Generator, size: int) -> Integers:
    """The variance, in users, where a standard deviation is asked for."""
    return _draws(GaussianNoise(round(GRID * (SCALE / GRID) ** 2)), generator, size)


def laplace_for_gaussian(generator: np.random.Generator, size: int) -> Integers:
    """Laplace noise of the same variance."""
    return _draws(LaplaceNoise(round(SCALE / math.sqrt(2))), generator, size)


def cut_tails(generator: np.random.Generator, size: int) -> Integers:
    """Draws beyond one and a half deviations are drawn again."""
    draws = _draws(CLAIMED, generator, size)
    while len(beyond := np.flatnonzero(np.abs(draws) > 1.5 * SCALE)):
        draws[beyond] = _draws(CLAIMED, generator, len(beyond))
    return draws


def repeat_each_draw(generator: np.random.Generator, size: int) -> Integers:
    """Every draw comes twice."""
    return np.repeat(_draws(CLAIMED, generator, size // 2), 2)


def reseed_at_every_call(generator: np.random.Generator, size: int) -> Integers:
    """A generator with the same seed at every call."""
    return _draws(CLAIMED, np.random.default_rng(1), size)


def round_to_single_precision(generator: np.random.Generator, size: int) -> Integers:
    """Floats of 32 bits, of which 24 are digits."""
    return _draws(CLAIMED, generator, size).astype(np.float32).astype(np.int64)


def _draws(noise: Noise, generator: np.random.Generator, size: int) -> Integers:
    return noise.seeded(generator, (size,)).astype(np.int64)


def broken_draw_readings(setting: Setting, draws: BrokenDraw) -> tuple[Observation, ...]:
    """Draws that claim to be Gaussian."""
    return draw_readings(setting, CLAIMED, partial(draws, setting.generator))


def half_scale(generator: np.random.Generator, size: int) -> Integers:
    """Half the scale."""
    return _draws(GaussianNoise(SCALE // 2), generator, size)


def half_noise_in_draws(setting: Setting) -> tuple[Observation, ...]:
    """Half the noise in draws, and in releases beside the simulation of all of it."""

    def source(noise: Noise, size: int) -> Integers:
        return _draws(noise, setting.generator, size) // 2

    releases = [reading for name in QUICK for reading in release_readings(setting, name, source)]
    return (*broken_draw_readings(setting, half_scale), *releases)


TARGETS: dict[str, Target] = {
    OURS: ours,
    "a scale a fifth too small": partial(broken_draw_readings, draws=scale_too_small),
    "a mean a quarter of a scale off": partial(broken_draw_readings, draws=mean_off),
    "the variance as deviation": partial(broken_draw_readings, draws=variance_as_deviation),
    "Laplace for Gaussian": partial(broken_draw_readings, draws=laplace_for_gaussian),
    "no draw beyond one and a half deviations": partial(broken_draw_readings, draws=cut_tails),
    "every draw twice": partial(broken_draw_readings, draws=repeat_each_draw),
    "a generator seeded anew at every call": partial(broken_draw_readings, draws=reseed_at_every_call),
    "draws in single precision": partial(broken_draw_readings, draws=round_to_single_precision),
    "half the noise": half_noise_in_draws,
}
