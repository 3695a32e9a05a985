"""Segment columns: what they hold whatever the format, what a log with them is called, and that none is lost."""

from __future__ import annotations

import json
import random
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.log import Log, LogError, arrived_fingerprint, log_of, read_log, write_canonical
from tests.dp.log.reading import DAY, listed, parquet, rows_of, write
from tests.examples import examples
from tests.laws import each

Labels = list[tuple[str | None, ...]]
LATER = date(2025, 1, 1)


def labels_of(log: Log) -> Labels:
    """What each operation says in the segment columns, in the order of arrival; None for an erasure."""
    columns = ", ".join(f'l."{name}"' for name in log.segments)
    return log.connection.execute(
        f"SELECT {columns} FROM operations AS o LEFT JOIN labels AS l ON l.label = o.label ORDER BY o.seq"
    ).fetchall()


def labels(path: Any, *segments: str, **options: Any) -> Labels:
    with read_log(path, segments=segments, **options) as log:
        assert log.segments == segments
        return labels_of(log)


def csv_of(rows: list[tuple[str | None, ...]]) -> str:
    quoted = [["" if value is None else '"' + value.replace('"', '""') + '"' for value in row] for row in rows]
    return "user,day,platform,country\n" + "".join(f"a,{DAY},{','.join(row)}\n" for row in quoted)


def jsonl_of(rows: list[tuple[str | None, ...]]) -> str:
    return "".join(
        json.dumps({"user": "a", "day": DAY, "platform": platform, "country": country}) + "\n"
        for platform, country in rows
    )


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=8)


@given(rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
@pytest.mark.slow
@examples(15)
def test_every_format_reads_the_same_texts(tmp_path_factory: pytest.TempPathFactory, rows: Labels) -> None:
    folder = tmp_path_factory.mktemp("formats")
    columns = {"user": ["a"] * len(rows), "day": [DAY] * len(rows)}
    pairs = zip(("platform", "country"), zip(*rows, strict=True), strict=True)
    columns |= {name: pa.array(values, pa.string()) for name, values in pairs}
    wanted = [tuple(value or None for value in row) for row in rows]
    for path in (
        write(folder, csv_of(rows)), write(folder, jsonl_of(rows), "log.jsonl"), parquet(folder, columns),
    ):  # fmt: skip
        assert labels(path, "platform", "country") == wanted
        assert labels(path, "country") == [(country,) for _, country in wanted]


def test_numbers_and_booleans_are_their_texts(tmp_path: Path) -> None:
    rows = [{"user": "a", "day": DAY, "x": value} for value in (7, 2**70, 1.5, True, False, None, "7", "")]
    path = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "log.jsonl")
    assert labels(path, "x") == [("7",), (str(2**70),), ("1.5",), ("true",), ("false",), (None,), ("7",), (None,)]
    columns = {"user": ["a"], "day": [DAY], "i": [7], "f": [1.5], "b": [True]}
    assert labels(parquet(tmp_path, columns), "i", "f", "b") == [("7", "1.5", "true")]


def test_names_may_be_mapped_nested_and_those_of_folders(tmp_path: Path) -> None:
    row = {"user": "a", "day": DAY, "context": {"os": "ios"}, "country": "GB"}
    path = write(tmp_path, json.dumps(row), "log.jsonl")
    assert labels(path, "platform", "country", columns={"platform": "context.os"}) == [("ios", "GB")]
    assert labels(path, "context.os") == [("ios",)]
    table = {"user": ["a"], "day": [DAY], "context": pa.array([{"os": "ios"}])}
    path = parquet(tmp_path, table, "country=GB/log.parquet")
    assert labels(path, "context.os", "country", hive=True) == [("ios", "GB")]
    path = write(tmp_path, f"user,day\na,{DAY}\n", "country=GB/log.csv")
    assert labels(path, "country", hive=True) == [("GB",)]
    event = {"distinct_id": "a", "timestamp": f"{DAY}T10:00:00Z", "os": "ios"}
    assert labels(write(tmp_path, json.dumps(event), "posthog.jsonl"), "os", like="posthog") == [("ios",)]


def test_files_of_a_folder_share_their_labels(tmp_path: Path) -> None:
    for name, platform in (("a", "ios"), ("b", "web"), ("c", "ios")):
        write(tmp_path / "logs", f"user,day,platform\n{name},{DAY},{platform}\n", f"{name}.csv")
    with read_log(tmp_path / "logs", segments=["platform"]) as log:
        assert labels_of(log) == [("ios",), ("web",), ("ios",)]
        assert log.connection.execute("SELECT * FROM labels ORDER BY label").fetchall() == [(0, "ios"), (1, "web")]


def test_an_erasure_has_no_label_and_a_retraction_may_have_none(tmp_path: Path) -> None:
    path = write(
        tmp_path, f"user,day,op,at,platform\na,{DAY},+,,ios\na,{DAY},-,,\na,{DAY},-,,ios\nb,,erase,{DAY},web\n"
    )
    with read_log(path, segments=("platform",)) as log:
        assert labels_of(log) == [("ios",), (None,), ("ios",), (None,)]
        assert log.connection.execute("SELECT label FROM operations WHERE op = 0").fetchall() == [(None,)]
        assert log.connection.execute("SELECT COUNT(*) FROM labels WHERE platform = 'web'").fetchall() == [(0,)]


def test_long_values_are_read(tmp_path: Path) -> None:
    assert labels(write(tmp_path, f"user,day,platform\na,{DAY},{'x' * 10**6}\n"), "platform") == [("x" * 10**6,)]


def test_bad_rows_are_named_and_set_aside(tmp_path: Path) -> None:
    aside = tmp_path / "bad.csv"
    text = f"user,day,country\na,{DAY},GB\nb,{DAY},\udcff\nc,{DAY},\0\nd,{DAY},DE\n"
    assert labels(write(tmp_path, text), "country", quarantine=aside) == [("GB",), ("DE",)]
    assert [row[:2] for row in listed(aside)[1:]] == [
        ["3", "the country is not UTF-8"], ["4", "NUL byte in the country"]
    ]  # fmt: skip
    # Whoever does not ask for the column reads these rows.
    with read_log(write(tmp_path, text)) as log:
        assert log.rows_used == 4
    rows = [{"user": "a", "day": DAY, "country": value} for value in ("GB", ["GB"], {"code": 1}, "\0")]
    path = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "log.jsonl")
    assert labels(path, "country", quarantine=aside) == [("GB",)]
    assert [row[1] for row in listed(aside)[1:]] == [
        'country is ["GB"], expected text, a number or a boolean',
        'country is {"code": 1}, expected text, a number or a boolean',
        "NUL byte in the country",
    ]
    path = parquet(tmp_path, {"user": ["a", "b"], "day": [DAY] * 2, "country": ["GB", "\0"]})
    assert labels(path, "country", quarantine=aside) == [("GB",)]
    assert listed(aside)[1][1] == "NUL byte in the country"
    assert json.loads(listed(aside)[1][2])["country"] == "\0"


@each("segments", [("day",), ("User",), ("label",), ("seq",), ("",), ("x", "X"), ("x", "x")])
def test_names_that_could_be_taken_for_others_are_refused(tmp_path: Path, segments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="segments = "):
        read_log(write(tmp_path, f"user,day,x\na,{DAY},1\n"), segments=segments)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (
        write(tmp_path, f"user,day,Platform\na,{DAY},ios\n"),
        parquet(tmp_path, {"user": ["a"], "day": [DAY]}),
    ):
        with pytest.raises(LogError, match=r"no column 'platform' for a segment .*--columns platform=NAME"):
            read_log(path, segments=("platform",))
        with pytest.raises(LogError, match="no column 'os' for platform"):
            read_log(path, segments=("platform",), columns={"platform": "os"})


def test_labels_survive_canonical_files_and_logs_made_of_logs(tmp_path: Path) -> None:
    rows = [("ios", "GB"), (None, "G|B"), ("an,droid", None), (None, None)]
    with read_log(write(tmp_path, csv_of(rows)), segments=("platform", "country")) as log:
        write_canonical(log, tmp_path / "canonical.parquet")
        name, before = arrived_fingerprint(log, LATER, log.segments), rows_of(log)
        tables = [log.connection.sql(f"FROM {table}").to_arrow_table() for table in ("operations", "users")]
        with log_of(log, *tables) as copy:
            assert labels_of(copy) == rows
            assert arrived_fingerprint(copy, LATER, copy.segments) == name
    with read_log(tmp_path / "canonical.parquet", segments=("platform", "country")) as log:
        assert labels_of(log) == rows
        assert rows_of(log) == before
        assert arrived_fingerprint(log, LATER, log.segments) == name


def named(folder: Path, rows: Labels, *segments: str) -> str:
    with read_log(write(folder, csv_of(rows)), segments=segments) as log:
        return arrived_fingerprint(log, LATER, segments)


def test_what_operations_say_is_part_of_the_name_of_a_log(tmp_path: Path) -> None:
    rows: Labels = [("ios", None), ("web", None)]
    name = named(tmp_path, rows, "platform")
    assert named(tmp_path, [("ios", "GB"), ("web", None)], "platform") == name
    assert named(tmp_path, rows) != name
    # They are on one user-day, and the last to arrive says where its user was active last.
    others: list[Labels] = [rows[::-1], [("ios", None), ("Web", None)], [("ios", None), (None, "web")]]
    for other in others:
        assert named(tmp_path, other, "platform") != name
    assert named(tmp_path, [('a","b', None)], "platform", "country") != named(
        tmp_path, [("a", "b")], "platform", "country"
    )


def test_the_order_of_rows_of_different_users_is_no_part_of_it(tmp_path: Path) -> None:
    rows = [f"{user},{DAY},{platform}\n" for user, platform in (("a", "ios"), ("b", "web"), ("c", ""))]
    names = set()
    for seed in range(4):
        shuffled = random.Random(seed).sample(rows, 3)
        path = write(tmp_path, "user,day,platform\n" + "".join(shuffled))
        with read_log(path, segments=("platform",)) as log:
            names.add(arrived_fingerprint(log, LATER, log.segments))
    assert len(names) == 1


def test_logs_without_segments_keep_their_names(tmp_path: Path) -> None:
    with read_log(write(tmp_path, f"user,day,op,at\na,{DAY},+,\na,{DAY},-,{DAY}\nb,,erase,2024-05-02\n")) as log:
        assert arrived_fingerprint(log, LATER) == "39751f887d21d30919b9163f529e65f4"


def test_columns_that_no_question_needs_are_no_part_of_the_name_of_a_log(tmp_path: Path) -> None:
    # So a stream of metrics goes on, whichever columns its log is read with.
    path = write(tmp_path, csv_of([("ios", "GB"), ("web", None)]))
    with read_log(path) as bare, read_log(path, segments=("platform", "country")) as log:
        assert arrived_fingerprint(bare, LATER) == arrived_fingerprint(log, LATER)
        assert bare.read_as == log.read_as == ""


def test_a_log_without_rows_has_no_labels(tmp_path: Path) -> None:
    assert labels(write(tmp_path, "user,day,platform\n"), "platform") == []
