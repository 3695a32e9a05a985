"""A user comes and goes as often as possible, and has everything erased in between to be forgotten and begin anew.

They win if restarts, compactions or a change of salts let the counts show more than W_BOUND changes of their presence,
move what is measured by more than the noise is scaled to, or let somebody who is frozen thaw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, cast

import numpy as np

from dp.accounting.composition import Guarantee
from dp.arrays import Integers
from dp.auditing.attacks.change import measured_over_certified
from dp.auditing.attacks.logs import FIRST, LogRow, crowd, day, log_of_rows
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.counts import Counts
from dp.log import Log, read_log, write_canonical
from dp.mechanisms import EMPTY_STATE, LinearDesign, LinearMechanism, linear_design
from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy
from dp.mechanisms.adaptive_flippancy_design import rising_bounds
from dp.presence import NumpyEngine, Tombstones, compact
from dp.release import Request, Sample, plan_release
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.keys import keys_of
from dp.sketches.salts import Salt, Salts
from dp.sketches.sampling import counts_of_sample
from dp.units import protected_class

CRITERION = (
    "the user flips at most W_BOUND times in the counts, also in those of every level of adaptive-flippancy, where a "
    "frozen user stays frozen, and ‖B⁻¹Δ‖ is at most what the certificate says"
)

TICKS = 24
LAST = day(TICKS - 1)
WINDOWS = (1, 7)
BOUNDS = (2, 6)
USERS = 20
ATTACKER = "mallory"
TARGET_MECHANISMS = ("laplace", "binary-tree", "damped-square-root", "buffered-toeplitz", "optimal")
STAYS = ((2, 2), (1, 1), (1, 3), (6, 4))
"""Days active and days erased, alternately."""
RATE = 0.5

LEVELS = rising_bounds(TICKS)
"""W_BOUND of every level of adaptive-flippancy."""

CountsByWindow = Mapping[Any, Integers]
"""By W_BOUND and window, or by window: the counts of all ticks, shape (TICKS,) or (TICKS, columns)."""
CountQuery = Callable[[Log, Tombstones | None, bytes], CountsByWindow]
"""Counts a log whose erased users left tombstones, which a key makes."""


def counts_of(log: Log, tombstones: Tombstones | None, key: bytes) -> CountsByWindow:
    """What the presence query counts, with every bound and window."""
    return {asked: counts.values for asked, counts in _counted(log, tombstones, key).items()}


def _counted(log: Log, tombstones: Tombstones | None, key: bytes) -> dict[tuple[int, int], Counts]:
    engine = NumpyEngine(log.connection, tombstones, key)
    found = {w_bound: engine.daily_flips(WINDOWS, FIRST, LAST, w_bound) for w_bound in BOUNDS}
    return {(w_bound, window): found[w_bound][window].counts for w_bound in BOUNDS for window in WINDOWS}


def level_counts(log: Log, tombstones: Tombstones | None, key: bytes) -> CountsByWindow:
    """What the query counts for adaptive-flippancy: users present and users frozen, for every level."""
    found = NumpyEngine(log.connection, tombstones, key).bounded_counts(WINDOWS, FIRST, LAST, LEVELS)
    return {window: counts.values for window, counts in found.items()}


def sampled_counts(salts: Salts) -> CountQuery:
    """`counts_of` for the sample that the salts choose."""

    def count(log: Log, tombstones: Tombstones | None, key: bytes) -> CountsByWindow:
        def of_part(part: Log) -> dict[str, Counts]:
            return {" ".join(map(str, asked)): series for asked, series in _counted(part, tombstones, key).items()}

        counts = counts_of_sample(log, FixedRate(RATE), salts, FIRST, LAST, of_part)
        return {(w_bound, window): counts[f"{w_bound} {window}"].values for w_bound in BOUNDS for window in WINDOWS}

    return count


def counts_with_restarts(
    log: Log, stops: Iterable[int], setting: Setting, remember: bool, count: CountQuery = counts_of
) -> CountsByWindow:
    """The counts of a log that is compacted, stored and opened again at the end of each of the ticks `stops`.

    Args:
        log: will be closed.
        remember: whether tombstones outlive a compaction.
    """
    key = setting.generator.bytes(16)
    tombstones: Tombstones | None = None
    pieces, begin = [], 0
    for stop in stops:
        pieces.append(_slice_ticks(count(log, tombstones, key), begin, stop + 1))
        begin = stop + 1
        path = setting.new_folder() / "log.parquet"
        with log:
            smaller, left = compact(log, day(stop), {FIRST: WINDOWS}, key, tombstones)
        with smaller:
            write_canonical(smaller, path)
        log, tombstones = read_log(path), left if remember else None
    with log:
        pieces.append(_slice_ticks(count(log, tombstones, key), begin, TICKS))
    return {asked: np.concatenate([piece[asked] for piece in pieces]) for asked in pieces[0]}


def _slice_ticks(counts: CountsByWindow, begin: int, end: int) -> CountsByWindow:
    return {asked: series[begin:end] for asked, series in counts.items()}


def come_and_go(active: int, erased: int, op: str = "erase") -> list[LogRow]:
    """A user who is active for some days, takes all of it back, stays away, and comes again."""
    operations = []
    for begin in range(0, TICKS, active + erased):
        days = range(begin, min(begin + active, TICKS))
        operations += [LogRow(ATTACKER, number, "+", number) for number in days]
        if begin + active < TICKS:
            taken = days if op == "-" else [begin + active]
            operations += [LogRow(ATTACKER, number, op, begin + active) for number in taken]
    return operations


def _compare(with_user: CountsByWindow, without_user: CountsByWindow, mechanisms: Sequence[str]) -> dict[str, float]:
    """The worst over bounds and windows: flips of the user, and the change in proportion to each certificate."""
    designs = {
        (name, w_bound): linear_design(name, protected_class("user", 1, w_bound, TICKS))
        for name in mechanisms
        for w_bound in BOUNDS
    }
    pairs = [(w_bound, series, without_user[w_bound, window]) for (w_bound, window), series in with_user.items()]
    flips = max(np.abs(np.diff(mine - others, prepend=0)).sum() / w_bound for w_bound, mine, others in pairs)
    changes = {
        name: max(measured_over_certified(designs[name, w_bound], mine, others) for w_bound, mine, others in pairs)
        for name in mechanisms
    }
    return {
        "flips of the user in the counts, per W_BOUND": float(flips),
        **{f"change of the measurements over the certificate, {name}": ratio for name, ratio in changes.items()},
    }


def _worst(found: Sequence[dict[str, float]]) -> tuple[Observation, ...]:
    # What is measured and its bound may be sums of the same floats in another order.
    return tuple(Observation(what, round(max(one[what] for one in found), 9), 1) for what in found[0])


def _mechanisms(setting: Setting) -> Sequence[str]:
    return TARGET_MECHANISMS[:3] if setting.quick else TARGET_MECHANISMS


def attack(setting: Setting, remember: bool) -> list[dict[str, float]]:
    """Flip-flop by retractions; delete and rejoin; and the same with a compaction and a restart at every erasure."""
    others = crowd(USERS, TICKS, setting.generator)
    without_user = counts_with_restarts(log_of_rows(others, setting.new_folder()), (), setting, remember)
    found = []
    for active, erased in STAYS[: setting.trials(1, len(STAYS))]:
        for op, compactions in (("-", ()), ("erase", ()), ("erase", _erasures(active, erased))):
            log = log_of_rows(others + come_and_go(active, erased, op), setting.new_folder())
            found.append(
                _compare(counts_with_restarts(log, compactions, setting, remember), without_user, _mechanisms(setting))
            )
    return found


def _erasures(active: int, erased: int) -> Sequence[int]:
    """The ticks at which `come_and_go` erases."""
    return range(active, TICKS - 1, active + erased)


def rotate_salts(
    setting: Setting, changes: Sequence[int], stays: Iterable[tuple[int, int]], remember: bool | None = None
) -> list[dict[str, float]]:
    """What a user achieves who knows the salts, and is in all samples, or alternately in one and not in the next.

    Args:
        remember: compact the log and start again at every third erasure, with tombstones or without; None for neither.
    """
    firsts = (date.min, *map(day, changes))
    salts = Salts(tuple((first, Salt(setting.generator.bytes(16))) for first in firsts))
    others = crowd(USERS, TICKS, setting.generator)

    def sampled(operations: Iterable[LogRow], compactions: Iterable[int]) -> CountsByWindow:
        log = log_of_rows(operations, setting.new_folder())
        return counts_with_restarts(log, compactions, setting, bool(remember), sampled_counts(salts))

    without_user = sampled(others, ())
    found = []
    for active, erased in stays:
        compactions = () if remember is None else _erasures(active, erased)[::3]
        for kept in ((True, True), (True, False), (False, True)):
            user = _in_samples(salts, kept)
            mine = [operation._replace(user=user) for operation in come_and_go(active, erased)]
            found.append(_compare(sampled(others + mine, compactions), without_user, _mechanisms(setting)))
    return found


def _in_samples(salts: Salts, kept: tuple[bool, bool]) -> str:
    """An id that is in the samples that `kept` says, whose two values hold alternately."""
    candidates = [f"{ATTACKER} {number}" for number in range(4096)]
    fits = np.ones(len(candidates), dtype=bool)
    for number, (_, salt) in enumerate(salts.periods):
        fits &= FixedRate(RATE).chosen(keys_of(candidates, salt.key)) == kept[number % 2]
    return candidates[int(np.flatnonzero(fits)[0])]


def level_readings(setting: Setting, remember: bool) -> tuple[Observation, ...]:
    """The counts of adaptive-flippancy, level by level, of a user who is erased and comes back all the time.

    The log is compacted and opened again after every third erasure, when the lowest level has frozen the user. A level
    may begin at any tick, and measures from there on; what is read is the worst beginning.
    """
    others = crowd(USERS, TICKS, setting.generator)
    without_user = counts_with_restarts(log_of_rows(others, setting.new_folder()), (), setting, remember, level_counts)
    mechanism = _adaptive_flippancy()
    designs = [_design(level) for level in mechanism.levels]
    flips, changes, freezes, thaws, refused = 0.0, 0.0, 0, 0, 0
    for active, erased in STAYS[: setting.trials(1, len(STAYS))]:
        for compactions in ((), _erasures(active, erased)[2::3]):
            log = log_of_rows(others + come_and_go(active, erased), setting.new_folder())
            with_user = counts_with_restarts(log, compactions, setting, remember, level_counts)
            for window in WINDOWS:
                counts, known = with_user[window], without_user[window]
                change = np.diff(counts - known, axis=0, prepend=0)
                flips = max(flips, float((np.abs(change[:, ::2]).sum(axis=0) / LEVELS).max()))
                freezes = max(freezes, int(np.abs(change[:, 1::2]).sum(axis=0).max()))
                thaws += int(np.count_nonzero(np.diff(counts[:, 1::2], axis=0) < 0))
                refused += _refuses(mechanism, counts)
                changes = max(
                    changes,
                    *(measured_over_certified(design, counts[start:, 2 * level], known[start:, 2 * level])
                      for level, design in enumerate(designs) for start in range(TICKS)),
                )  # fmt: skip
    name = "adaptive-flippancy"
    return (
        Observation(f"{name}: flips of the user in the counts of a level, per its W_BOUND", flips, 1),
        Observation(f"{name}: how often the user changed the number of frozen users of a level", freezes, 1),
        Observation(f"{name}: levels and ticks at which frozen users became fewer", thaws, 0),
        Observation(f"{name}: series that the mechanism refused", refused, 0),
        # What is measured and its bound may be sums of the same floats in another order.
        Observation(f"{name}: change of the measurements over the certificate of the level", round(changes, 9), 1),
    )


def _adaptive_flippancy() -> AdaptiveFlippancy:
    """Adaptive-flippancy as a release calibrates it."""
    request = Request({"dau": 1}, "user", 2, Guarantee(1.0, 1e-6), "adaptive-flippancy", FIRST, TICKS, {"dau": 1.0})
    return cast(AdaptiveFlippancy, plan_release(request).series[0].mechanism)


def _design(level: LinearMechanism) -> LinearDesign:
    return LinearDesign(level.name, "gaussian", level.strategy, level.sensitivity, level.touched)


def _refuses(mechanism: AdaptiveFlippancy, counts: Integers) -> bool:
    try:
        mechanism.run(EMPTY_STATE, counts, lambda noise, size: np.zeros(size, dtype=np.int64), 0.95)
    except ValueError:
        return True
    return False


ALWAYS_ACTIVE = (TICKS, 0)


def ours(setting: Setting) -> tuple[Observation, ...]:
    """The presence query with tombstones, and the sample with the one change of salts that a release allows."""
    stays = (ALWAYS_ACTIVE,) if setting.quick else (ALWAYS_ACTIVE, *STAYS)
    rotated = rotate_salts(setting, (TICKS // 2,), stays)
    return (
        *_worst(attack(setting, remember=True)),
        *_prefix_readings("with a change of salts", rotated),
        *_salts_and_compactions(setting, remember=True),
        Observation("releases with two changes of salts that were let through", _accepted_rotations(), 0),
        *level_readings(setting, remember=True),
    )


def _prefix_readings(when: str, found: Sequence[dict[str, float]]) -> list[Observation]:
    return [replace(reading, what=f"{when}: {reading.what}") for reading in _worst(found)]


def _salts_and_compactions(setting: Setting, remember: bool) -> list[Observation]:
    stays = STAYS[: setting.trials(1, len(STAYS))]
    return _prefix_readings(
        "with a change of salts and compactions", rotate_salts(setting, (TICKS // 2,), stays, remember)
    )


def _accepted_rotations() -> int:
    sample = Sample(RATE, "a1b2c3d4", ((8, "second"), (16, "third")))
    request = Request(
        {"dau": 1}, "user", 2, Guarantee(1.0, 1e-6), "damped-square-root", FIRST, TICKS, {"dau": 1.0},
        sketch="fixed-rate", sample=sample,
    )  # fmt: skip
    try:
        plan_release(request)
    except ValueError:
        return 0
    return 1


def forget_flips(setting: Setting) -> tuple[Observation, ...]:
    """Compaction without tombstones: an erasure resets the counter of flips."""
    return (*_worst(attack(setting, remember=False)), *_salts_and_compactions(setting, remember=False))


def thaw(setting: Setting) -> tuple[Observation, ...]:
    """Adaptive-flippancy on such counts: who was frozen thaws with an erasure."""
    return level_readings(setting, remember=False)


def two_rotations(setting: Setting) -> tuple[Observation, ...]:
    """A sample whose salts change twice: who is in it, out of it and in it again flips beyond W_BOUND."""
    return _worst(rotate_salts(setting, (8, 16), [ALWAYS_ACTIVE]))


TARGETS: dict[str, Target] = {
    OURS: ours,
    "a counter of flips that erasure resets": forget_flips,
    "frozen users who thaw after an erasure": thaw,
    "two changes of salts": two_rotations,
}
