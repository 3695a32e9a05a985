"""Whole numbers from linear estimates that agree: they still add up, are in order, and none is negative.

Totals come first, then their parts, those of the longest window before shorter ones, then flows. Each step is bounded
by what stands already, in such a way that a later one always has a solution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dp.arrays import Floats, Integers
from dp.intervals.cell_agreement import SIGNS, GroupNumbers
from dp.intervals.consistency import project, whole_numbers
from dp.intervals.measured import MeasuredGroup
from dp.intervals.whole_parts import AnyNumbers, whole_parts
from dp.questions import Breakdown


@dataclass(frozen=True, eq=False)
class LinearGroup:
    """Linear estimates of a group with their standard deviations.

    Attributes:
        estimates: of the ticks that are published.
        deviations: of the same shapes.
    """

    estimates: GroupNumbers
    deviations: GroupNumbers


@dataclass(frozen=True, eq=False)
class LinearCell:
    """The estimates of one window or calendar cell before they are rounded.

    Attributes:
        measured: the groups.
        groups: what is estimated of each.
        total: what is estimated of the total, measured or not; None where no group adds up to it.
    """

    measured: tuple[MeasuredGroup, ...]
    groups: tuple[LinearGroup, ...]
    total: LinearGroup | None

    @property
    def counted(self) -> bool:
        """Whether counts were measured that add up to a total."""
        return any(group.counts is not None and group.adds_up for group in self.measured)


@dataclass(frozen=True, eq=False)
class WholeNumbers:
    """The whole numbers of one group; None where they were not measured.

    Attributes:
        counts: shape (…, segments, ticks); other axes are trials.
        flows: shape (…, 3, segments, ticks).
    """

    counts: Integers | None
    flows: Integers | None


ByBreakdown = Mapping[Breakdown | None, Integers]
"""Whole counts of the segments of each breakdown, shape (…, segments, ticks); under None those of the total."""


def round_cells(cells: Sequence[LinearCell]) -> list[list[WholeNumbers]]:
    """The whole numbers of every group of every cell.

    Args:
        cells: those whose counts are in order, the shortest window first; a calendar cell stands alone.
    """
    totals = _totals(cells)
    counts: list[dict[Breakdown | None, Integers]] = [{} for _ in cells]
    for breakdown in dict.fromkeys(group.breakdown for cell in cells for group in cell.measured):
        for place, whole in _segments(cells, breakdown, totals).items():
            counts[place][breakdown] = whole
    return [
        [
            WholeNumbers(own.get(group.breakdown), flows)
            for group, flows in zip(cell.measured, _cell_flows(cell, own, totals.get(place)), strict=True)
        ]
        for place, (cell, own) in enumerate(zip(cells, counts, strict=True))
    ]


def _totals(cells: Sequence[LinearCell]) -> dict[int, Integers]:
    """Place of a cell → its total, shape (…, 1, ticks); only of cells whose counts add up to one."""
    there = {place: cell.total for place, cell in enumerate(cells) if cell.counted and cell.total is not None}
    return {place: whole_numbers(counts) for place, counts in _in_order(there).items()}


def _segments(
    cells: Sequence[LinearCell], breakdown: Breakdown | None, totals: Mapping[int, Integers]
) -> dict[int, Integers]:
    """Place of a cell → the counts of a breakdown, shape (…, segments, ticks)."""
    there = {
        place: (group, linear)
        for place, cell in enumerate(cells)
        for group, linear in zip(cell.measured, cell.groups, strict=True)
        if group.breakdown == breakdown and group.counts is not None
    }
    ordered = _in_order({place: linear for place, (_, linear) in there.items()})
    found: dict[int, Integers] = {}
    most = np.array(np.inf)
    for place in sorted(there, reverse=True):
        if there[place][0].adds_up:
            found[place] = _parts(ordered[place], totals[place], np.zeros(1), most)
            most = found[place].astype(np.float64)
        else:
            found[place] = whole_numbers(ordered[place])
    return found


def _in_order(linear: Mapping[int, LinearGroup]) -> dict[int, Floats]:
    """The counts of some cells, moved so that they never fall from a cell to the next and are not negative."""
    if not linear:
        return {}
    estimates = np.stack([each.estimates.counts for each in linear.values()], axis=-1)
    deviations = np.stack([each.deviations.counts for each in linear.values()], axis=-1)
    return dict(zip(linear, np.moveaxis(project(estimates, deviations), -1, 0), strict=True))


def _cell_flows(cell: LinearCell, counts: ByBreakdown, total: Integers | None) -> list[Integers | None]:
    """The flows of every group, shape (…, 3, segments, ticks) each."""
    adding = [group for group in cell.measured if group.flows_add_up]
    shared = None
    if adding and cell.total is not None:
        changes = [_change(counts[group.breakdown]) for group in adding if group.breakdown in counts]
        least = np.max([np.maximum(-change, 0).sum(axis=-2, keepdims=True) for change in changes] or [0], axis=0)
        shared = _flows(cell.total.estimates.flows, total, least)
    return [
        _group_flows(group, linear.estimates.flows, counts.get(group.breakdown), shared)
        for group, linear in zip(cell.measured, cell.groups, strict=True)
    ]


def _group_flows(
    group: MeasuredGroup, flows: Floats, counts: Integers | None, shared: Integers | None
) -> Integers | None:
    if group.flows is None:
        return None
    if shared is None or not group.flows_add_up:
        return _flows(flows, counts, np.zeros(1))
    if counts is None:
        return _parts(flows, shared, np.zeros(1), np.array(np.inf))
    return _table(flows, counts, shared)


def _flows(flows: Floats, counts: Integers | None, least: Integers | Floats) -> Integers:
    """Whole flows that add up to the change of whole counts.

    Args:
        flows: shape (…, 3, segments, ticks).
        counts: shape (…, segments, ticks); None where nothing is known of them.
        least: as many are gone at least, a shape that broadcasts to that of the counts.
    """
    if counts is None:
        return whole_numbers(np.maximum(flows, 0.0))
    nobody, everybody = np.zeros(counts.shape), np.full(counts.shape, np.inf)
    # As new + returning + (−gone); whoever is gone was there before.
    new, returning, gone = np.moveaxis(flows, -3, 0)
    signed = np.stack([new, returning, -gone], axis=-1)
    low = np.stack([nobody, nobody, -_before(counts)], axis=-1)
    high = np.stack([everybody, everybody, -np.broadcast_to(least, counts.shape)], axis=-1)
    whole = whole_parts(signed, _change(counts), low, high) * SIGNS.ravel().astype(np.int64)
    return np.moveaxis(whole, -1, -3)


def _table(flows: Floats, counts: Integers, total: Integers) -> Integers:
    """Whole flows of segments that add up to the change of each segment, and each flow to that of the total.

    First who is gone, then who is new among those who came; who is left over came back.
    """
    change = _change(counts)
    new, returning, gone = np.moveaxis(flows, -3, 0)
    slack = new + returning - gone - change
    left = _parts(gone + slack / 3, total[..., 2, :, :], np.maximum(-change, 0), _before(counts))
    came = change + left
    first = _parts((new + came - returning) / 2, total[..., 0, :, :], np.zeros(1), came)
    return np.stack([first, came - first, left], axis=-3)


def _parts(estimates: Floats, total: Integers, low: AnyNumbers, high: AnyNumbers) -> Integers:
    """`whole_parts` where segments are the last axis but one, and the total has one."""
    least, most = (np.swapaxes(np.broadcast_to(ends, estimates.shape), -1, -2) for ends in (low, high))
    return np.swapaxes(whole_parts(np.swapaxes(estimates, -1, -2), total[..., 0, :], least, most), -1, -2)


def _change(counts: Integers) -> Integers:
    return np.diff(counts, axis=-1, prepend=0)


def _before(counts: Integers) -> Integers:
    return counts - _change(counts)
