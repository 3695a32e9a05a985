"""The best linear estimates of the measured questions about one window or cell, subject to what holds of true counts.

At every tick the segments of a partition add up to the total, and new + returning − gone is the change of the count, in
every segment. Each question's series err alike and independently, so the problem falls into parts that are solved one
by one. The total is the fusion of all that measures it: itself, sums of segments, running sums of flows. Segments are
fused from their own measurements and moved by equal parts to the total. Flows are moved by equal parts to the change of
what is published. All of it is linear in the measurements, so every standard deviation is exact.
It is computed from published numbers and public parameters and costs no privacy.
Proofs: docs/guarantees.md, "numbers that agree".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dp.arrays import Floats
from dp.intervals.error_covariance import ErrorCovariance
from dp.intervals.fusion import Fusion, fuse
from dp.intervals.measured import FLOW_SIGNS, MeasuredGroup

SIGNS = np.array(FLOW_SIGNS).reshape(3, 1, 1)


@dataclass(frozen=True, eq=False)
class GroupNumbers:
    """Linear estimates of one group, or their standard deviations.

    Attributes:
        counts: shape (…, segments, ticks); other axes are trials.
        flows: new, returning, gone; shape (…, 3, segments, ticks). Without meaning where no flows were measured.
    """

    counts: Floats
    flows: Floats


@dataclass(frozen=True)
class Summand:
    """One measurement's part in one of the series that a total is fused from.

    Attributes:
        group: whose segments are summed.
        observation: which of the group's observations.
        weight: the weights of one series add up to 1.
    """

    group: int
    observation: int
    weight: float


@dataclass(frozen=True, eq=False)
class CellAgreement:
    """How the measurements of one window or calendar cell are brought into agreement.

    Attributes:
        groups: the breakdowns, and the undivided users where they were measured.
        own: of each group, the fusion of a segment's own measurements.
        total: the fusion of all that measures the total; None where no group adds up to it.
        summands: of each series that `total` fuses, what it is made of.
    """

    groups: tuple[MeasuredGroup, ...]
    own: tuple[Fusion, ...]
    total: Fusion | None
    summands: tuple[tuple[Summand, ...], ...]

    def estimates(self, measured: Mapping[str, Floats]) -> tuple[GroupNumbers | None, list[GroupNumbers]]:
        """The total, None where no group adds up to it, and the groups.

        Args:
            measured: name of a question → released estimates, shape (…, series, ticks), in the order of its series.
        """
        flows = [_flows(group, measured) for group in self.groups]
        observed = [_observed(group, each, measured) for group, each in zip(self.groups, flows, strict=True)]
        counts = [fusion.estimates(each) for fusion, each in zip(self.own, observed, strict=True)]
        # What flows say beyond the change; the change is that of the counts.
        beyond = [each - _equally(_change(each)) for each in flows]
        if self.total is None:
            return None, [_numbers(*each) for each in zip(counts, beyond, strict=True)]
        sums = [
            sum(summand.weight * observed[summand.group][summand.observation].sum(axis=-2) for summand in summands)
            for summands in self.summands
        ]
        total = self.total.estimates(np.array(sums))[..., np.newaxis, :]
        sides = zip(self._flow_weights, beyond, strict=True)
        total_beyond = np.asarray(sum(weight * each.sum(axis=-2, keepdims=True) for weight, each in sides))
        return _numbers(total, total_beyond), [
            _numbers(
                _moved(own, total) if group.adds_up else own,
                _moved(flow, total_beyond) if group.flows_add_up else flow,
            )
            for group, own, flow in zip(self.groups, counts, beyond, strict=True)
        ]

    def deviations(self) -> tuple[GroupNumbers | None, list[GroupNumbers]]:
        """The standard deviations of `estimates`, for all ticks."""
        flow = sum(
            weight**2 * group.segments * group.flow_variance
            for weight, group in zip(self._flow_weights, self.groups, strict=True)
        )
        found = []
        for group, own in zip(self.groups, self.own, strict=True):
            count, change, beyond = own.variances, own.change_variances, group.flow_variance
            if group.adds_up and self.total is not None:
                count = _moved_variance(count, self.total.variances, group.segments)
                change = _moved_variance(change, self.total.change_variances, group.segments)
            if group.flows_add_up:
                beyond = beyond * (1 - 1 / group.segments) + flow / group.segments**2
            found.append(_deviations(count, change, beyond, group.segments))
        if self.total is None:
            return None, found
        return _deviations(self.total.variances, self.total.change_variances, flow, 1), found

    @property
    def _flow_weights(self) -> list[float]:
        """The part of each group's sums in the flows of the total: the smaller their noise, the larger."""
        precisions = [
            1 / (group.segments * group.flow_variance) if group.flows_add_up else 0.0 for group in self.groups
        ]
        return [precision / (sum(precisions) or 1.0) for precision in precisions]


def agree_cell(groups: Sequence[MeasuredGroup]) -> CellAgreement:
    """How these measurements of one window or calendar cell are brought into agreement."""
    series: list[tuple[ErrorCovariance, list[Summand]]] = []
    for place, group in enumerate(groups):
        for observation, covariance in enumerate(group.observations if group.adds_up else ()):
            _add(series, covariance.times(group.segments), Summand(place, observation, 1.0))
    # The first is what the others correct: a sum of flows errs more and more.
    series.sort(key=lambda one: float(one[0].lagged[0, -1]))
    return CellAgreement(
        tuple(groups),
        tuple(fuse(group.observations) for group in groups),
        fuse([covariance for covariance, _ in series]) if series else None,
        tuple(tuple(summands) for _, summands in series),
    )


def _add(series: list[tuple[ErrorCovariance, list[Summand]]], covariance: ErrorCovariance, summand: Summand) -> None:
    """Measurements whose covariances are multiples of each other become their weighted mean, which loses nothing."""
    for place, (known, summands) in enumerate(series):
        ratio = covariance.ratio(known)
        if ratio is not None:
            weight = 1 / (1 + ratio)
            kept = [Summand(one.group, one.observation, one.weight * (1 - weight)) for one in summands]
            mixed = [*kept, Summand(summand.group, summand.observation, weight)]
            series[place] = known.times(ratio / (1 + ratio)), mixed
            return
    series.append((covariance, [summand]))


def _flows(group: MeasuredGroup, measured: Mapping[str, Floats]) -> Floats:
    series = measured[group.questions[-1].question.name]
    *trials, _, ticks = series.shape
    shape = (*trials, 3, group.segments, ticks)
    return np.zeros(shape) if group.flows is None else series.reshape(shape)


def _observed(group: MeasuredGroup, flows: Floats, measured: Mapping[str, Floats]) -> Floats:
    """The measurements of the counts, shape (observations, …, segments, ticks)."""
    return np.array(
        [
            measured[one.question.name] if one is group.counts else np.cumsum(_change(flows), axis=-1)
            for one in group.questions
        ]
    )


def _change(flows: Floats) -> Floats:
    """New + returning − gone, shape (…, segments, ticks)."""
    return np.asarray((SIGNS * flows).sum(axis=-3))


def _equally(change: Floats) -> Floats:
    """The flows that make up a change by equal parts, shape (…, 3, segments, ticks)."""
    return np.asarray(SIGNS * change[..., np.newaxis, :, :] / 3)


def _moved(parts: Floats, total: Floats) -> Floats:
    """Parts moved equally so that they add up to the total.

    Args:
        parts: shape (…, segments, ticks).
        total: shape (…, 1, ticks).
    """
    return np.asarray(parts + (total - parts.sum(axis=-2, keepdims=True)) / parts.shape[-2])


def _moved_variance(part: Floats, total: Floats, segments: int) -> Floats:
    """Of what `_moved` gives: what tells a part from the mean of all is independent of their total."""
    return part * (1 - 1 / segments) + total / segments**2


def _numbers(counts: Floats, beyond: Floats) -> GroupNumbers:
    return GroupNumbers(counts, beyond + _equally(np.diff(counts, axis=-1, prepend=0.0)))


def _deviations(count: Floats, change: Floats, beyond: float, segments: int) -> GroupNumbers:
    flow = np.sqrt(beyond * 2 / 3 + change / 9)
    return GroupNumbers(
        np.broadcast_to(np.sqrt(count), (segments, len(count))), np.broadcast_to(flow, (3, segments, len(flow)))
    )
