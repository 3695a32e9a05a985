"""How days and times may be written: what is read as it stands, what needs a date format, and what is suggested."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dp.log.staging
from dp.log import LogError, read_log
from dp.log.moments import as_times
from dp.log.suggestions import suggestion
from tests.dp.log.reading import DAY, listed, parquet, read, write
from tests.examples import examples
from tests.laws import each

BERLIN = "Europe/Berlin"


def days(folder: Path, *values: str, **options: Any) -> list[str | None]:
    """The day of each value in a CSV file."""
    return [row[1] for row in read(write(folder, "user;day\n" + "".join(f"a;{value}\n" for value in values)),
                                   delimiter=";", **options)]  # fmt: skip


# As written, its day, and its day in Berlin.
SPELLINGS = [
    ("2024-05-01 00:00:00 UTC", DAY, DAY),
    ("2024-05-01 22:30:00 UTC", DAY, "2024-05-02"),
    ("2024-05-01 22:30:00.123456 UTC", DAY, "2024-05-02"),
    ("2024-05-01t22:30:00z", DAY, "2024-05-02"),
    ("2024-05-01T22:30:00.5+0000", DAY, "2024-05-02"),
    ("2024-05-01 22:30:00 +0000", DAY, "2024-05-02"),
    ("2024-05-01 23:30:00 +0100", DAY, "2024-05-02"),
    ("2024-05-02 00:30:00+02", DAY, "2024-05-02"),
    ("2024-05-01T23:30:00-00:30", "2024-05-02", "2024-05-02"),
    ("2024-05-01 23:59:59.9999999", DAY, DAY),
    ("20240501", DAY, DAY),
    ("2024-05-01", DAY, DAY),
]


def test_spellings_that_are_read_as_they_stand(tmp_path: Path) -> None:
    values, expected, in_berlin = map(list, zip(*SPELLINGS, strict=True))
    assert days(tmp_path, *values) == expected
    assert days(tmp_path, *values, timezone=BERLIN) == in_berlin
    assert days(tmp_path, *values, date_format="iso", timezone=BERLIN) == in_berlin


TIMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(
            ["2024-05-01", "2024-02-30", "1899-12-31", "0000-01-01", "2200-12-31", "2024-12-31", "20240501"]
        ),
        st.sampled_from(["T", " ", "t", ""]),
        st.sampled_from(["00:00:00", "23:59:59", "08:26", "08", "24:00:00", "23:59:60", "8:26:00", ""]),
        st.sampled_from(["", "", ".5", ".123456", ".123456789", "."]),
        st.sampled_from(["", "", "Z", "z", " UTC", "+01", "-0330", "+14:00", "+24:00", "+1", "-00:00"]),
    ),
)


@examples(60)
@given(
    days=st.lists(TIMES, min_size=1, max_size=3), ats=st.lists(TIMES, max_size=3),
    zone=st.sampled_from(["UTC", BERLIN]), date_format=st.sampled_from(["iso", "iso-utc"]),
)  # fmt: skip
@example(days=["2024-05-01T08:26:00"], ats=["2024-05-01 08:26:00Z"], zone=BERLIN, date_format="iso")
@example(days=["2024-05-01T22:26:00"], ats=[], zone=BERLIN, date_format="iso-utc")
@example(days=["2024-05-01T08+01:00"], ats=[], zone=BERLIN, date_format="iso")
@example(days=["0000-01-01T08:26:00"], ats=["0000-01-01T08:26:00"], zone="UTC", date_format="iso")
@pytest.mark.slow
def test_times_are_read_alike_by_arrow_and_by_sql(
    tmp_path_factory: pytest.TempPathFactory, days: list[str], ats: list[str], zone: str, date_format: str
) -> None:
    folder, outcomes = tmp_path_factory.mktemp("both"), []
    rows = [f"u{place},{day},{at}" for place, (day, at) in enumerate(zip_longest(days, ats, fillvalue=""))]
    path = write(folder, "\n".join(["user,day,at", *rows]))
    for quick in (as_times, lambda *_: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dp.log.staging, "as_times", quick)
            read_rows = read(path, timezone=zone, date_format=date_format, quarantine=folder / "bad.csv")
        outcomes.append((read_rows, listed(folder / "bad.csv")))
    assert outcomes[0] == outcomes[1]


def test_times_without_an_offset_may_be_in_utc(tmp_path: Path) -> None:
    values = ("2024-05-01 22:30:00", "2024-05-01", "2024-05-01 22:30:00 -0100")
    assert days(tmp_path, *values, timezone=BERLIN) == [DAY, DAY, "2024-05-02"]
    assert days(tmp_path, *values, timezone=BERLIN, date_format="iso-utc") == ["2024-05-02", DAY, "2024-05-02"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    ["2024-05-01 00:00:00 CET", "2024-05-01 00:00  Z", "2024-05-01T", "2024-05-01T1:00", "2024-05-01T10", "20240532",
     "2024-05-01T10:00+24:00", "2024-05-01T10:00+1", "2024-05-01T10:60", "+2024-05-01", "2024-W18-3", "2024-122",
     "2024-05-01T10:00ZZ", "2024-05-01T10:00:00.", "٢٠٢٤٠٥٠١", "1e9", "epoch", "infinity", "-infinity"],
)  # fmt: skip
def test_other_spellings_are_bad_rows(tmp_path: Path, value: str) -> None:
    with pytest.raises(LogError, match="line 2: unparseable day"):
        days(tmp_path, value)


@given(
    moment=st.datetimes(datetime(1900, 1, 3), datetime(2200, 12, 30)),
    minutes=st.integers(-23 * 60, 23 * 60),
    form=st.sampled_from(["%Y-%m-%d %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dt%H:%M%z", "%Y-%m-%d %H:%M:%S %z"]),
)
@examples(15)
@pytest.mark.slow
def test_offsets_are_those_of_datetime(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime, minutes: int, form: str
) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)), second=0 if "%S" not in form else moment.second)
    text = aware.strftime(form).rjust(len(form), "0") if moment.year < 1000 else aware.strftime(form)
    assert days(tmp_path_factory.mktemp("offsets"), text) == [aware.astimezone(UTC).date().isoformat()]


# Date formats


@given(seconds=st.floats(-2_208_988_800, 7_289_654_399))
@examples(15)
@pytest.mark.slow
def test_epochs_are_those_of_datetime(tmp_path_factory: pytest.TempPathFactory, seconds: float) -> None:
    folder = tmp_path_factory.mktemp("epochs")
    micro = int(seconds * 1_000_000)
    expected = (datetime(1970, 1, 1) + timedelta(microseconds=micro)).date().isoformat()
    sign, size = "-" if micro < 0 else "", abs(micro)
    assert days(folder, str(micro), date_format="epoch-us") == [expected]
    assert days(folder, f"{sign}{size // 1000}.{size % 1000:03}", date_format="epoch-ms") == [expected]
    assert days(folder, f"{sign}{size // 10**6}.{size % 10**6:06}", date_format="epoch-s") == [expected]


def test_epochs_are_instants(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, 22, 30, tzinfo=UTC)
    assert days(tmp_path, str(int(moment.timestamp())), date_format="epoch-s", timezone=BERLIN) == ["2024-05-02"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", ["1714564800x", "1,7", "--1", "1e9", "99999999999999999999", "0x10", "2024-05-01", "."]
)
def test_what_is_no_epoch_is_a_bad_row(tmp_path: Path, value: str) -> None:
    for unit in ("epoch-s", "epoch-ms", "epoch-us"):
        with pytest.raises(LogError, match=f"unparseable day .*, expected {unit}, 1900 to 2200"):
            days(tmp_path, value, date_format=unit)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "pattern", "expected", "in_berlin"),
    [
        ("12/1/2010 8:26", "%m/%d/%Y %H:%M", "2010-12-01", "2010-12-01"),
        ("1.12.2010", "%d.%m.%Y", "2010-12-01", "2010-12-01"),
        ("20101201 2359", "%Y%m%d %H%M", "2010-12-01", "2010-12-01"),
        ("12/01/10 11:30 PM", "%m/%d/%y %I:%M %p", "2010-12-01", "2010-12-01"),
        ("01/Dec/2010:23:30:00 +0000", "%d/%b/%Y:%H:%M:%S %z", "2010-12-01", "2010-12-02"),
        ("01/Dec/2010:23:30:00 -0100", "%d/%b/%Y:%H:%M:%S %z", "2010-12-02", "2010-12-02"),
        ("2010/12/01 23:30 UTC", "%Y/%m/%d %H:%M UTC", "2010-12-01", "2010-12-02"),
        ("2010/12/01 23:30Z", "%Y/%m/%d %H:%MZ", "2010-12-01", "2010-12-02"),
    ],
)
def test_patterns(tmp_path: Path, value: str, pattern: str, expected: str, in_berlin: str) -> None:
    assert days(tmp_path, value, date_format=pattern) == [expected]
    assert days(tmp_path, value, date_format=pattern, timezone=BERLIN) == [in_berlin]
    for wrong in ("epoch", "infinity", DAY if "/" in pattern else "x", value + "x"):
        with pytest.raises(LogError, match="unparseable day"):
            days(tmp_path, wrong, date_format=pattern)


@given(
    moment=st.datetimes(datetime(1900, 1, 1), datetime(2200, 12, 31)),
    pattern=st.sampled_from(["%m/%d/%Y %H:%M", "%d.%m.%Y", "%Y%m%d%H%M%S", "%d %B %Y %I:%M %p", "%j %Y"]),
)
@examples(15)
@pytest.mark.slow
def test_patterns_are_those_of_datetime(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime, pattern: str
) -> None:
    expected = datetime.strptime(moment.strftime(pattern), pattern).date().isoformat()
    assert days(tmp_path_factory.mktemp("p"), moment.strftime(pattern), date_format=pattern) == [expected]


@each(
    ("date_format", "message"),
    [("epoch", "give iso, iso-utc, epoch-s"), ("", "give iso"), ("%H:%M", "a day needs"), ("%Y", "a day needs"),
     ("%m/%d", "a day needs"), ("%Y-%m-%d %Q", "Unrecognized format"), ("%Y-%m-%d %Z", "%Z, the name of a zone")],
)  # fmt: skip
def test_what_is_no_date_format_is_refused(tmp_path: Path, date_format: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        days(tmp_path, DAY, date_format=date_format)


def test_numbers_need_a_date_format(tmp_path: Path) -> None:
    seconds = 1_714_564_800
    line = json.dumps({"user": 1, "timestamp": seconds, "at": seconds * 1.0})
    for path in (
        parquet(tmp_path, {"user": [1], "timestamp": [seconds]}),
        parquet(tmp_path, {"user": [1], "timestamp": [float(seconds)]}, "float.parquet"),
        write(tmp_path, line, "log.jsonl"),
    ):
        assert read(path, date_format="epoch-s") == [("1", DAY, "+", DAY)]
        with pytest.raises(LogError, match="numbers need a --date-format such as epoch-ms"):
            read(path)
    for name, number in (("whole", Decimal(seconds)), ("parts", Decimal(f"{seconds}.250"))):
        exact = parquet(tmp_path, {"user": [1], "timestamp": [number]}, f"{name}.parquet")
        assert read(exact, date_format="epoch-s") == [("1", DAY, "+", DAY)]
        with pytest.raises(LogError, match="looks like epoch seconds: --date-format epoch-s"):
            read(exact)
    compact = parquet(tmp_path, {"user": [1], "day": [20240501]}, "compact.parquet")
    assert read(compact, date_format="%Y%m%d") == [("1", DAY, "+", DAY)]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_every_timestamp_of_parquet(tmp_path: Path, unit: str, zone: str | None) -> None:
    values = pa.array([datetime(2024, 5, 1, 23, 30)], pa.timestamp(unit, tz=zone))
    path = parquet(tmp_path, {"user": ["a"], "day": values, "at": values})
    assert read(path, timezone=BERLIN)[0][1] == (DAY if zone is None else "2024-05-02")
    assert read(path)[0][1] == DAY


def test_a_pandas_frame_is_read_as_it_is_written(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"user": ["a"], "timestamp": pd.to_datetime(["2024-05-01 23:30"], utc=True).as_unit("ns")})
    frame.to_parquet(tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet", timezone=BERLIN)[0][1] == "2024-05-02"


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["us", "ns"])
@pytest.mark.parametrize("value", [-(2**63) + 1, 2**63 - 1, 2**62, -(2**62)])
def test_extreme_timestamps_are_bad_rows(tmp_path: Path, unit: str, value: int) -> None:
    for zone in (None, "UTC"):
        stamps = pa.array([value, 1_714_564_800 * 10 ** {"us": 6, "ns": 9}[unit]], pa.timestamp(unit, tz=zone))
        path = parquet(tmp_path, {"user": ["a", "b"], "timestamp": stamps})
        kept = read(path, quarantine=tmp_path / "bad.csv", timezone=BERLIN)
        assert kept[-1][:2] == ("b", DAY)
        assert len(kept) == 1 + (unit == "ns" and value == 2**62)  # which is in 2116


# Suggestions


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1714564800", "This looks like epoch seconds: --date-format epoch-s"),
        ("1714564800.25", "This looks like epoch seconds: --date-format epoch-s"),
        ("1714564800123", "This looks like epoch milliseconds: --date-format epoch-ms"),
        ("1714564800123456", "This looks like epoch microseconds: --date-format epoch-us"),
        ("12/1/2010 8:26", "This looks like --date-format '%m/%d/%Y %H:%M' or --date-format '%d/%m/%Y %H:%M'"),
        ("31/12/2010", "This looks like --date-format '%d/%m/%Y'"),
        ("12-31-10 8:26:01", "This looks like --date-format '%m-%d-%y %H:%M:%S'"),
        ("12/31/2010 8:26 PM", "This looks like --date-format '%m/%d/%Y %I:%M %p'"),
        ("2010/12/1", "This looks like --date-format '%Y/%m/%d'"),
        ("1.12.2010T08:26", "This looks like --date-format '%m.%d.%YT%H:%M' or --date-format '%d.%m.%YT%H:%M'"),
    ],
)
def test_what_a_value_looks_like_is_suggested_and_never_read(tmp_path: Path, value: str, words: str) -> None:
    with pytest.raises(LogError) as refused:
        days(tmp_path, value)
    assert words in str(refused.value).split("\n")
    pattern = words.split("--date-format ")[-1].strip("'")
    assert days(tmp_path, value, date_format=pattern)


@each(("number", "unit"), [(1714564800, "s"), (1714564800123, "ms"), (1714564800123456, "us")])
def test_what_a_number_looks_like_is_suggested(tmp_path: Path, number: int, unit: str) -> None:
    for path in (
        parquet(tmp_path, {"user": ["a", "b"], "day": [None, number]}),
        write(tmp_path, json.dumps({"user": "a", "day": number}), "log.jsonl"),
    ):
        with pytest.raises(LogError, match=rf"\nThis looks like epoch \w+: --date-format epoch-{unit}"):
            read(path)


@given(value=st.text(max_size=20))
def test_any_value_may_be_looked_at(value: str) -> None:
    assert all("--date-format" in line for line in suggestion(f"unparseable day '{value}', expected x"))


def test_no_suggestion_without_a_shape(tmp_path: Path) -> None:
    with pytest.raises(LogError) as refused:
        read_log(write(tmp_path, "user,day\na,soon\n"))
    assert "looks like" not in str(refused.value)
