"""Where a log may lie: several files, patterns, folders, standard input, packed files, partitions."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dp import names
from dp.log import LogError, read_log
from dp.log.formats import FORMATS
from dp.log.generate import generate, write_log
from dp.log.presets import PRESETS
from tests.dp.log.reading import DAY, active, listed, parquet, read, write
from tests.laws import each

TEXT = f"user,day\na,{DAY}\n"
ONE = active(f"a {DAY}")


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)  # type: ignore[no-any-return]


# Several files


@pytest.mark.slow
def test_several_files_patterns_and_folders(tmp_path: Path) -> None:
    for name in ("b/2.csv", "b/1.csv", "a/3.csv", "a/deep/4.csv", "a/_SUCCESS", "a/.hidden.csv", "a/_tmp/5.csv"):
        write(tmp_path, f"user,day\n{name[-5]},{DAY}\n", name)
    folder_b, folder_a = tmp_path / "b", tmp_path / "a"
    for paths, users in (
        ([tmp_path / "b" / "2.csv", tmp_path / "b" / "1.csv"], "21"),
        (tmp_path / "b" / "*.csv", "12"),
        (str(tmp_path / "b" / "[12].csv"), "12"),
        (tmp_path, "3412"),
        (tmp_path / "**" / "?.csv", "35412"),
        ([folder_b, folder_a], "1234"),
    ):
        assert "".join(row[0] for row in read(paths)) == users


@pytest.mark.slow
def test_the_place_of_a_bad_row_names_its_file(tmp_path: Path) -> None:
    first = write(tmp_path, TEXT + "b,never\n", "1.csv")
    second = write(tmp_path, TEXT + TEXT[9:] + "c,never\nd\n", "2.csv")
    with pytest.raises(LogError, match=r"(?s)2 files: 3 of 6 rows are bad.*1\.csv, line 3: .*2\.csv, line 4: .*line 5"):
        read([first, second])
    with read_log([first, second], quarantine=tmp_path / "bad.csv") as log:
        assert (log.rows_read, log.rows_used, log.rows_set_aside) == (6, 3, 3)
    rows = listed(tmp_path / "bad.csv")
    assert rows[0] == ["file", "line", "reason", "raw"]
    assert [(row[0], row[1], row[3]) for row in rows[1:]] == [
        (str(first), "3", "b,never"), (str(second), "4", "c,never"), (str(second), "5", "d"),
    ]  # fmt: skip


def test_the_order_of_the_files_is_the_order_of_arrival(tmp_path: Path) -> None:
    added = write(tmp_path, f"user,day,op\na,{DAY},+\n", "added.csv")
    removed = write(tmp_path, f"user,day,op\na,{DAY},-\n", "removed.csv")
    assert [row[2] for row in read([added, removed])] == ["+", "-"]
    assert [row[2] for row in read([removed, added])] == ["-", "+"]


def test_files_that_are_no_one_log_are_refused(tmp_path: Path) -> None:
    path, other = write(tmp_path, TEXT), write(tmp_path, "{}", "log.jsonl")
    (tmp_path / "empty").mkdir()
    for paths, message in (
        ([path, path], "is given more than once"),
        ([path, other], r"log\.jsonl is not csv as .*log\.csv is"),
        (tmp_path / "none*.csv", "no file matches"),
        (tmp_path / "empty", "is a folder without files"),
        ([path, tmp_path / "none.csv"], "cannot be read: No such file"),
    ):
        with pytest.raises(LogError, match=message):
            read(paths)
    for quarantine in (path, tmp_path / "." / "log.csv"):
        with pytest.raises(ValueError, match="is the input file"):
            read([write(tmp_path, TEXT, "other.csv"), path], quarantine=quarantine)


# Packed files and standard input


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, zstd, bytes])
@pytest.mark.parametrize(("suffix", "text"), [("csv", TEXT), ("jsonl", json.dumps({"user": "a", "day": DAY}))])
def test_packed_files_are_known_by_their_bytes(tmp_path: Path, pack: Any, suffix: str, text: str) -> None:
    for ending in ("", ".gz", ".zst"):
        assert read(write(tmp_path, pack(text.encode()), f"log.{suffix}{ending}")) == ONE


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_members_one_after_the_other_are_one_file(tmp_path: Path, pack: Any) -> None:
    path = write(tmp_path, pack(TEXT.encode()) + pack(f"b,{DAY}\n".encode()))
    assert read(path) == active(f"a {DAY}", f"b {DAY}")


@pytest.mark.parametrize("pack", [gzip.compress, zstd, bytes])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pack: Any) -> None:
    class Input:
        buffer = io.BufferedReader(io.BytesIO(pack(f"{TEXT}b,never\n".encode())))  # type: ignore[arg-type]

    monkeypatch.setattr(sys, "stdin", Input)
    assert read("-", input_format="csv", quarantine=tmp_path / "bad.csv") == ONE
    assert listed(tmp_path / "bad.csv")[1][0] == "3"


@pytest.mark.parametrize("first", [1, 2, 5])
@pytest.mark.parametrize("pack", [gzip.compress, zstd, bytes])
def test_a_pipe_may_bring_its_bytes_one_by_one(tmp_path: Path, pack: Any, first: int) -> None:
    pipe, content = tmp_path / "log.csv", pack(TEXT.encode())
    os.mkfifo(pipe)

    def feed() -> None:
        with pipe.open("wb", buffering=0) as stream:
            stream.write(content[:first])
            time.sleep(0.02)
            stream.write(content[first:])

    with ThreadPoolExecutor() as pool:
        pool.submit(feed)
        assert read(pipe) == ONE


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(LogError, match="standard input cannot be read: it is closed"):
        read("-", input_format="csv")


def test_a_pipe_cannot_be_parquet(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.parquet")  # that nobody writes to: to open it would wait for ever
    with pytest.raises(LogError, match=r"log.parquet cannot be Parquet, which is not read from front to back"):
        read(tmp_path / "log.parquet")


def test_standard_input_has_no_name_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LogError, match="standard input: cannot tell the format from the name; give --input-format"):
        read("-")
    with pytest.raises(LogError, match="standard input cannot be Parquet"):
        read("-", input_format="parquet")


# Delimiters


@pytest.mark.slow
@pytest.mark.parametrize("delimiter", list(";|\t:^!.$"))
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    rows = [["user", "x", "day"], ["a", f'"q{delimiter}""q"""', DAY], ["b", "it's", DAY]]
    text = "\n".join(delimiter.join(row) for row in rows) + "\n"
    expected = active(f"a {DAY}", f"b {DAY}")
    assert read(write(tmp_path, text), delimiter=delimiter) == expected
    assert read(write(tmp_path, f"sep={delimiter}\r\n{text}")) == expected
    if delimiter == "\t":
        assert read(write(tmp_path, text, "log.tsv.gz")) == read(write(tmp_path, text, "log.TSV")) == expected
        assert read(write(tmp_path, text), delimiter="tab") == expected


@each(("delimiter", "option"), [(";", "';'"), ("\t", "tab"), ("|", "'|'")])
def test_another_delimiter_is_suggested(tmp_path: Path, delimiter: str, option: str) -> None:
    path = write(tmp_path, f"user{delimiter}day\na{delimiter}{DAY}\n")
    with pytest.raises(LogError) as refused:
        read(path)
    assert f"This looks like another delimiter: --delimiter {option}" in str(refused.value)


@each("delimiter", ["", "ab", '"', "\n", "\r", "é", "a", "7", "\0"])
def test_what_is_no_delimiter_is_refused(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(ValueError, match="delimiter = "):
        read(write(tmp_path, TEXT), delimiter=delimiter)


# JSON


@pytest.mark.slow
def test_a_json_array(tmp_path: Path) -> None:
    rows = [{"user": "a", "day": DAY}, {"user": "b"}, 7, {"user": "c", "day": DAY}]
    for name, indent in product(("log.json", "log.jsonl"), (None, 2)):
        path = write(tmp_path, "\ufeff\n" + json.dumps(rows, indent=indent), name)
        assert read(path, quarantine=tmp_path / "bad.csv") == active(f"a {DAY}", f"c {DAY}")
        assert [row[:2] for row in listed(tmp_path / "bad.csv")[1:]] == [["2", "no day"], ["3", "not a JSON object"]]


def test_a_first_line_that_is_an_array_is_a_bad_row_of_its_own(tmp_path: Path) -> None:
    line = json.dumps({"user": "a", "day": DAY})
    for first in ("[1]", "[", "[{}]", f"[{line}]"):
        assert read(write(tmp_path, f"{first}\n{line}\n", "log.jsonl"), quarantine=tmp_path / "bad.csv") == ONE


def test_nested_keys(tmp_path: Path) -> None:
    row = {"properties": {"distinct_id": "a", "when": {"day": DAY}}, "event": "x"}
    columns = {"user": "properties.distinct_id", "day": "properties.when.day"}
    other = {"properties": {"distinct_id": ["b"]}, "properties.distinct_id": "c", "properties.when.day": DAY}
    lines = [json.dumps(one) for one in (row, other, {"properties": 7}, {})]
    path = write(tmp_path, "\n".join(lines), "log.jsonl")
    assert read(path, columns=columns, quarantine=tmp_path / "bad.csv") == active(f"a {DAY}", f"c {DAY}")
    assert [row[0] for row in listed(tmp_path / "bad.csv")[1:]] == ["3", "4"]
    assert read(parquet(tmp_path, pa.Table.from_pylist([row])), columns=columns) == ONE
    assert read(write(tmp_path, f"properties.distinct_id,properties.when.day\na,{DAY}\n"), columns=columns) == ONE
    with pytest.raises(LogError, match=r"no column 'properties\.id' for user"):
        read(parquet(tmp_path, pa.Table.from_pylist([row])), columns={**columns, "user": "properties.id"})


# Folders that are columns


@pytest.mark.slow
@pytest.mark.parametrize("column", ["day", "user", "op", "at", "c0", "c1", "timestamp"])
@pytest.mark.parametrize("value", ["2020-01-01", "x", "-"])
def test_folders_of_the_form_name_value_change_nothing(tmp_path: Path, column: str, value: str) -> None:
    folder = f"{column}={value}"
    rows = {"user": ["a"], "day": [DAY]}
    for path in (
        parquet(tmp_path, rows, f"{folder}/log.parquet"),
        write(tmp_path, TEXT, f"{folder}/log.csv"),
        write(tmp_path, json.dumps({"user": "a", "day": DAY}), f"{folder}/log.jsonl"),
    ):
        assert read(path) == ONE


def test_folders_may_be_columns(tmp_path: Path) -> None:
    for user, day in (("a b", DAY), ("b", "2024-05-02")):
        folder = f"day={day}/user={user.replace(' ', '%20')}"
        write(tmp_path, "op\n+\n", f"csv/{folder}/log.csv")
        write(tmp_path, '{"op": "+"}\n', f"jsonl/{folder}/log.jsonl")
        parquet(tmp_path, {"op": ["+"]}, f"parquet/{folder}/log.parquet")
    expected = active(f"a b {DAY}", "b 2024-05-02")
    for name in ("csv", "jsonl", "parquet"):
        assert read(tmp_path / name, hive=True) == expected
        with pytest.raises(LogError):
            read(tmp_path / name)


def test_a_folder_and_a_column_of_one_name_are_refused(tmp_path: Path) -> None:
    for path in (
        write(tmp_path, TEXT, "day=x/log.csv"),
        parquet(tmp_path, {"user": ["a"], "day": [DAY]}, "day=x/l.parquet"),
    ):
        with pytest.raises(LogError, match="column 'day' appears more than once"):
            read(path, hive=True)
    path = write(tmp_path, json.dumps({"user": "a", "day": DAY}), "day=x/log.jsonl")
    with pytest.raises(LogError, match="line 1: a key that the path has too: day"):
        read(path, hive=True)


def test_a_folder_may_say_that_there_is_no_value(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT, "op=__HIVE_DEFAULT_PARTITION__/log.csv")
    assert read(path, hive=True) == ONE
    path = parquet(tmp_path, {"user": ["a"], "day": [DAY]}, "op=__HIVE_DEFAULT_PARTITION__/log.parquet")
    assert read(path, hive=True) == ONE


# One list of formats


@pytest.mark.slow
def test_formats_are_listed_once(tmp_path: Path) -> None:
    assert tuple(FORMATS) == tuple(names.LOG_FORMATS)
    assert tuple(PRESETS) == names.LOG_PRESETS
    table = generate(5, 4, seed=1)
    for name, suffixes in names.LOG_FORMATS.items():
        for suffix in suffixes:
            for packed in ("", *(() if name == "parquet" else names.PACKED_SUFFIXES)):
                path = tmp_path / f"log{suffix}{packed}"
                write_log(table, path)
                assert len(read(path)) == table.num_rows
                assert read(path, input_format=name) == read(path)
    assert pq.read_table(tmp_path / "log.parquet").num_rows == table.num_rows
