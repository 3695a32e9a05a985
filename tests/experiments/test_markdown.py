"""Tables of the documentation."""

from __future__ import annotations

import pytest

from experiments.documentation.markdown import markdown_table
from tests.laws import each


def test_a_table_has_titles_a_rule_and_rows() -> None:
    assert markdown_table(["a", "b"], "lr", [("x", "1"), ("", "2")]) == "| a | b |\n|---|---:|\n| x | 1 |\n|  | 2 |"


@each(("alignment", "row"), [("l", ("x", "1")), ("lr", ("x",)), ("lr", ("x", "1", "2"))])
def test_a_table_with_a_hole_is_refused(alignment: str, row: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="the table has 2 columns"):
        markdown_table(["a", "b"], alignment, [row])
