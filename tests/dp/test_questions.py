"""Cells of time: on which days they are published, and where a day stands among them."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import islice

import pytest

import dp
from dp.questions import Breakdown, Cell, Question, kind_of, questions_of, rolling
from tests.laws import each

CELLS = (rolling("mau", 30), Cell("flows", "mau", 30), Cell("week", "week"), Cell("month", "month"))


@each("cell", CELLS)
def test_days_places_and_numbers_say_the_same(cell: Cell) -> None:
    for offset in range(0, 800, 13):
        first = date(2023, 11, 1) + timedelta(days=offset)
        days = list(islice(cell.days_from(first), 40))
        assert days == sorted(set(days))
        assert [cell.place(first, day) for day in days] == list(range(40))
        for ticks in (1, 6, 7, 8, 31, 100):
            own = cell.days(first, first + timedelta(days=ticks - 1))
            assert cell.number(first, ticks) == len(own)
            assert own == days[: len(own)] or len(own) > 40


def test_weeks_end_on_sundays_and_months_on_their_last_day() -> None:
    year = (date(2024, 1, 1), date(2024, 12, 31))
    assert {day.isoweekday() for day in CELLS[2].days(*year)} == {7}
    assert [day.day for day in CELLS[3].days(*year)] == [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    for cell in CELLS[2:]:
        for day in (date(2024, 2, 29), date(2023, 12, 31), date(2024, 1, 1)):
            assert cell.last_day(day) >= day
            assert cell.last_day(cell.last_day(day)) == cell.last_day(day)


def test_a_horizon_may_go_beyond_the_calendar() -> None:
    assert CELLS[0].number(date(2024, 1, 1), 10**9) == 10**9
    assert CELLS[2].number(date(2024, 1, 1), 10**9) > 400_000
    assert CELLS[3].number(date(9999, 10, 31), 10**6) == 2


@each(
    ("wrong", "message"),
    [
        (lambda: Cell("week", "week", 7), "calendar cells have none"),
        (lambda: Cell("rolling", "mau"), "window is None"),
        (lambda: Cell("rolling", "mau", 0), "window is 0 days"),
        (lambda: Breakdown("a", "any", ("a", "b"), (("x",),)), "one list is needed for each"),
        (lambda: Breakdown("a", "any", ("a", "a"), (("x",), ("y",))), "different columns"),
        (lambda: Breakdown("a", "some", ("a",), (("x",),)), "kind of breakdown 'a' is 'some'"),
        (lambda: Breakdown("new", "any", ("a",), (("x",),)), "cannot be called 'new'"),
        (lambda: Breakdown("a/b", "any", ("a",), (("x",),)), "cannot be called 'a/b'"),
        (lambda: Breakdown("a", "last", ("a",), (("x",),), most=2), "kind any:k allows k"),
        (lambda: Breakdown("a", "any", ("a",), (("x",),), most=3), "in 3 segments but has 2"),
        (lambda: Breakdown("a", "any", ("a", "b"), (("x×y", "x"), ("z", "y×z"))), "several segments called 'x×y×z'"),
        (lambda: Breakdown("a", "any", ("a",), (("x\0",),)), "holds a NUL"),
        (lambda: Breakdown("a\udcff", "any", ("a",), (("x",),)), "no text in UTF-8"),
        (lambda: Breakdown("a", "any", ("a", "b"), (("x",), ("y\ud800",))), "no text in UTF-8"),
        (lambda: kind_of("any:"), "'any:' is none of"),
        (lambda: questions_of({}, ["x"], [], []), "flows are asked of 'x'"),
        (lambda: CELLS[0].last_day(date(2024, 1, 1)), "only calendar cells have a last day"),
    ],
)
def test_what_is_no_question_is_refused(wrong, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


def test_every_cell_is_asked_in_all_and_by_every_breakdown() -> None:
    by = [dp.breakdown("country", ["GB"], "last"), dp.breakdown("plan", ["free"], "fixed")]
    asked = [question.name for question in questions_of({"dau": 1}, ["mau", "mau"], ["week"], by)]
    assert asked == [
        "mau/flows", "week", "dau/country", "mau/flows/country", "week/country", "dau/plan", "mau/flows/plan",
        "week/plan",
    ]  # fmt: skip
    assert Question(rolling("dau", 1), by[0]).series[1].key == "dau/country=other"


def test_a_product_is_not_named_before_it_is_needed() -> None:
    values = tuple(str(number) for number in range(20_000))
    assert Breakdown("a", "any", ("a", "b"), (values, values), most=2).columns == ("a", "b")
