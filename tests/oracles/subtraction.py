"""The k-ary tree with subtraction by the digits of every prefix: slow twins of `dp.mechanisms.subtraction_tree`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dp.arrays import Floats


class Node(NamedTuple):
    """The ticks from `start` to `stop` − 1."""

    start: int
    stop: int


def balanced_digits(prefix: int, branching: int) -> list[int]:
    """Digits d from −h to h with prefix = Σ d k^i, the lowest first."""
    half, digits = branching // 2, []
    while prefix:
        digit = (prefix + half) % branching - half
        digits.append(digit)
        prefix = (prefix - digit) // branching
    return digits


def nodes_in_use(prefix: int, branching: int) -> dict[Node, int]:
    """The nodes whose noise a release has, with signs: steps from the highest digit on, back where it is negative."""
    place, signs = 0, {}
    for level, digit in reversed(list(enumerate(balanced_digits(prefix, branching)))):
        size = branching**level
        for _ in range(abs(digit)):
            after = place + size if digit > 0 else place - size
            signs[Node(min(place, after), max(place, after))] = 1 if digit > 0 else -1
            place = after
    assert place == prefix
    return signs


def nodes_in_draw_order(branching: int, ticks: int) -> list[Node]:
    """The node of each draw: at each tick of the lowest level whose digit does not go from h to −h."""
    half, found = branching // 2, []
    for prefix in range(1, ticks + 1):
        before, after = balanced_digits(prefix - 1, branching), balanced_digits(prefix, branching)
        level = 0
        while after[level] == -half and (before[level] if level < len(before) else 0) == half:
            level += 1
        size, digit = branching**level, after[level]
        # Where the node of that level begins whose children these are.
        above = sum(d * branching**i for i, d in enumerate(after) if i > level)
        if digit > 0:
            if above == 0:
                found.append(Node((digit - 1) * size, digit * size))
            found.append(Node(above + (half + digit) * size, above + (half + digit + 1) * size))
        else:
            # What the next turn adds begins where this one ends.
            found.append(Node(above + (half + digit - 1) * size, above + (half + digit) * size))
    return found


def encoder(branching: int, ticks: int) -> Floats:
    """B⁻¹: the change over the node of each draw, where it is in use by then; shape (draws, ticks)."""
    used = {node for prefix in range(1, ticks + 1) for node in nodes_in_use(prefix, branching)}
    nodes = nodes_in_draw_order(branching, ticks)
    matrix = np.zeros((len(nodes), ticks))
    for row, node in zip(matrix, nodes, strict=True):
        if node in used and node.start < ticks:
            row[min(node.stop, ticks) - 1] += 1
            if node.start:
                row[node.start - 1] -= 1
    return matrix


def decoder(branching: int, ticks: int) -> Floats:
    """B: the sign of each draw's noise in each release; shape (ticks, draws)."""
    nodes = nodes_in_draw_order(branching, ticks)
    place = {node: draw for draw, node in enumerate(nodes)}
    assert len(place) == len(nodes)
    matrix = np.zeros((ticks, len(nodes)))
    for row, prefix in zip(matrix, range(1, ticks + 1), strict=True):
        for node, sign in nodes_in_use(prefix, branching).items():
            row[place[node]] = sign
    return matrix
