"""`dpdau compact`: rows of erased users leave the log, and a stream goes on as if they were there."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dp.log import read_log
from dp.presence import NumpyEngine
from dp.presence.tombstone_file import read_compaction
from dp.release.compacting import adopt
from tests.conftest import Run
from tests.workbench.cli.common import rows_of

LINES = (
    "user,day,op,at\n"
    "a,2024-01-01,,\nb,2024-01-02,,\na,2024-01-03,,\nc,2024-01-03,,\na,,erase,2024-01-05\nb,2024-01-06,,\n"
)
# Two erased users come back: one whose flips are spent, and one who has some left.
LATER = "a,2024-01-12,,\nb,2024-01-12,,\nc,,erase,2024-01-13\nc,2024-01-15,,\n"


def release(log: Path, to: str, *more: object) -> tuple[object, ...]:
    return ("release", log, "--metric", "dau", "--metric", "wau", "--unit", "user", "--w-bound", 4, "--epsilon",
            1, "--horizon", 30, "--stream", "s", "--from", "2024-01-01", "--to", to,
            "--format", "json", *more)  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(LINES)
    return path


def grown(path: Path, out: Path, lines: str) -> Path:
    """The Parquet log with further rows."""
    table = pd.read_parquet(path)
    more = pd.DataFrame([line.split(",") for line in lines.split()], columns=["user", "day", "op", "at"])
    more["at"] = more["at"].where(more["at"] != "", more["day"])
    text = table.drop(columns="seq").astype(object)
    text["day"] = text["day"].map(lambda day: "" if pd.isna(day) else str(day)[:10])
    text["at"] = text["at"].map(lambda day: str(day)[:10])
    pd.concat([text, more]).to_csv(out, index=False)
    return out


@pytest.mark.slow
def test_a_stream_goes_on_from_the_smaller_log_and_from_no_other(run: Run, log: Path, tmp_path: Path) -> None:
    early = rows_of(run(*release(log, "2024-01-10")))
    small, left, more = tmp_path / "small.parquet", tmp_path / "left.json", tmp_path / "more.csv"
    said = run("compact", log, "--through", "2024-01-08", "--stream", "s", "--out", small, "--tombstones", left).stderr
    assert "3 rows left the log, and 1 users. From now on: dpdau release" in said
    assert set(pd.read_parquet(small)["user"]) == {"b", "c"}
    assert left.stat().st_mode & 0o777 == 0o600
    assert "a" not in json.loads(left.read_text())["spent"]["1"]
    log.write_text(LINES + LATER)
    grown(small, more, LATER)
    for refused in (release(log, "2024-01-20"), release(more, "2024-01-20")):
        assert "past is not what it was" in run(*refused, code=1).stderr
    rows = rows_of(run(*release(more, "2024-01-20", "--tombstones", left)))
    assert rows[:10] + rows[20:30] == early
    charges = json.loads(run("budget", "--format", "json").stdout)["charges"]
    assert [charge["epsilon"] for charge in charges] == [1.0]
    # What is counted from the smaller log is what the whole one gives, also for those who come back.
    kept = read_compaction(left)
    with read_log(log) as whole, read_log(more) as part:
        counts = [
            engine.daily_flips([1, 7], date(2024, 1, 1), date(2024, 1, 20), 4)
            for engine in (NumpyEngine(whole.connection), NumpyEngine(part.connection, kept.tombstones, kept.key))
        ]
    for window in (1, 7):
        after = [one[window].counts.values[7:].tolist() for one in counts]
        assert after[0] == after[1]


@pytest.mark.slow
def test_a_second_compaction_builds_on_the_first(run: Run, log: Path, tmp_path: Path) -> None:
    run(*release(log, "2024-01-10"))
    names = [tmp_path / name for name in ("one.parquet", "one.json", "more.csv", "two.parquet", "two.json")]
    one, first, more, two, second = names
    run("compact", log, "--through", "2024-01-08", "--stream", "s", "--out", one, "--tombstones", first)
    grown(one, more, LATER)
    run(*release(more, "2024-01-16", "--tombstones", first))
    again = ("compact", more, "--through", "2024-01-14", "--stream", "s", "--out", two, "--tombstones", second)
    assert "past is not what it was" in run(*again, code=1).stderr
    assert not two.exists()
    assert not second.exists()
    run(*again, "--earlier", first)
    assert len(rows_of(run(*release(two, "2024-01-25", "--tombstones", second)))) == 50
    assert read_compaction(second).key == read_compaction(first).key


@pytest.mark.parametrize(("change", "words"), [
    (("--stream", "t"), "stream 't' does not exist"),
    (("--through", "2024-01-11"), "has published the days 2024-01-01 to 2024-01-10"),
    (("--out", "taken.parquet"), "taken.parquet exists"),
])  # fmt: skip
def test_what_cannot_be_compacted_leaves_everything_as_it_is(
    run: Run, log: Path, tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    run(*release(log, "2024-01-10"))
    (tmp_path / "taken.parquet").write_text("")
    options = {"--through": "2024-01-08", "--stream": "s", "--out": "small.parquet", "--tombstones": "left.json"}
    options[change[0]] = change[1]
    refused = run(
        "compact", log, *(word for pair in options.items() for word in pair), code=2 if "exists" in words else 1
    )
    assert words in refused.stderr
    assert not Path("left.json").exists()
    log.write_text(LINES + LATER)
    assert len(rows_of(run(*release(log, "2024-01-20")))) == 40


def test_a_log_that_is_not_the_streams_is_not_adopted(run: Run, log: Path) -> None:
    run(*release(log, "2024-01-10"))
    log.write_text(LINES.replace("b,2024-01-02", "d,2024-01-02"))
    refused = run("compact", log, "--through", "2024-01-08", "--stream", "s", "--out", "o.parquet",
                  "--tombstones", "t.json", code=1)  # fmt: skip
    assert "past is not what it was" in refused.stderr
    log.write_text(LINES)
    assert len(rows_of(run(*release(log, "2024-01-12")))) == 24


def test_damaged_tombstones_are_refused(run: Run, log: Path, tmp_path: Path) -> None:
    for text in ("", "{}", "[]", '{"first": 1}', '{"first": "2024-01-01", "through": "x", "key": "", "spent": {}}'):
        (tmp_path / "t.json").write_text(text)
        refused = run(*release(log, "2024-01-10", "--tombstones", "t.json"), code=1)
        assert "is no file of tombstones" in refused.stderr
    assert (
        "goes with --sketch exact"
        in run(*release(log, "2024-01-10", "--tombstones", "t.json", "--sketch", "bitmap"), code=2).stderr
    )


def test_tombstones_of_another_log_are_refused(run: Run, log: Path, tmp_path: Path) -> None:
    run(*release(log, "2024-01-10"))
    run("compact", log, "--through", "2024-01-08", "--stream", "s", "--out", "small.parquet", "--tombstones", "t.json")
    other = tmp_path / "other.csv"
    other.write_text("user,day\nz,2024-01-02\n")
    for path in (log, other):
        refused = run(*release(path, "2024-01-10"), "--stream", "new", "--tombstones", "t.json", code=1)
        assert "belong to another log" in refused.stderr


@pytest.mark.slow
def test_other_streams_and_ended_ones_do_not_stand_in_the_way(run: Run, log: Path, tmp_path: Path) -> None:
    """The windows of streams that are not named are carried on, and a stream whose horizon is over needs no log."""
    run(*release(log, "2024-01-10"))
    short = ("release", log, "--metric", "dau", "--unit", "user", "--w-bound", 4, "--epsilon", 1,
             "--from", "2024-01-01", "--to", "2024-01-05", "--stream", "short", "--format", "json")  # fmt: skip
    run(*short)
    run("compact", log, "--through", "2024-01-08", "--stream", "s", "--stream", "short", "--out", "one.parquet",
        "--tombstones", "one.json")  # fmt: skip
    more = grown(tmp_path / "one.parquet", tmp_path / "more.csv", LATER)
    run(*release(more, "2024-01-16", "--tombstones", "one.json"))
    one = ("release", more, "--metric", "dau", "--unit", "user", "--w-bound", 4, "--epsilon", 1, "--from", "2024-01-01",
           "--to", "2024-01-16", "--horizon", 30, "--stream", "one", "--tombstones", "one.json")  # fmt: skip
    run(*one)
    run("compact", more, "--earlier", "one.json", "--through", "2024-01-14", "--stream", "one", "--out", "two.parquet",
        "--tombstones", "two.json")  # fmt: skip
    assert set(read_compaction(Path("two.json")).tombstones.spent[date(2024, 1, 1)]) == {1, 7}


@pytest.mark.slow
def test_streams_of_several_first_days_share_one_smaller_log(run: Run, log: Path, tmp_path: Path) -> None:
    """The second begins when a user is already gone and the third after the compaction; all go on by one file."""
    firsts = {"one": "2024-01-01", "two": "2024-01-06", "three": "2024-01-09"}

    def released(name: str, path: Path, to: str, *more: object) -> list[dict[str, object]]:
        days = ("--from", firsts[name], "--to", to, "--horizon", 30)
        asked = ("--metric", "wau", "--unit", "user", "--epsilon", 1, "--stream", name, *days, "--format", "json")
        return rows_of(run("release", path, *asked, *more))

    early = {name: released(name, log, "2024-01-10") for name in firsts}
    named = [word for name in firsts for word in ("--stream", name)]
    compaction = ("compact", log, "--out", "small.parquet", "--tombstones", "left.json", *named)
    late = run(*compaction, "--through", "2024-01-11", code=1).stderr
    assert "stream 'one' has published the days 2024-01-01 to 2024-01-10. Publish it up to there before" in late
    run(*compaction, "--through", "2024-01-08")
    more = grown(tmp_path / "small.parquet", tmp_path / "more.csv", LATER)
    for name, rows in early.items():
        later = released(name, more, "2024-01-20", "--tombstones", "left.json")
        assert later[: len(rows)] == rows
        assert len(later) == len(rows) + 10
    firsts["new"] = "2024-01-08"
    assert len(released("new", more, "2024-01-20", "--tombstones", "left.json")) == 13
    refused = run("release", more, "--metric", "wau", "--unit", "user", "--epsilon", 1, "--from", "2024-01-02", "--to",
                  "2024-01-20", "--tombstones", "left.json", code=1).stderr  # fmt: skip
    assert "Begin on such a day, or on 2024-01-08, the day of the compaction, or later" in refused


@pytest.mark.slow
def test_a_file_from_before_there_could_be_several_first_days_is_read(run: Run, log: Path, tmp_path: Path) -> None:
    run(*release(log, "2024-01-10"))
    run("compact", log, "--through", "2024-01-08", "--stream", "s", "--out", "o.parquet", "--tombstones", "t.json")
    content = json.loads(Path("t.json").read_text())
    assert list(content) == ["first", "through", "key", "log", "spent"]
    assert set(content["spent"]) == {"1", "7"}
    assert set(read_compaction(Path("t.json")).tombstones.spent) == {date(2024, 1, 1)}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "duckdb"])
def test_exact_counts_a_smaller_log_as_the_whole_one(run: Run, log: Path, tmp_path: Path, engine: str) -> None:
    run(*release(log, "2024-01-10"))
    run("compact", log, "--through", "2024-01-08", "--stream", "s", "--out", "o.parquet", "--tombstones", "t.json")
    log.write_text(LINES + LATER)
    more = grown(tmp_path / "o.parquet", tmp_path / "more.csv", LATER)
    asked = ("--metric", "dau", "--metric", "wau", "--to", "2024-01-20", "--engine", engine, "--format", "json")
    kept = ("--tombstones", "t.json")
    different = 0
    for bound in (1, 2, 3, 4):
        options = ("--from", "2024-01-01", "--w-bound", bound, *asked)
        result = run("exact", more, *options, *kept)
        assert "the days before 2024-01-08 are counted without the users who left" in result.stderr
        whole, small, forgotten = (
            [row for row in rows_of(one) if row["day"] >= "2024-01-08"]
            for one in (run("exact", log, *options), result, run("exact", more, *options))
        )
        assert small == whole
        different += forgotten != whole
    assert different
    later = run("exact", more, "--from", "2024-01-09", "--w-bound", 2, *asked, *kept)
    assert "users who left" not in later.stderr
    assert rows_of(later) == rows_of(run("exact", log, "--from", "2024-01-09", "--w-bound", 2, *asked))
    assert (
        "Begin on such a day"
        in run("exact", more, "--from", "2024-01-02", "--w-bound", 2, *asked, *kept, code=1).stderr
    )
    assert "belong to another log" in run("exact", log, *asked, *kept, code=1).stderr


@pytest.mark.slow
def test_two_compactions_at_once_leave_one_of_them(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    rows = [f"u{user},2024-01-{1 + user % 9:02},,\n" for user in range(30_000)]
    log.write_text("user,day,op,at\n" + "".join(rows) + "u1,,erase,2024-01-10\n")
    run(*release(log, "2024-01-12"))
    command = [sys.executable, "-m", "workbench.cli.main", "compact", str(log), "--through", "2024-01-11", "--stream",
               "s", "--out", "o.parquet", "--tombstones", "t.json"]  # fmt: skip
    started = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(2)]
    ended = [process.communicate()[1] and process.returncode for process in started]
    assert sorted(ended) in ([0, 1], [0, 2]), ended
    assert sorted(path.name for path in tmp_path.iterdir() if "json" in path.name or "o.parquet" in path.name) == [
        "o.parquet", "t.json",
    ]  # fmt: skip
    later = grown(tmp_path / "o.parquet", tmp_path / "later.csv", "u2,2024-01-14,,\n")
    assert len(rows_of(run(*release(later, "2024-01-15", "--tombstones", "t.json")))) == 30


def test_an_interrupt_as_the_ledger_commits_takes_nothing_away(
    run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*release(log, "2024-01-10"))

    def interrupted(*given: object) -> None:
        adopt(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr("dp.release.compacting.adopt", interrupted)
    asked = ("compact", log, "--through", "2024-01-08", "--stream", "s", "--out", "o.parquet", "--tombstones", "t.json")
    run(*asked, code=130)
    assert len(rows_of(run(*release(log, "2024-01-12")))) == 24, "nothing was committed: the old log is the right one"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
