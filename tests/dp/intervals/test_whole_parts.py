"""Whole parts with a given sum: brute force over all parts, laws, and refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dp.intervals.whole_parts import whole_parts
from tests.examples import examples
from tests.laws import each

lawful = examples(40)
sizes = st.shared(st.integers(1, 5), key="parts")
estimate_rows = sizes.flatmap(lambda size: arrays(float, (3, size), elements=st.floats(-9, 9)))


@st.composite
def problems(draw: st.DrawFn, most: int) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """Estimates, a total, and bounds within which some parts have it."""
    size = draw(st.integers(1, 4))
    low = np.array(draw(st.lists(st.integers(-2, most), min_size=size, max_size=size)))
    high = low + np.array(draw(st.lists(st.integers(0, most), min_size=size, max_size=size)))
    estimates = np.array(draw(st.lists(st.floats(-most, 2 * most), min_size=size, max_size=size)))
    return estimates, draw(st.integers(int(low.sum()), int(high.sum()))), low, high


@given(problem=problems(3))
@lawful
def test_the_parts_are_nearest_of_all_whole_ones(problem):
    estimates, total, low, high = problem
    ours = whole_parts(estimates, np.array(total), low, high)
    others = [
        point
        for point in itertools.product(*(range(a, b + 1) for a, b in zip(low, high, strict=True)))
        if sum(point) == total
    ]
    best = min(float(np.sum((np.array(point) - estimates) ** 2)) for point in others)
    assert float(np.sum((ours - estimates) ** 2)) == pytest.approx(best, abs=1e-6)
    assert tuple(ours.tolist()) in others


@given(problem=problems(2**30))
@lawful
def test_large_parts_add_up_and_stay_in_bounds(problem):
    estimates, total, low, high = problem
    ours = whole_parts(estimates, np.array(total), low, high)
    assert ours.sum() == total
    assert np.all((low <= ours) & (ours <= high))


@given(estimates=estimate_rows, total=st.integers(-20, 20))
@lawful
def test_without_bounds_each_part_moves_by_the_same_and_rounds_by_less_than_one(estimates, total):
    ours = whole_parts(estimates, np.full(3, total), np.array(-np.inf), np.array(np.inf))
    moved = estimates + (total - estimates.sum(axis=-1, keepdims=True)) / estimates.shape[-1]
    assert np.all(np.abs(ours - moved) < 1 + 1e-6)
    assert np.all(ours.sum(axis=-1) == total)


def test_of_equal_remainders_the_earlier_part_gets_the_unit():
    assert whole_parts(np.array([1.5, 1.5, 1.0]), np.array(4), np.array(0), np.array(9)).tolist() == [2, 1, 1]
    halves = whole_parts(np.full(40, 0.5), np.array(20), np.array(0), np.array(9))
    assert halves.tolist() == [1] * 20 + [0] * 20


def test_whole_parts_with_the_right_sum_stay():
    parts = np.array([[5.0, 0.0, 7.0], [0.0, 0.0, 0.0]])
    assert whole_parts(parts, np.array([12, 0]), np.array(0), np.array(np.inf)).tolist() == parts.tolist()


@each(
    ("total", "low", "high", "message"),
    [
        (7, [0, 0], [3, 3], "total is 7, but the parts lie between 0.0 and 6.0"),
        (-1, [0, 0], [3, 3], "total is -1"),
        (3, [0, 2], [3, 1], "total is 3"),
    ],
)
def test_a_sum_out_of_reach_is_refused(total, low, high, message):
    with pytest.raises(ValueError, match=message):
        whole_parts(np.zeros(2), np.array(total), np.array(low), np.array(high))
