"""The edge: every kind of bad row, the sums, formats, time zones, and two CSV readers that must agree."""

import csv
import gzip
import io
import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dp.log.csv_format
from dp.log import LogError, arrived_fingerprint, fingerprint, read_log, write_canonical
from dp.log.lines import Lines
from dp.presence import DuckDBEngine
from tests.dp.log.reading import DAY, listed, parquet, read, rows_of, write
from tests.examples import examples
from tests.laws import each

# What is accepted


def test_a_plain_csv(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "user,day,op,at\nb,2024-05-01,+,\na,2024-05-01,,2024-05-03\na,2024-05-01,-,2024-05-04\na,,erase,2024-05-06\n",
    )
    with read_log(path) as log:
        assert rows_of(log) == [
            ("b", DAY, "+", DAY),
            ("a", DAY, "+", "2024-05-03"),
            ("a", DAY, "-", "2024-05-04"),
            ("a", None, "erase", "2024-05-06"),
        ]
        assert (log.rows_read, log.rows_used, log.rows_set_aside, log.users) == (4, 4, 0, 2)
        assert (log.first_day, log.last_day) == (date(2024, 5, 1), date(2024, 5, 6))


def test_an_erase_without_at_arrives_on_its_day(tmp_path: Path) -> None:
    path = write(tmp_path, "user,day,op,at\na,2024-05-02,erase,\na,2024-05-03,erase,2024-05-03\n")
    assert read(path) == [("a", None, "erase", "2024-05-02"), ("a", None, "erase", "2024-05-03")]


def test_op_and_at_are_optional_and_other_columns_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, "country,day,user\nfr,2024-05-01,a\n,2024-05-02,b\n")
    assert read(path) == [("a", DAY, "+", DAY), ("b", "2024-05-02", "+", "2024-05-02")]


@each("break_", ["\n", "\r\n", "\r"])
@each("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_bom_and_blank_lines(tmp_path: Path, break_: str, bom: bytes) -> None:
    text = break_.join(["user,day", "é,2024-05-01", "", '"a, ""b""",2024-05-02', ""])
    assert read(write(tmp_path, bom + text.encode())) == [
        ("é", DAY, "+", DAY),
        ('a, "b"', "2024-05-02", "+", "2024-05-02"),
    ]


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    packed = gzip.compress(b"user,day\na,2024-05-01\n", mtime=0)
    expected = [("a", DAY, "+", DAY)]
    assert read(write(tmp_path, packed, "log.csv")) == expected
    assert read(write(tmp_path, packed, "log.csv.gz")) == expected
    assert read(write(tmp_path, "user,day\na,2024-05-01\n", "plain.csv.gz")) == expected
    lines = gzip.compress(b'{"user": "a", "day": "2024-05-01"}\n', mtime=0)
    assert read(write(tmp_path, lines, "log.jsonl.gz")) == expected


def test_column_names_can_be_mapped(tmp_path: Path) -> None:
    path = write(tmp_path, "CustomerID,InvoiceDate,user,day\n7,2024-05-01 08:26:00,x,y\n")
    columns = {"user": "CustomerID", "timestamp": "InvoiceDate"}
    assert read(path, columns=columns) == [("7", DAY, "+", DAY)]


def test_the_path_is_no_pattern(tmp_path: Path) -> None:
    write(tmp_path, "user,day\nwrong,2024-05-01\n", "log1.csv")
    for name in ("log[1].csv", "log*.csv", "log?.csv", "it's.csv"):
        assert read(write(tmp_path, "user,day\nright,2024-05-01\n", name)) == [("right", DAY, "+", DAY)]


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        {"user": "a", "day": DAY},
        {"user": 7, "day": DAY, "op": "-", "at": "2024-05-02", "more": [1]},
        {"user": "a", "day": None, "op": "erase", "at": "2024-05-03"},
    ]
    text = "\n\n".join(json.dumps(row) for row in rows)
    assert read(write(tmp_path, "\ufeff" + text, "log.ndjson")) == [
        ("a", DAY, "+", DAY),
        ("7", DAY, "-", "2024-05-02"),
        ("a", None, "erase", "2024-05-03"),
    ]


BERLIN = "Europe/Berlin"
LATE_EVENING = datetime(2024, 5, 1, 23, 30)


@pytest.mark.parametrize(
    ("values", "timezone_name", "expected"),
    [
        (pa.array([date(2024, 5, 1)]), BERLIN, "2024-05-01"),
        (pa.array([LATE_EVENING], pa.timestamp("s")), BERLIN, "2024-05-01"),
        (pa.array([LATE_EVENING], pa.timestamp("ns")), BERLIN, "2024-05-01"),
        (pa.array([LATE_EVENING], pa.timestamp("us", tz="UTC")), BERLIN, "2024-05-02"),
        (pa.array([LATE_EVENING], pa.timestamp("us", tz="UTC")), "America/New_York", "2024-05-01"),
        (pa.array(["2024-05-01T23:30:00Z"]), BERLIN, "2024-05-02"),
    ],
)
def test_parquet_days(tmp_path: Path, values: pa.Array, timezone_name: str, expected: str) -> None:
    path = parquet(tmp_path, {"user": ["a"], "day": values})
    assert read(path, timezone=timezone_name) == [("a", expected, "+", expected)]


def test_parquet_users_can_be_numbers_beyond_two_to_the_53(tmp_path: Path) -> None:
    users = pa.array([2**53, 2**53 + 1], pa.int64())
    path = parquet(tmp_path, {"user": users, "day": [date(2024, 5, 1)] * 2, "op": pa.array(["+", None])})
    assert [row[0] for row in read(path)] == [str(2**53), str(2**53 + 1)]


@each(
    ("columns", "message"),
    [
        ({"user": pa.array([1.0]), "day": pa.array([DAY])}, r"'user' \(user\) holds DOUBLE"),
        ({"user": pa.array([True]), "day": pa.array([DAY])}, r"'user' \(user\) holds BOOLEAN"),
        ({"user": pa.array(["a"]), "day": pa.array([20240501])}, r"'day' \(day\) holds BIGINT"),
        ({"user": pa.array(["a"]), "day": pa.array([DAY]), "op": pa.array([1])}, r"'op' \(op\) holds BIGINT"),
    ],
)
def test_parquet_types_that_lose_something_are_refused(
    tmp_path: Path, columns: dict[str, pa.Array], message: str
) -> None:
    with pytest.raises(LogError, match=message):
        read_log(parquet(tmp_path, columns))


# Days, times and zones


@each(
    ("timezone_name", "expected"),
    [
        (
            BERLIN,
            {
                "2024-05-01T00:30": DAY,
                "2024-05-01 23:59:59.123456789": DAY,
                "2024-04-30T22:00:00Z": DAY,
                "2024-04-30T21:59:59Z": "2024-04-30",
            },
        ),
        ("America/New_York", {"2024-05-02T03:59:59+00:00": DAY, "2024-05-02 04:00:00+0000": "2024-05-02"}),
        (
            "UTC",
            {
                "2024-02-29": "2024-02-29",
                "2024-05-01T05:29:59+05:30": "2024-04-30",
                "2024-05-01T05:30:00+05:30": DAY,
                "2024-04-30T20:00-04": DAY,
                "1900-01-01": "1900-01-01",
                "2200-12-31T23:59": "2200-12-31",
            },
        ),
    ],
)
def test_a_day_is_a_calendar_day_in_the_configured_zone(
    tmp_path: Path, timezone_name: str, expected: dict[str, str]
) -> None:
    path = write(tmp_path, "user,timestamp\n" + "".join(f"a,{value}\n" for value in expected))
    assert read(path, timezone=timezone_name) == [("a", day, "+", day) for day in expected.values()]


def test_times_of_day_in_at_decide_the_order_of_arrival(tmp_path: Path) -> None:
    text = "\n".join(
        [
            "user,day,op,at",
            "a,2024-05-01,-,2024-05-01T12:00:00Z",
            "b,2024-05-01,+,2024-05-01",  # the start of the day in Berlin: 22:00 UTC the day before
            "c,2024-05-01,+,2024-05-01 13:59:00",  # Berlin wall clock: 11:59 UTC
            "d,2024-05-01,+,2024-05-01T12:00:00Z",
        ]
    )
    assert [row[0] for row in read(write(tmp_path, text), timezone=BERLIN)] == ["b", "c", "a", "d"]


def test_times_in_the_timestamp_column_do_not_change_the_file_order(tmp_path: Path) -> None:
    path = write(tmp_path, "user,timestamp\na,2024-05-01 12:00\nb,2024-05-01 11:00\n")
    assert [row[0] for row in read(path)] == ["a", "b"]


def test_an_unknown_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="timezone = 'Berlin' is unknown"):
        read_log(write(tmp_path, f"user,day\na,{DAY}\n"), timezone="Berlin")


# Bad rows

BAD_ROWS = [
    (f"a,{DAY},+", "3 fields where the header has 4"),
    (f"a,{DAY},+,{DAY},x", "5 fields where the header has 4"),
    ("a,2024-02-30,+,", "unparseable day '2024-02-30', expected YYYY-MM-DD"),
    ("a,2024-5-1,+,", "unparseable day '2024-5-1'"),
    ("a,01/05/2024,+,", "unparseable day '01/05/2024'"),
    ("a,2024-05-01 25:00,+,", "unparseable day '2024-05-01 25:00'"),
    ("a,2024-05-01 24:00,+,", "unparseable day '2024-05-01 24:00'"),
    ("a,1899-12-31,+,", "unparseable day '1899-12-31'"),
    ("a,2201-01-01,+,", "unparseable day '2201-01-01'"),
    ("a,infinity,+,", "unparseable day 'infinity'"),
    (f"a,{DAY},+,soon", "unparseable at 'soon'"),
    (f"a,{DAY},add,", "unknown op 'add', expected \\+, - or erase"),
    (f",{DAY},+,", "empty user"),
    (f"  ,{DAY},+,", "empty user"),
    (f"a\0b,{DAY},+,", "NUL byte in the user"),
    (f"a,{DAY},+,2024-04-30", "at 2024-04-30 is before day 2024-05-01"),
    ("a,,+,2024-05-01", "no day"),
    ("a,,-,2024-05-01", "no day"),
    ("a,,erase,", "an erase needs an at"),
    (f"a,{DAY},erase,2024-05-02", "an erase takes no day besides its at"),
    (f'"a"b,{DAY},+,', "not a CSV row"),
    ("\x7fELF\x02\x01", "1 fields where the header has 4"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
def test_a_bad_row_is_named_with_file_line_and_reason(tmp_path: Path, row: str, reason: str) -> None:
    path = write(tmp_path, f'user,day,op,at\n"two, ""words""",{DAY},+,\n\n\n{row}\nb,{DAY},+,\n')
    with pytest.raises(LogError, match=rf"(?s)1 of 3 rows are bad.*log\.csv, line 5: {reason}.*--on-error"):
        read_log(path)
    assert list(tmp_path.iterdir()) == [path]  # nothing was written


def test_bad_rows_are_set_aside_as_they_stood_with_line_and_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "user,day,op,at\n" + "".join(f'{row}\n"two, ""words""",{DAY},+,\n\n' for row, _ in BAD_ROWS))
    quarantine = tmp_path / "bad.csv"
    assert read(path, quarantine=quarantine) == [('two, "words"', DAY, "+", DAY)] * len(BAD_ROWS)
    with quarantine.open(encoding="utf-8", newline="") as stream:
        header, *found = csv.reader(stream)
    assert header == ["line", "reason", "raw"]
    for place, ((line, told, raw), (row, reason)) in enumerate(zip(found, BAD_ROWS, strict=True)):
        assert (line, raw) == (str(2 + 3 * place), row)
        assert re.match(reason, told)


def test_bytes_that_are_not_utf8_matter_in_our_columns_only(tmp_path: Path) -> None:
    path = write(tmp_path, b"user,day,note\na,2024-05-01,caf\xe9\nb\xff,2024-05-01,x\nc,2024-05-01,y\n")
    with pytest.raises(LogError, match=r"1 of 3 rows are bad.*\n.*line 3: the user is not UTF-8"):
        read_log(path)
    assert [row[0] for row in read(path, quarantine=tmp_path / "bad.csv")] == ["a", "c"]
    assert "b\\udcff,2024-05-01,x" in (tmp_path / "bad.csv").read_text(encoding="utf-8")


def test_an_open_quote_costs_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, f'user,day\na,{DAY}\n"b,{DAY}\nc,{DAY}\nd,{DAY}\n')
    assert [row[0] for row in read(path, quarantine=tmp_path / "bad.csv")] == ["a", "c", "d"]


def test_an_error_shows_the_first_bad_rows_and_counts_all(tmp_path: Path) -> None:
    path = write(tmp_path, "user,day\n" + "a,never\n" * 12)
    with pytest.raises(LogError) as error:
        read_log(path)
    message = str(error.value)
    assert "12 of 12 rows" in message
    assert message.count("unparseable day") == 5
    assert "and 7 more" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("nonsense", "not JSON"),
        ('{"user": 1.5, "day": "2024-05-01"}', "user is 1.5, expected text or a whole number"),
        ('{"user": true, "day": "2024-05-01"}', "user is true"),
        ('{"user": "a", "day": 20240501}', "day is 20240501, expected text"),
        ('{"user": "a", "day": "2024-05-01", "op": ["+"]}', "op is"),
        ('{"day": "2024-05-01"}', "empty user"),
        ('{"user": "a"}', "no day"),
    ],
)
def test_a_bad_json_line(tmp_path: Path, line: str, reason: str) -> None:
    good = json.dumps({"user": "b", "day": DAY})
    path = write(tmp_path, f"{good}\n\n{line}\n{good}\n", "log.jsonl")
    with pytest.raises(LogError, match=rf"1 of 3 rows are bad.*\n.*log\.jsonl, line 3: {reason}"):
        read_log(path)
    assert len(read(path, quarantine=tmp_path / "bad.csv")) == 2
    assert (tmp_path / "bad.csv").read_text(encoding="utf-8").count("\n") == 2


def test_a_json_line_that_is_not_utf8(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"user": "a", "day": "2024-05-01"}\n{"user": "\xff", "day": "2024-05-01"}\n', "log.jsonl")
    with pytest.raises(LogError, match="line 2: not UTF-8"):
        read_log(path)


def test_a_bad_parquet_row(tmp_path: Path) -> None:
    days = pa.array([date(2024, 5, 1), None, date(3000, 1, 1)])
    path = parquet(tmp_path, {"user": ["a", "b", "c"], "day": days})
    with pytest.raises(LogError, match=r"2 of 3(?s:.*)row 2: no day(?s:.*)row 3: unparseable day '3000-01-01'"):
        read_log(path)
    assert read(path, quarantine=tmp_path / "bad.csv") == [("a", DAY, "+", DAY)]
    with (tmp_path / "bad.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert [(row[0], json.loads(row[2])) for row in rows[1:]] == [
        ("2", {"user": "b", "day": None}),
        ("3", {"user": "c", "day": "3000-01-01"}),
    ]


def test_the_quarantine_file_is_fresh_and_never_the_input(tmp_path: Path) -> None:
    path = write(tmp_path, f"user,day\na,{DAY}\n")
    quarantine = write(tmp_path, "of an earlier run", "bad.csv")
    read(path, quarantine=quarantine)
    assert quarantine.read_text(encoding="utf-8") == "line,reason,raw\n"
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    for same in (path, link, tmp_path / "." / "log.csv"):
        with pytest.raises(ValueError, match="is the input file"):
            read_log(path, quarantine=same)
    with pytest.raises(ValueError, match="is a folder: name a file"):
        read_log(path, quarantine=tmp_path)
    assert path.read_text(encoding="utf-8") == f"user,day\na,{DAY}\n"


# Files refused whole


@each(
    ("name", "content", "message"),
    [
        ("log.csv", b"", "is empty"),
        ("log.csv", b"\n\n", "is empty"),
        ("log.csv", b"user,when\na,b\n", "no column 'day' or 'timestamp'.*columns found: user, when"),
        ("log.csv", b"id,day\na,b\n", "no column 'user'.*columns found: id, day"),
        ("log.csv", b"user,day,timestamp\na,b,c\n", "both a day and a timestamp"),
        ("log.csv", b"user,day,user\na,b,c\n", "column 'user' appears more than once"),
        ("log.csv", b"u\xffser,day\na,b\n", "header is not a row of names in UTF-8"),
        ("log.csv", "user,day\na,b\n".encode("utf-16"), "header is not a row of names in UTF-8"),
        ("log.csv", bytes(range(256)) * 8, "header is not a row of names"),
        ("log.jsonl", b'{"user": "a", "when": "x"}\n', "rows are bad|no column 'day'"),
        ("log.parquet", b"", "cannot be read as Parquet"),
        ("log.parquet", b"PAR1 rubbish PAR1", "cannot be read as Parquet"),
        ("log.parquet", gzip.compress(b"PAR1", mtime=0), "is gzipped"),
        ("log.txt", b"user,day\n", "--input-format"),
        ("log", b"user,day\n", "--input-format"),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(LogError, match=message):
        read_log(write(tmp_path, content, name))


@each("name", ["log.csv.gz", "log.jsonl.gz"])
@each("damage", ["cut", "checksum"])
def test_a_damaged_gzip_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    line = f"a,{DAY}\n" if "csv" in name else json.dumps({"user": "a", "day": DAY}) + "\n"
    packed = bytearray(gzip.compress((("user,day\n" if "csv" in name else "") + line * 5000).encode()))
    if damage == "cut":
        del packed[-20:]
    else:
        packed[-8] ^= 0xFF
    with pytest.raises(LogError, match="damaged or truncated gzip"):
        read_log(write(tmp_path, bytes(packed), name))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"none\.csv cannot be read: No such file"):
        read_log(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    for name in ("folder.csv", "folder.parquet"):
        with pytest.raises(LogError, match="is a folder without files"):
            read_log(tmp_path / name)


def test_wrong_options(tmp_path: Path) -> None:
    path = write(tmp_path, f"user,day\na,{DAY}\n")
    with pytest.raises(ValueError, match=r"\['usr'\] not among ours, which are user, day"):
        read_log(path, columns={"usr": "user"})
    with pytest.raises(LogError, match="no column 'CustomerID' for user; columns found: user, day"):
        read_log(path, columns={"user": "CustomerID"})
    with pytest.raises(ValueError, match="input_format = 'xml'"):
        read_log(path, input_format="xml")
    named = write(tmp_path, f"user,day\na,{DAY}\n", "log.txt")
    assert read(named, input_format="csv") == [("a", DAY, "+", DAY)]


# Two readers, one answer

CELL = st.text(st.sampled_from("ab\"',\té☃ ;"), max_size=6)


def nothing_is_sure(lines: Lines, delimiter: str) -> dp.log.csv_format._Judged:
    """Every line is looked at by `fields_of`."""
    no = np.zeros(len(lines), bool)
    return dp.log.csv_format._Judged(np.zeros(len(lines), int), no, no)


@given(
    users=st.lists(CELL.filter(lambda text: text.strip(" \t\r\n")), min_size=1, max_size=12),
    note=CELL,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
)
@example(users=["a"], note=' "x" ', quoting=csv.QUOTE_ALL, line_end="\n", bom=False)
@example(users=["a", ' x"y '], note="", quoting=csv.QUOTE_ALL, line_end="\r\n", bom=True)
@examples(10)
@pytest.mark.slow
def test_the_fast_and_the_slow_csv_reader_agree(
    tmp_path_factory: pytest.TempPathFactory,
    users: list[str],
    note: str,
    quoting: Any,
    line_end: str,
    bom: bool,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=line_end)
    writer.writerow(["note", "user", "day"])
    writer.writerows([note, user, DAY] for user in users)
    path = tmp_path_factory.mktemp("both") / "log.csv"
    path.write_bytes(b"\xef\xbb\xbf" * bom + text.getvalue().encode())
    expected = [(user, DAY, "+", DAY) for user in users]
    assert read(path) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp.log.csv_format, "_regular", lambda *_: None)
        assert read(path) == expected
        patch.setattr(dp.log.csv_format, "_judged", nothing_is_sure)
        assert read(path) == expected


@example(content="a,b,")
@example(content='a,b,""')
@example(content=",,")
@example(content="\ufeff")
@example(content="\ufeff\n\ufeffa,2024-05-01")
@example(content="\ufeffa,2024-05-01\na,2024-05-01")
@example(content='\ufeff"a",2024-05-01')
@example(content='a"b,"a"\na"b,2024-05-01\na"",b",2024-05-01\n"a"",b",2024-05-01\na,"b""\n"')
@example(content='b\udcff,2024-05-01\n"\udcff",x\n\udcff,\udcff,"')
@given(content=st.text(st.sampled_from('ab",\n\r\t \udcff\0é'), max_size=40))
@examples(15)
@pytest.mark.slow
def test_the_readers_agree_on_rubbish(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    """Whatever the bytes: the same rows, the same faults on the same lines."""
    folder = tmp_path_factory.mktemp("rubbish")
    path = write(folder, f"user,day\n{content}\nz,{DAY}\n".encode("utf-8", "surrogateescape"))
    outcomes = []
    regular, judged = dp.log.csv_format._regular, dp.log.csv_format._judged
    for quick, sure in ((regular, judged), (lambda *_: None, judged), (lambda *_: None, nothing_is_sure)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dp.log.csv_format, "_regular", quick)
            patch.setattr(dp.log.csv_format, "_judged", sure)
            try:
                rows = read(path, quarantine=folder / "bad.csv")
            except LogError as error:
                rows = [(str(error), None, "", "")]
            outcomes.append((rows, (folder / "bad.csv").read_text(encoding="utf-8", errors="replace")))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_rows_are_read_alike_however_many_are_equal(tmp_path: Path) -> None:
    """Where many rows say the same it is judged once, else row by row."""
    days = [
        DAY,
        "",
        "20240501",
        "2024-05-01T23:30-01",
        "2024-05-01t08:26 utc",
        "2024-05-01T08:26:01",
        "never",
        "3000-01-01",
    ]
    rows = [
        f"u{op}{at},{day},{op},{at}" for day in days for op in ("", "+", "-", "erase", "x") for at in ("", *days[:3])
    ]
    quarantine = tmp_path / "bad.csv"
    for often in (1, 2, 3):
        repeated = [row for row in rows for _ in range(often)]
        good = read(write(tmp_path, "\n".join(["user,day,op,at", *repeated])), quarantine=quarantine)
        faults = [(reason, raw) for _, reason, raw in listed(quarantine)[1:]]
        if often == 1:
            good_once, faults_once = good, faults
        assert good == [row for row in good_once for _ in range(often)]
        assert faults == [row for row in faults_once for _ in range(often)]
        assert len(good) + len(faults) == len(repeated)
        assert min(len(good), len(faults)) > 20


# The canonical log, determinism, progress


def test_a_canonical_log_reads_back_as_it_was(tmp_path: Path) -> None:
    text = "user,day,op,at\nb,2024-05-01,+,2024-05-01T10:00Z\na,2024-05-01,-,2024-05-01T09:00Z\na,,erase,2024-05-02\n"
    with read_log(write(tmp_path, text)) as log:
        write_canonical(log, tmp_path / "canonical.parquet")
        rows = rows_of(log)
    assert read(tmp_path / "canonical.parquet") == rows
    table = pq.read_table(tmp_path / "canonical.parquet")
    assert table.schema.names == ["user", "day", "op", "at", "seq"]
    assert [str(kind) for kind in table.schema.types] == ["string", "date32[day]", "string", "date32[day]", "int64"]
    assert table["seq"].to_pylist() == sorted(table["seq"].to_pylist())


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    lines = [f"u{number % 97},2024-05-{number % 28 + 1:02d}" for number in range(5000)]
    path = write(tmp_path, "user,day\n" + "\n".join(lines))
    assert read(path) == read(path)
    assert [row[0] for row in read(path)] == [line.split(",")[0] for line in lines]


def test_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path, b"abc")
    assert fingerprint(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_progress_is_told(tmp_path: Path, name: str) -> None:
    content = f"user,day\na,{DAY}\n" if name == "log.csv" else json.dumps({"user": "a", "day": DAY})
    told: list[tuple[str, float | None]] = []
    read(write(tmp_path, content, name), progress=lambda stage, fraction: told.append((stage, fraction)))
    assert told[0][0] == "reading"
    assert all(fraction is None or 0 <= fraction <= 1 for _, fraction in told)


def test_one_user_s_rows_do_not_reorder_another_s(tmp_path: Path) -> None:
    """Sensitivity: whether rows without an arrival stand in file order must not depend on anybody else's rows."""
    mine = "".join(f"u{i},2024-05-01 10:00:00,+,\nu{i},2024-05-01 09:00:00,-,\n" for i in range(20))
    counts = []
    for theirs in ("", "x,2024-05-01 08:00:00,+,2024-05-01 12:00:00\n"):
        path = tmp_path / "log.csv"
        path.write_text("user,timestamp,op,at\n" + mine + theirs)
        with read_log(path) as log:
            day = date(2024, 5, 1)
            counts.append(int(DuckDBEngine(log.connection).daily_flips([1], day, day)[1].counts.values[0]))
    assert counts == [0, 1]


@pytest.mark.slow
def test_the_name_of_what_arrived_tells_pasts_apart(tmp_path: Path) -> None:
    def name(rows: str, through: date = date(2024, 5, 3)) -> str:
        with read_log(write(tmp_path, "user,day,op,at\n" + rows)) as log:
            return arrived_fingerprint(log, through)

    past = "a,2024-05-01,+,\nb,2024-05-02,+,2024-05-03\n"
    assert name("b,2024-05-02,+,2024-05-03\na,2024-05-01,+,\n") == name(past)
    assert name(past + "c,2024-05-01,+,2024-05-04\n,,erase,2024-05-05\n".replace("\n,,", "\nc,,")) == name(past)
    # On one tick, adding days in another order changes nothing; before or after an erasure, or taking back, does.
    one, two = "a,2024-05-01,+,2024-05-03\n", "a,2024-05-02,+,2024-05-03\n"
    assert name(one + two) == name(two + one)
    for op in ("a,,erase,2024-05-03\n", "a,2024-05-01,-,2024-05-03\n"):
        assert name(op + one) != name(one + op)
        assert name(op + one + two) == name(op + two + one)
    assert name(one + "a,,erase,2024-05-03\n" + two) != name(two + "a,,erase,2024-05-03\n" + one)
    others = (
        "a,2024-05-01,+,\n",
        past + "a,2024-05-01,+,\n",
        past + "a,2024-05-01,-,2024-05-03\n",
        past.replace("a,", "c,"),
        past.replace("05-03", "05-02"),
    )
    assert len({name(rows) for rows in (past, *others)}) == 6
