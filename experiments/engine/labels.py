"""Places of labels at the ends of curves."""

from __future__ import annotations

from collections.abc import Sequence


def spread(heights: Sequence[float], room: float) -> list[float]:
    """Ascending heights moved apart until neighbours are at least `room` apart, their groups kept in place."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _bottom(groups[-1], room) < _bottom(groups[-2], room) + room * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_bottom(group, room) + room * place for group in groups for place in range(len(group))]


def _bottom(group: Sequence[float], room: float) -> float:
    return sum(group) / len(group) - room * (len(group) - 1) / 2
