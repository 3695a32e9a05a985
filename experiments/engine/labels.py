"""What is written into figures: places of labels at the ends of curves, letters of panels, plain numbers on axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_lowercase
from typing import TYPE_CHECKING

from experiments.engine.numbers import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


def spread(heights: Sequence[float], room: float) -> list[float]:
    """Ascending heights moved apart until neighbours are at least `room` apart, their groups kept in place."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _bottom(groups[-1], room) < _bottom(groups[-2], room) + room * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_bottom(group, room) + room * place for group in groups for place in range(len(group))]


def letter_panels(panels: Iterable[Axes]) -> None:
    """Put a bold a, b, c … before the left title of each panel, if there are several."""
    panels = list(panels)
    if len(panels) < 2:
        return
    for letter, panel in zip(ascii_lowercase, panels, strict=False):
        panel.set_title(f"$\\mathbf{{{letter}}}$   {panel.get_title(loc='left')}", loc="left")


def plain_ticks(axis: Axis, places: Sequence[float] | None = None) -> None:
    """Plain numbers on an axis, at the given places alone if there are any."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    if places is not None:
        axis.set_ticks(places)
    axis.set_major_formatter(FuncFormatter(lambda value, position: signed(value)))
    axis.set_minor_locator(NullLocator())


def _bottom(group: Sequence[float], room: float) -> float:
    return sum(group) / len(group) - room * (len(group) - 1) / 2
