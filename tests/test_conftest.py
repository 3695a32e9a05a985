"""Which files are left out before they are imported."""

from __future__ import annotations

from tests.conftest import whole_marks
from tests.laws import each


@each(
    ("expression", "marks"),
    [
        ("not slow and not spark", {"slow", "spark"}),
        ("not slow and (spark)", {"slow"}),
        ("not slow", {"slow"}),
        ("slow", set()),
        ("", set()),
        ("not slow and spark or slow", set()),
        ("not (slow and spark)", set()),
    ],
)
def test_only_marks_that_no_chosen_test_has_leave_out_a_file(expression: str, marks: set[str]) -> None:
    assert whole_marks(expression) == marks
