"""A load takes the operations of a log in parts, from wherever it stopped."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench.cli.loading
from dp.log import read_log
from dp.presence.daily import day_number
from tests.examples import examples
from workbench.cli.loading import columns_in_order, operations_in_order
from workbench.service.packing import NAME, NEVER

DAYS = [f"2024-05-{day:02d}" for day in range(1, 6)]


@examples(15)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(DAYS), st.sampled_from(DAYS)), max_size=15),
    together=st.integers(1, 6),
    sorted_at_once=st.integers(1, 6),
)
@pytest.mark.slow
def test_the_parts_are_the_whole_from_every_row_on(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    together: int,
    sorted_at_once: int,
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    lines = [f"{user},{min(day, at)},,{max(day, at)}" for user, day, at in rows]
    lines += [f"{user},,erase,{at}" for user, _, at in rows[:2]]
    path.write_text("\n".join(["user,day,op,at", *lines, ""]))
    with pytest.MonkeyPatch.context() as patch, read_log(path, compressed=True) as log:
        patch.setattr(workbench.cli.loading, "ROWS_AT_ONCE", together)
        patch.setattr(workbench.cli.loading, "ROWS_SORTED", sorted_at_once)
        found = list(operations_in_order(log))
        texts = dict(log.connection.execute('SELECT user_id, "user" FROM users').fetchall())
        numbers = np.zeros(len(texts) + 1, NAME)
        numbers["low"] = np.arange(len(numbers))
        whole = [(one.user, NEVER if one.day is None else one.day, one.op, one.at) for one in found]
        # A stable sort of the rows by their arrival, which is what the order is.
        assert [(user, at) for user, _, _, at in whole] == [
            (line.split(",")[0], _arrival(line)) for line in sorted(lines, key=lambda line: line.rsplit(",", 1)[1])
        ]
        for skip in range(len(whole) + 1):
            parts = list(columns_in_order(log, numbers, skip))
            rest = [
                (texts[name], day, op, at)
                for part in parts
                for name, day, op, at in zip(part.names["low"].tolist(), part.day, part.op, part.at, strict=True)
            ]
            assert rest == whole[skip:]
            assert all(len(part.op) <= together for part in parts)


def _arrival(line: str) -> int:
    """When a row arrives."""
    return day_number(date.fromisoformat(line.rsplit(",", 1)[1]))
