"""The k-ary tree with subtraction: a prefix is the sum of some nodes less others, which may hold ticks yet to come.

Andersson, Pagh, Steiner, Torkamani, "Count on your elders: Laplace vs Gaussian noise", FORC 2025. The prefix of n ticks
is written in base k, odd, with digits from −h to h, h = (k − 1)/2. A positive digit adds so many of the first children
of a node, a negative one takes so many of the last away; the child in the middle is never used. So a release is the sum
of half as many draws as in a tree that only adds, and with Laplace noise, which is charged for every node that a flip
lies in, wide and flat trees are good.

A node may be used before its last tick, so nothing here measures and decodes: a release is the count plus the noise of
the nodes in use, and the noise is what a stream remembers (docs/guarantees.md, section 19).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from dp.arrays import Floats, Integers
from dp.mechanisms import independent, tree
from dp.mechanisms.linear import Strategy
from dp.mechanisms.protocol import GRID, State
from dp.mechanisms.together import advance_together
from dp.units import ProtectedClass

BRANCHINGS = range(3, 102, 2)
"""101 takes two levels to five thousand ticks, where three are as good."""
LONG_ENOUGH_TO_JUDGE = 4096


@dataclass(frozen=True)
class SubtractionTreeStrategy:
    """A release is the count plus the noise of the nodes in use, some of it with the opposite sign.

    The digit of k^i in n is d where round(n/k^i) leaves the remainder d. Each new value e of round(n/k^i) is an event
    of level i; k of them are a turn, in which the digit is 1, …, h, −h, …, 0. Noise is drawn ahead, so that each tick
    draws once, for the lowest level that does not go from h to −h: with each positive digit the node that h later
    events take away, and with each negative one the node that the next turn adds. In a level's first turn the nodes
    that it adds are drawn on the spot, besides.

    Attributes:
        branching: k.

    Raises:
        ValueError: `branching` is even, or below 3.
    """

    branching: int

    def __post_init__(self) -> None:
        if self.branching < 3 or self.branching % 2 == 0:
            raise ValueError(f"branching is {self.branching}; digits of both signs need an odd one, at least 3")

    run_together = advance_together

    def advance(self, state: State, count: int | Integers, noise: Integers | Floats) -> tuple[State, Floats]:
        """The count plus the noise in use; the secret is noise that is in use or drawn ahead, level by level.

        Raises:
            ValueError: the state does not hold the noise that it should, or there are too few or too many draws.
        """
        tick, secret, public = state
        half = self.branching // 2
        kept = secret if tick else secret.reshape(-1, *noise.shape[1:])
        levels, used, released = [], 0, np.asarray(GRID * count)
        for level in range(self._levels(tick + 1)):
            event, before = self._event(level, tick + 1), self._event(level, tick)
            own = kept[used : used + self._size(before)]
            used += self._size(before)
            place = (event - 1) % self.branching
            if event > before:
                own = self._after(event, own, noise)
            levels.append(own)
            in_use = own[: place + 1] if place < half else -own[: 2 * half - place]
            released = released + in_use.sum(axis=0)
        after = np.concatenate(levels)
        if used != len(kept) or len(after) != self.memory(tick):
            raise ValueError(
                f"at tick {tick} the state has {len(kept)} numbers and {len(noise)} are drawn; "
                f"{used} and {self.draws(tick, tick + 1)} are needed"
            )
        return State(tick + 1, after, public), np.asarray(released / GRID)

    def measurements(self, counts: Integers) -> Integers:
        """The change of the counts over the node of each draw, as far as it is known; nothing where it is not used."""
        ticks, half = len(counts), self.branching // 2
        exact = np.zeros(self.draws(0, ticks), dtype=np.int64)
        prefixes = np.concatenate([[0], counts])
        for level in range(self._levels(ticks)):
            size, events = self._node(level), self._event(level, ticks)
            for child, draws in zip((0, half + 1), self._draws_of(level, ticks), strict=True):
                turns, nodes = np.arange(len(draws))[:, np.newaxis] * self.branching, np.arange(half)
                starts = (turns + nodes + child) * size
                # Those that are added come into use one by one, those that are taken away all at once.
                first_used = turns + (np.full(half, half) if child else nodes) + 1
                held = (first_used <= events) & (starts < ticks)
                ends = np.minimum(starts + size, ticks)
                exact[draws[held]] = GRID * (prefixes[ends[held]] - prefixes[starts[held]])
        return exact

    def draws(self, start: int, stop: int) -> int:
        """One a tick, and one more for each of the first events of a level."""
        return self._drawn(stop) - self._drawn(start)

    def memory(self, tick: int) -> int:
        """The noise that is in use or drawn ahead, at most k − 1 numbers a level."""
        return sum(self._size(self._event(level, tick + 1)) for level in range(self._levels(tick + 1)))

    def decode(self, noise: Floats) -> Floats:
        """The noise in use at every tick, from the highest level down; (trials, T)."""
        half, drawn = self.branching // 2, noise.shape[1]
        ticks = bisect_left(range(drawn + 1), drawn, key=lambda stop: self.draws(0, stop))
        by_draw = np.ascontiguousarray(noise.T)
        # Of the prefixes that are so many whole nodes of a level.
        errors = np.zeros((1, len(noise)))
        for level in reversed(range(self._levels(ticks))):
            added, taken_away = self._draws_of(level, ticks)
            around = np.empty((len(errors), self.branching, len(noise)))
            around[:, half] = errors
            for digit in range(1, half + 1):
                around[:, half + digit] = around[:, half + digit - 1] + by_draw[added[:, digit - 1]]
                around[1:, half - digit] = around[1:, half - digit + 1] - by_draw[taken_away[:-1, half - digit]]
            errors = around.reshape(-1, len(noise))[half : half + self._event(level, ticks) + 1]
        return errors[1:].T

    def decoder_energy(self, horizon: int) -> Floats:
        """The sum of the sizes of the digits of t + 1, shape (horizon,)."""
        half, prefixes = self.branching // 2, np.arange(1, horizon + 1)
        digits = (self._events(level, prefixes) + half for level in range(self._levels(horizon)))
        return np.asarray(sum(np.abs(digit % self.branching - half) for digit in digits), dtype=np.float64)

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """The most nodes in use by the horizon with an odd number of flips, exactly.

        Raises:
            ValueError: the class has no horizon, so that the number of levels has no bound, or too long a one.
        """
        return float(most_odd_nodes(self.branching, tree.horizon_of(protected), protected))

    def touched(self, protected: ProtectedClass) -> int:
        """As many nodes as can be odd."""
        return int(self.sensitivity_squared(protected))

    def _node(self, level: int) -> int:
        """The ticks of a node."""
        return int(self.branching**level)

    def _event(self, level: int, prefix: int) -> int:
        """How many events of a level there are up to a prefix of so many ticks: round(n/k^i)."""
        return (prefix + self._node(level) // 2) // self._node(level)

    def _events(self, level: int, prefixes: Integers) -> Integers:
        """`_event` of many prefixes; of their shape."""
        return np.asarray((prefixes + self._node(level) // 2) // self._node(level))

    def _levels(self, prefix: int) -> int:
        """How many levels have had an event."""
        return next(level for level in range(prefix + 1) if not self._event(level, prefix))

    def _size(self, event: int) -> int:
        """How many numbers a level keeps after an event: what this turn adds, or takes away, or the next one adds."""
        half = self.branching // 2
        place = (event - 1) % self.branching
        return min(event, half) + (place + 1 if event and place < half else 0)

    def _after(self, event: int, own: Integers, noise: Integers | Floats) -> Integers:
        """What a level keeps after an event, with what was drawn for it; the nodes in use come first."""
        half, place = self.branching // 2, (event - 1) % self.branching
        if place < half:
            # Nodes to add and then nodes to take away.
            fresh = len(noise) - 1
            return np.concatenate([own[: len(own) - place], noise[:fresh], own[len(own) - place :], noise[fresh:]])
        # This level went from h to −h and draws nothing, or it drew what the next turn adds.
        return own[half:] if place == half else np.concatenate([own[1:], noise])

    def _drawn(self, prefix: int) -> int:
        """How many draws a prefix of so many ticks makes."""
        half = self.branching // 2
        return prefix + sum(min(self._event(level, prefix), half) for level in range(self._levels(prefix)))

    def _draws_of(self, level: int, ticks: int) -> tuple[Integers, Integers]:
        """Which draws are the nodes that each turn adds, and those that it takes away; shape (turns, h) each.

        Nodes that are not drawn by then have the number of the last draw, and the last turn may have none that is.
        """
        half, size = self.branching // 2, self._node(level)
        events = np.arange((self._event(level + 1, ticks) + 1) * self.branching) + 1
        # The lower levels draw nothing at the tick of an event.
        before = events * size - size // 2 - 1
        first = [np.minimum(self._events(each, before), half) for each in range(self._levels(int(before[-1])))]
        at = (before + np.sum(first, axis=0, dtype=np.int64)).reshape(-1, self.branching)
        added = np.concatenate([at[:1, :half], at[:-1, half + 1 :]])
        taken_away = at[:, :half].copy()
        taken_away[:1] += 1
        last = self.draws(0, ticks) - 1
        return np.minimum(added, last), np.minimum(taken_away, last)


def strategy(protected: ProtectedClass) -> Strategy:
    """The branching with the smallest mean squared error under Laplace noise, or no tree where that is better.

    Of a class whose hull is short against a long horizon, only the beginning is looked at.

    Raises:
        ValueError: the class has no horizon, or too long a one.
    """
    horizon = tree.horizon_of(protected)
    if protected.hull < horizon:
        horizon = max(min(horizon, LONG_ENOUGH_TO_JUDGE), protected.hull)
        protected = replace(protected, horizon=horizon)

    def error(candidate: Strategy) -> float:
        return candidate.sensitivity_squared(protected) ** 2 * float(candidate.decoder_energy(horizon).mean())

    # The first of equals: independent noise remembers nothing.
    candidates: list[Strategy] = [independent.strategy(protected), *map(SubtractionTreeStrategy, BRANCHINGS)]
    return min(candidates, key=error)


@lru_cache(maxsize=64)
def most_odd_nodes(branching: int, horizon: int, protected: ProtectedClass) -> int:
    """The most nodes in use by the horizon with an odd number of flips, over one protected change, exactly.

    As of `tree.most_odd_in_class`: the last hull holds any number of flips, every other an even one, so that no node
    around it counts.
    """
    flips, last = 2 * protected.runs - int(protected.open_ended), horizon - protected.hull
    top = 0
    while branching**top <= 2 * horizon:
        top += 1
    best = max(_most_odd(branching, top, last, horizon, horizon, flips))
    for start in range(last):
        best = max(best, *_most_odd(branching, top, start, start + protected.hull + 1, horizon, flips)[::2])
    return best


@lru_cache(maxsize=2**16)
def _most_odd(branching: int, level: int, low: int, high: int, left: int, flips: int) -> tree.Best:
    """The most odd nodes below a node, for 0, 1, … flips at ticks in [low, high), both counted from its first tick.

    Args:
        left: ticks from the node's first one to the horizon, which decide what is in use; at most its own ticks.
    """
    if not level:
        return (0, 0) if low < high else (0,)
    size, half = int(branching ** (level - 1)), branching // 2
    whole: tree.Best = (0,)
    for child in range(low // size, -(-high // size)):
        start = child * size
        entry = _most_odd(
            branching, level - 1, max(low - start, 0), min(high - start, size), min(left - start, size), flips
        )
        # A child that is added is in use from its own middle on, one that is taken away from its parent's.
        used = 2 * (left - start) > size if child < half else child > half and 2 * left > branching * size
        whole = tree.combined(whole, tree.counted(entry) if used else entry, flips)
    return whole
