"""The protected class against a slow replay of what one user can do to a presence series."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp.names import UNITS
from dp.units import ProtectedClass, protected_class
from tests.examples import examples
from tests.laws import each
from tests.oracles.mechanism_instances import ClassArguments, all_series, allowed_series, count_runs, hull_lengths


class Activity(NamedTuple):
    """A day on which a user was active: when the log heard of it, and when it was retracted (None: never)."""

    day: int
    arrival: int
    retraction: int | None


def presence(activities: Sequence[Activity], window: int, horizon: int) -> np.ndarray:
    """Slow replay: present at t when some day in (t − window, t] is known and not retracted at t."""
    return np.array(
        [
            any(
                tick - window < activity.day <= tick
                and activity.arrival <= tick
                and (activity.retraction is None or tick < activity.retraction)
                for activity in activities
            )
            for tick in range(horizon)
        ],
        dtype=np.int8,
    )


def belongs(protected: ProtectedClass, series: np.ndarray) -> bool:
    """Whether a 0/1 series is in the class, from the words of its docstring."""
    row = series[np.newaxis]
    runs, hull = int(count_runs(row)[0]), int(hull_lengths(row)[0])
    if runs > protected.runs or hull > protected.hull:
        return False
    return not (protected.open_ended and runs == protected.runs and series[-1] == 0)


def covers_inside(other: Activity, own: Activity, window: int) -> bool:
    """Whether the cover of `other` both begins and ends while `own` could be seen: then it cuts a run in two."""
    begins = max(other.day, other.arrival)
    ends = other.day + window if other.retraction is None else min(other.retraction, other.day + window)
    return max(own.day, own.arrival) < begins and ends < own.day + window


@st.composite
def user_histories(draw: st.DrawFn) -> tuple[int, list[Activity]]:
    """A window and the distinct active days of one user, some late, some retracted."""
    window = draw(st.integers(1, 9))
    days = draw(st.lists(st.integers(0, 15), min_size=1, max_size=5, unique=True))
    activities = []
    for day in days:
        arrival = day + draw(st.integers(0, 6))
        retraction = draw(st.none() | st.integers(arrival + 1, arrival + 12))
        activities.append(Activity(day, arrival, retraction))
    return window, activities


HORIZON = 24


@given(history=user_histories())
@examples(100)
@example(history=(7, [Activity(10, 10, None), Activity(8, 12, None)]))
def test_one_activity_with_its_retraction_stays_in_the_user_day_class(history):
    window, activities = history
    own, *others = activities
    difference = presence(activities, window, HORIZON) - presence(others, window, HORIZON)
    cuts = sum(covers_inside(other, own, window) for other in others)
    assert difference.min() >= 0
    assert belongs(protected_class("user-day", window, 2 * (1 + cuts), HORIZON), difference)


def test_a_late_earlier_day_cuts_a_run_although_nothing_is_retracted():
    # The user-day bound of 2 needs more than "no other day is retracted": day 8, heard of at 12, hides days 12 to 14.
    own, late = Activity(10, 10, None), Activity(8, 12, None)
    difference = presence([own, late], 7, HORIZON) - presence([late], 7, HORIZON)
    assert np.flatnonzero(difference).tolist() == [10, 11, 15, 16]
    assert not belongs(protected_class("user-day", 7, 2, HORIZON), difference)
    assert belongs(protected_class("user-day", 7, 4, HORIZON), difference)


@each("horizon", [1, 2, 3, 7])
@each("unit", UNITS)
def test_the_class_is_exactly_what_the_design_says(unit, horizon):
    series = all_series(horizon)
    for window, w_bound in itertools.product((1, 4, 12), (1, 2, 3, 4, 24)):
        protected = protected_class(unit, window, w_bound, horizon)
        expected = allowed_series(ClassArguments(unit, window, w_bound, horizon), series)
        found = [belongs(protected, row) for row in series]
        assert found == expected.tolist(), (window, w_bound)


@each("w_bound", [1, 2, 3, 4])
def test_a_frozen_user_stays_in_the_class(w_bound):
    """Freeze a user after w flips, at any series of wishes: absent for even w, present for odd w."""
    wishes = all_series(8)
    frozen = []
    for row in wishes:
        state, flips, seen = 0, 0, []
        for wish in row:
            if wish != state and flips < w_bound:
                state, flips = int(wish), flips + 1
            seen.append(state)
        frozen.append(seen)
    protected = protected_class("user", 3, w_bound, 8)
    assert all(belongs(protected, np.array(seen, dtype=np.int8)) for seen in frozen)
    assert protected.open_ended == (w_bound % 2 == 1)


@each(
    ("arguments", "expected"),
    [
        (("user-day", 30, 2, 365), ProtectedClass(1, 30, 365)),
        (("user-day", 30, 2, None), ProtectedClass(1, 30, None)),
        (("user-day", 30, 8, 20), ProtectedClass(4, 20, 20)),
        (("user-day", 1, 24, 365), ProtectedClass(1, 1, 365)),
        (("user-day", 7, 3, None), ProtectedClass(2, 7, None)),
        (("user", 30, 24, 365), ProtectedClass(12, 365, 365)),
        (("user", 1, 1, 365), ProtectedClass(1, 365, 365, open_ended=True)),
        (("user", 7, 9, 4), ProtectedClass(2, 4, 4)),
    ],
)
def test_examples_by_hand(arguments, expected):
    assert protected_class(*arguments) == expected


@each(
    ("arguments", "message"),
    [
        (("user-week", 7, 2, 10), "unit is 'user-week'; choose one of user-day, user"),
        (("user-day", 0, 2, 10), "window is 0"),
        (("user-day", 7, 0, 10), "w_bound is 0"),
        (("user-day", 7, -1, 10), "w_bound is -1"),
        (("user-day", 7, 2, 0), "horizon is 0"),
        (("user", 7, 2, None), "unit 'user' needs a horizon"),
    ],
)
def test_errors_name_argument_and_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        protected_class(*arguments)


@each(
    ("arguments", "message"),
    [
        ((0, 3, 5), "runs is 0"),
        ((1, 0, 5), "hull is 0"),
        ((1, 6, 5), "hull is 6 ticks but the horizon has only 5"),
        ((1, 3, None, True), "open_ended needs a horizon"),
    ],
)
def test_a_class_is_validated_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        ProtectedClass(*arguments)
