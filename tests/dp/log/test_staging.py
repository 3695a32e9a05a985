"""Rows become operations some at a time, and may lie compressed: neither shows in the log."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dp.log.lines
import dp.log.reading
from dp.log import read_log
from dp.log.staging import Reading
from tests.dp.log.reading import parquet, rows_of, write
from tests.examples import examples

LABELS = "SELECT o.seq, l.* EXCLUDE label FROM operations AS o LEFT JOIN labels AS l USING (label) ORDER BY ALL"
DAYS = ["2024-05-01", "2024-05-02"]
TIMES = ["", "2024-05-02", "2024-05-02T03:00:00+02:00", "2024-05-03T01:00:00"]
ROWS = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(DAYS), st.sampled_from(["+", "-"])), max_size=12)


def _read_in_parts(path: Path | list[Path], most: int, *, compressed: bool, segments: tuple[str, ...] = ()) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp.log.reading, "Reading", partial(Reading, most_staged=most))
        patch.setattr(dp.log.lines, "BLOCK", 32)
        with read_log(path, compressed=compressed, segments=segments) as log:
            # As the engines do, which take cursors.
            with log.connection.cursor() as cursor:
                users = cursor.execute("SELECT COUNT(DISTINCT user_id), COUNT(*) FROM users").fetchall()
                labels = cursor.execute(LABELS).fetchall() if segments else []
            return rows_of(log), labels, log.users, users, log.rows_used, log.first_day, log.last_day


@examples(10)
@given(
    rows=ROWS,
    times=st.lists(st.sampled_from(TIMES), min_size=12, max_size=12),
    platforms=st.lists(st.sampled_from(["", "ios", "web"]), min_size=12, max_size=12),
    most=st.integers(1, 5),
)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.slow
def test_a_log_is_the_same_in_however_many_parts_it_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    times: list[str],
    platforms: list[str],
    most: int,
    compressed: bool,
) -> None:
    lines = [",".join([*row, at, platform]) for row, at, platform in zip(rows, times, platforms, strict=False)]
    path = write(tmp_path_factory.mktemp("log"), "\n".join(["user,day,op,at,platform", *lines, ""]))
    for segments in ((), ("platform",)):
        whole = _read_in_parts(path, 10**6, compressed=False, segments=segments)
        assert _read_in_parts(path, most, compressed=compressed, segments=segments) == whole


@pytest.mark.parametrize("compressed", [False, True])
def test_files_are_read_one_behind_the_other_in_parts(tmp_path: Path, compressed: bool) -> None:
    paths = []
    for number, users in enumerate((["a", "b", "a"], ["c"], ["b", "d"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        days = pa.array(["2024-05-01"] * len(users))
        paths.append(parquet(folder, {"user": pa.array(users), "day": days}))
    whole = _read_in_parts(paths, 10**6, compressed=False)
    assert _read_in_parts(paths, 2, compressed=compressed) == whole
