"""Files that nobody wrote on purpose, or somebody did: every one is a log or a LogError, and none takes for ever."""

from __future__ import annotations

import gzip
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp.log import LogError, read_log
from dp.log.files import fingerprint
from tests.dp.log.reading import DAY, active, parquet, read, write
from tests.examples import examples

GOOD = f"user,day\na,{DAY}\nb,{DAY}\n".encode()
LINES = (json.dumps({"user": "a", "day": DAY}) + "\n").encode() * 2


def packed(content: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(content, mtime=0)
    return pa.compress(content, codec="zstd", asbytes=True)  # type: ignore[no-any-return]


def outcome(path: Path, **options: Any) -> int | None:
    """How many rows were used; None for a refusal. Anything else is a defect, and the sum must hold."""
    try:
        return len(read(path, quarantine=path.with_name("bad.csv"), **options))
    except LogError as error:
        message = str(error)
    assert str(path) in message
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log.csv.gz", "log.jsonl", "log.json"])
@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_packed_files_that_are_not_whole(tmp_path: Path, name: str, how: str) -> None:
    plain = GOOD if "csv" in name else LINES
    content = packed(plain, how)
    assert outcome(write(tmp_path, content, name)) == 2
    for cut in (*range(4, len(content), 7), *range(len(content) - 12, len(content))):
        with pytest.raises(LogError, match="is a damaged or truncated"):
            read(write(tmp_path, content[:cut], name), quarantine=tmp_path / "bad.csv")
    for behind in (b"rubbish", b"\0rubbish", content[:-3]):
        with pytest.raises(LogError, match="is a damaged or truncated"):
            read(write(tmp_path, content + behind, name))
    if how == "gzip":  # as tapes and some tools pad it
        assert outcome(write(tmp_path, content + b"\0" * 1000, name)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log.jsonl", "log.json"])
@pytest.mark.parametrize("depth", [10, 1000, 100_000, 3_000_000])
def test_json_that_is_nested_deeply_is_a_bad_row(tmp_path: Path, name: str, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    objects = '{"user":' * depth + "1" + "}" * depth
    for bad in ("[" * depth, nested, objects, f'{{"user":"c","x":{nested}}}', f'{{"user":{nested}}}'):
        path = write(tmp_path, LINES + bad.encode() + b"\n" + LINES, name)
        with read_log(path, quarantine=tmp_path / "bad.csv") as log:
            assert (log.rows_read, log.rows_used) == (5, 4)
    assert outcome(write(tmp_path, "[" * depth, name)) == 0


def _seconds(path: Path, **options: Any) -> float:
    start = time.process_time()
    outcome(path, **options)
    return time.process_time() - start


BAD_LINES = {
    "open quotes": '"u{0},{1}', "closed too early": '"u{0}"x,{1}', "nested quotes": '"u{0}""",""""{1}',
    "too wide": "u{0},{1},x", "too narrow": "u{0}", "no day": "u{0},", "no user": ",{1}", "no date": "u{0},never {0}",
    "not UTF-8": "u\udcff{0},{1}", "quoted and not UTF-8": '"u\udcff{0}",{1}', "far days": "u{0},3000-01-01",
}  # fmt: skip
BAD_OBJECTS = {
    "open": '{{"user": "u{0}", "day": "{1}"', "list": '["u{0}", "{1}"]', "no user": '{{"day": "{1}"}}',
    "number": '{{"user": "u{0}", "day": 7}}', "not UTF-8": '{{"user": "u\udcff{0}", "day": "{1}"}}',
    "no date": '{{"user": "u{0}", "day": "never {0}"}}', "both": '{{"user": "u{0}", "day": "{1}", "timestamp": "{1}"}}',
}  # fmt: skip


def lines_of_kind(folder: Path, row: str, count: int, name: str) -> Path:
    header = "user,day\n" if name.endswith("csv") else ""
    return write(folder, header + "".join(row.format(number, DAY) + "\n" for number in range(count)), name)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "row"), [*BAD_LINES.items(), *BAD_OBJECTS.items()])
def test_bad_rows_take_as_long_as_good_ones(tmp_path: Path, kind: str, row: str) -> None:
    name = "log.csv" if row in BAD_LINES.values() else "log.jsonl"
    good = "u{0},{1}" if name == "log.csv" else '{{"user": "u{0}", "day": "{1}"}}'
    count = 30_000
    reference = min(_seconds(lines_of_kind(tmp_path, good, count, name)) for _ in range(2))
    path = lines_of_kind(tmp_path, row, count, name)
    assert outcome(path) == 0
    # Generous, because a machine may be busy; what is looked for is a time that grows with the square: 80,000 rows
    # once took 79 s.
    assert min(_seconds(path) for _ in range(2)) < 6 * reference + 1


@pytest.mark.slow
@pytest.mark.parametrize("row", ['"', '""', '"""', '","', '"a', 'a"', '"a""', '",\\"'])
def test_quotes_cost_linear_time(tmp_path: Path, row: str) -> None:
    for text in (f"{row}\n" * 80_000, row * 100_000, f"{row},{DAY}\n" * 80_000):
        path = write(tmp_path, "user,day\n" + text)
        assert _seconds(path) < 15


@given(
    content=st.binary(max_size=60),
    name=st.sampled_from(["log.csv", "log.tsv", "log.jsonl", "log.json", "log.parquet"]),
    hive=st.booleans(),
)
@example(content=b"\x1f\x8b", name="log.csv", hive=False)
@example(content=b"\x28\xb5\x2f\xfd", name="log.json", hive=False)
@example(content=b"sep=,", name="log.csv", hive=True)
@example(content=b"sep=\n", name="log.csv", hive=True)
@example(content=b"sep=\0\nuser\0day\na\x002024-05-01", name="log.csv", hive=False)
@example(content=b"sep= \nuser day\na 2024-05-01", name="log.csv", hive=False)
@examples(25)
@pytest.mark.slow
def test_any_bytes_are_a_log_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, hive: bool
) -> None:
    outcome(write(tmp_path_factory.mktemp("bytes"), content, name), hive=hive)


@given(data=st.data(), how=st.sampled_from(["csv", "jsonl", "parquet", "csv.gz", "jsonl.zst"]))
@examples(25)
@pytest.mark.slow
def test_any_damage_is_a_log_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, how: str
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    if how == "parquet":
        content = bytearray(parquet(folder, {"user": ["a", "b"], "day": [date(2024, 5, 1)] * 2}).read_bytes())
    else:
        plain = GOOD if how.startswith("csv") else LINES
        kind = {"gz": "gzip", "zst": "zstd"}.get(how.split(".")[-1])
        content = bytearray(packed(plain, kind) if kind else plain)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) if data.draw(st.booleans()) else len(content) :]
    outcome(write(folder, bytes(content), f"damaged.{how}"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(DAY),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)
KEYS = st.sampled_from(["user", "day", "op", "at", "timestamp", "x.y"])


@given(
    rows=st.lists(st.dictionaries(KEYS, VALUES), max_size=5),
    date_format=st.sampled_from([None, "epoch-s", "epoch-us", "%Y%m%d"]),
)
@examples(20)
@pytest.mark.slow
def test_any_objects_are_rows_or_bad_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], date_format: str | None
) -> None:
    path = write(tmp_path_factory.mktemp("objects"), "\n".join(map(json.dumps, rows)), "log.jsonl")
    for columns in ({}, {"user": "x.y"}):
        assert outcome(path, date_format=date_format, columns=columns) is not None


@pytest.mark.parametrize(
    "header",
    ["user,day," + ",".join(f"c{number}" for number in range(2000)), "user,day,", "user,day,é", '"user","day"',
     '"us""er",user,day', " user,user,day", "user,day,\x7f"],
)  # fmt: skip
def test_any_header_with_our_names_will_do(tmp_path: Path, header: str) -> None:
    row = ",".join({"user": "a", "day": DAY}.get(name.strip('"'), "x") for name in header.split(","))
    assert read(write(tmp_path, f"{header}\n{row}\n")) == active(f"a {DAY}")


def test_memory_does_not_grow_with_bad_rows(tmp_path: Path) -> None:
    """What is kept of a bad row is nothing: the log of bad rows only is as small as an empty one."""
    path = lines_of_kind(tmp_path, BAD_LINES["no date"], 50_000, "log.csv")
    with read_log(path, quarantine=tmp_path / "bad.csv") as log:
        (size,) = log.connection.execute("SELECT COALESCE(SUM(estimated_size), 0) FROM duckdb_tables()").fetchall()[0]
        assert (size, log.rows_set_aside) == (0, 50_000)
    assert len(fingerprint(tmp_path / "bad.csv")) == 64
