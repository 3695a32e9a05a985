"""A row is a line: lines are found as they are, and what one says never depends on another."""

from __future__ import annotations

import io
import json
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dp.log.lines
from dp.log import read_log
from dp.log.csv_format import fields_of
from dp.log.lines import lines_of
from dp.presence import DuckDBEngine
from tests.dp.log.reading import DAY, active, listed, read, write
from tests.examples import examples

HOSTILE = st.text(st.sampled_from('ab",;\\\t {}[]:\r\udcff\0é'), max_size=24)


@given(text=st.text(st.sampled_from("ab\r\n"), max_size=30), block=st.integers(1, 7), bom=st.booleans())
def test_lines_are_those_of_the_standard_library(text: str, block: int, bom: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp.log.lines, "BLOCK", block)
        found = list(lines_of(io.BytesIO(b"\xef\xbb\xbf" * bom + text.encode())))
    assert [line for lines in found for line in lines.content.decode().splitlines()] == io.StringIO(
        text, newline=None
    ).read().split("\n")[: -1 if not text or text[-1] in "\r\n" else None]
    assert [lines.first for lines in found] == [
        1 + sum(len(lines) for lines in found[:index]) for index in range(len(found))
    ]


def test_a_line_that_is_too_long_is_a_bad_row_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dp.log.lines, "BLOCK", 64)
    monkeypatch.setattr(dp.log.lines, "LONGEST", 1000)
    good = f"a,{DAY}\n"
    path = write(tmp_path, "user,day\n" + good + "x" * 5000 + f",{DAY}\n" + good + "y" * 900 + f",{DAY}\n")
    assert [row[0] for row in read(path, quarantine=tmp_path / "bad.csv")] == ["a", "a", "y" * 900]
    assert [row[:2] for row in listed(tmp_path / "bad.csv")[1:]] == [["3", "the line is longer than 64 MiB"]]
    ends_there = write(tmp_path, "user,day\n" + good + "x" * 5000)
    assert read(ends_there, quarantine=tmp_path / "bad.csv") == active(f"a {DAY}")


@pytest.mark.slow
@pytest.mark.parametrize("length", [200_000, 5_000_000])
@pytest.mark.parametrize("others", ['q""', 'a"b', '"open', "c,d,e", "\udcff"])
def test_a_long_field_is_read_whatever_other_rows_hold(tmp_path: Path, length: int, others: str) -> None:
    path = write(tmp_path, f'note,user,day\n{"n" * length},a,{DAY}\n"{"m" * length}",b,{DAY}\n{others},{DAY}\n')
    assert [row[0] for row in read(path, quarantine=tmp_path / "bad.csv")][:2] == ["a", "b"]


@given(rows=st.lists(HOSTILE, max_size=12), places=st.lists(st.integers(0, 6), min_size=12, max_size=12))
@example(rows=['evil,"2024-05-01', 'evil",2024-05-01'], places=[0, 4] + [0] * 10)
@example(rows=['"', '"'], places=[1, 5] + [0] * 10)
@examples(40)
@pytest.mark.slow
def test_the_rows_of_one_user_leave_those_of_others_alone(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], places: list[int]
) -> None:
    """Whatever bytes the rows of one user consist of, and wherever they stand: every other row is read as it was."""
    folder = tmp_path_factory.mktemp("isolated")
    for name, header, other in (
        ("log.csv", ["user,day,note"], lambda i: f'"o{i}",{DAY},"x ""y"""' if i % 2 else f"o{i},{DAY},x"),
        ("log.tsv", ["user\tday\tnote"], lambda i: f"o{i}\t{DAY}\tit's"),
        ("log.jsonl", list[str](), lambda i: json.dumps({"user": f"o{i}", "day": DAY})),
    ):
        lines = [other(index) for index in range(6)]
        for place, row in sorted(zip(places, rows, strict=False), key=lambda pair: -pair[0]):
            lines.insert(place, row)
        path = write(folder, "\n".join([*header, *lines]) + "\n", name)
        found = read(path, quarantine=folder / "bad.csv")
        assert [row for row in found if re.fullmatch("o[0-5]", row[0])] == active(*(f"o{i} {DAY}" for i in range(6)))


def test_two_open_quotes_swallow_nobody(tmp_path: Path) -> None:
    others = [f"u{index},{DAY}" for index in range(4)]
    path = write(tmp_path, "\n".join(["user,day", f'evil,"{DAY}', *others, f'evil",{DAY}x"', ""]))
    with read_log(path, quarantine=tmp_path / "bad.csv") as log:
        day = date.fromisoformat(DAY)
        assert DuckDBEngine(log.connection).daily_flips([1], day, day)[1].counts.values.tolist() == [4]
        assert (log.rows_read, log.rows_used) == (6, 4)


def test_a_quoted_line_break_is_two_bad_rows_that_say_so(tmp_path: Path) -> None:
    path = write(tmp_path, f'user,note,day\na,"one\ntwo",{DAY}\nb,,{DAY}\n')
    assert read(path, quarantine=tmp_path / "bad.csv") == active(f"b {DAY}")
    assert [(place, reason.split(":")[0]) for place, reason, _ in listed(tmp_path / "bad.csv")[1:]] == [
        ("2", "not a CSV row"), ("3", "2 fields where the header has 3"),
    ]  # fmt: skip


@given(fields=st.lists(st.text(st.sampled_from('a",é ;'), max_size=5), min_size=2, max_size=4), quoted=st.booleans())
def test_what_a_writer_quotes_is_read_back(fields: list[str], quoted: bool) -> None:
    def write_field(field: str) -> str:
        return '"' + field.replace('"', '""') + '"' if quoted or set(field) & set('",') else field

    assert fields_of(",".join(map(write_field, fields)), ",") == fields


def test_a_row_with_both_a_day_and_a_timestamp_is_the_only_bad_one(tmp_path: Path) -> None:
    rows = [{"user": "a", "day": DAY}, {"user": "evil", "day": DAY, "timestamp": DAY}, {"user": "b", "timestamp": DAY}]
    path = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "log.jsonl")
    assert read(path, quarantine=tmp_path / "bad.csv") == active(f"a {DAY}", f"b {DAY}")
    assert listed(tmp_path / "bad.csv")[1][:2] == [
        "2", "both a day and a timestamp (choose one: --columns day=NAME or timestamp=NAME)",
    ]  # fmt: skip
    assert len(read(path, columns={"day": "day"}, quarantine=tmp_path / "bad.csv")) == 2
    assert [row[0] for row in read(path, columns={"timestamp": "timestamp"}, quarantine=tmp_path / "bad.csv")] == [
        "evil", "b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", "user,day\n"),
        ("log.csv", "\n\nuser,day"),
        ("log.jsonl", ""),
        ("log.jsonl", "\n \n"),
        ("x.json", "[]"),
    ],
)
def test_a_log_without_rows_is_a_log(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path, content, name)
    for quarantine in (None, tmp_path / "bad.csv"):
        with read_log(path, quarantine=quarantine) as log:
            assert (log.rows_read, log.users, log.first_day, log.last_day) == (0, 0, None, None)
            day = date.fromisoformat(DAY)
            assert DuckDBEngine(log.connection).daily_flips([7], day, day)[7].counts.values.tolist() == [0]
            with pytest.raises(ValueError, match="the log has no rows"):
                _ = log.period


def test_a_log_of_bad_rows_only_has_no_rows(tmp_path: Path) -> None:
    assert read(write(tmp_path, "user,day\na,never\n"), quarantine=tmp_path / "bad.csv") == []
    assert len(listed(tmp_path / "bad.csv")) == 2
