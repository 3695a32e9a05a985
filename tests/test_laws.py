"""A test of many cases finds what as many tests would."""

from __future__ import annotations

import pytest

from tests.laws import each


def test_every_case_is_tried_and_those_that_fail_are_named() -> None:
    tried = []

    @each("number", range(5))
    def law(number: int) -> None:
        tried.append(number)
        assert number % 2 == 0
        if number == 2:
            pytest.fail("two")

    with pytest.raises(BaseExceptionGroup, match=r"3 of 5 cases fail: number = 1, number = 2, number = 3") as failed:
        law()
    assert tried == [0, 1, 2, 3, 4]
    assert [str(one).split("\n")[0] for one in failed.value.exceptions][1] == "two"


def test_a_test_is_skipped_if_all_its_cases_are() -> None:
    tried = []

    @each("number", (1, 2))
    def law(number: int, fewest: int) -> None:
        if number < fewest:
            pytest.skip("too few")
        tried.append(number)

    law(fewest=2)
    assert tried == [2]
    with pytest.raises(pytest.skip.Exception, match="too few"):
        law(fewest=3)


class TestOfAClass:
    @each("letter", "abc", by=lambda letter: letter)
    def test_cases_may_be_shared_out(self, letter: str) -> None:
        assert letter.islower()

    @each("first", (1, 2))
    @each("second", (3, 4))
    def test_arguments_may_be_combined(self, first: int, second: int, tmp_path) -> None:
        (tmp_path / f"{first}{second}").touch(exist_ok=False)


def test_a_case_may_have_several_arguments_and_has_a_folder_of_its_own(tmp_path) -> None:
    tried = []

    @each(("name", "length"), [("ab", 2), ("c", 2), ("d", 1)])
    @each("wrong", (True, False))
    def law(name: str, length: int, wrong: bool, tmp_path) -> None:
        (tmp_path / "used").touch(exist_ok=False)
        tried.append((name, wrong))
        with pytest.raises(AssertionError):
            assert (len(name) == length) is wrong

    with pytest.raises(BaseExceptionGroup, match=r"3 of 3 cases fail: name = ab") as failed:
        law(tmp_path=tmp_path)
    assert [len(one.exceptions) for one in failed.value.exceptions] == [1, 1, 1]
    assert tried == [("ab", True), ("ab", False), ("c", True), ("c", False), ("d", True), ("d", False)]


def test_marks_stay() -> None:
    @each("number", (1,))
    @pytest.mark.slow
    def law(number: int) -> None: ...

    assert [mark.name for mark in law.pytestmark] == ["slow"]
