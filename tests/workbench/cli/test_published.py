"""What is published, charged and refused depends on public parameters, and not on what stands around the counts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from dp.log import fingerprint
from tests.conftest import Run
from tests.laws import each
from tests.workbench.cli.common import rows_of
from workbench.cli.main import main
from workbench.cli.payment import Payment

DAYS = ("--from", "2024-01-01", "--to", "2024-01-10")
ASK = ("--metric", "dau", "--epsilon", 1, "--format", "json")
LINES = "user,day\na,2024-01-01\nb,2024-01-02\na,2024-01-08\n"

REWRITTEN: dict[str, Callable[[Path], object]] = {
    "as it was": lambda log: None,
    "with a user-day before the first tick": lambda log: log.write_text(LINES + "c,2023-11-01\n"),
    "with a user-day after the last tick": lambda log: log.write_text(LINES + "c,2024-03-01\n"),
    "with a user-day within": lambda log: log.write_text(LINES + "c,2024-01-05\n"),
    "without a user": lambda log: log.write_text("user,day\na,2024-01-01\na,2024-01-08\n"),
    "with CRLF": lambda log: log.write_bytes(LINES.replace("\n", "\r\n").encode()),
    "with a BOM": lambda log: log.write_text("\ufeff" + LINES),
    "with other columns": lambda log: log.write_text("day,country,user\n2024-01-01,DE,a\n"),
    "in another order": lambda log: log.write_text("user,day\na,2024-01-08\nb,2024-01-02\na,2024-01-01\n"),
    "gzipped": lambda log: log.write_bytes(gzip.compress(LINES.encode())),
    "of another year": lambda log: log.write_text("user,day\nz,2019-05-05\n"),
    "without a row": lambda log: log.write_text("user,day\n"),
    "with a bad row": lambda log: log.write_text(LINES + "c,2024-01-99\n"),
    "with a header that is none": lambda log: log.write_text("nothing,of,this\n"),
    "gone": lambda log: log.unlink(),
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(LINES)
    return path


def spent(run: Run) -> list[object]:
    """What anybody learns of a ledger."""
    report = json.loads(run("budget", "--format", "json").stdout)
    return [report["budgets"], report["charges"]]


@pytest.mark.parametrize("stream", [(), ("--stream", "s")], ids=["default", "named"])
def test_published_days_come_back_whatever_the_log_now_holds(run: Run, log: Path, stream: tuple[str, ...]) -> None:
    command = ("release", log, *DAYS, *ASK, *stream)
    first = run(*command)
    charged = spent(run)
    again = run(*command)
    assert again.stdout == first.stdout
    assert "was not read, nothing was charged, budget 'default' has ε 9" in again.stderr

    @each("name", REWRITTEN)
    def come_back(name: str) -> None:
        log.write_text(LINES)
        REWRITTEN[name](log)
        later = run(*command)
        assert later.stdout == first.stdout
        assert later.stderr == again.stderr
        assert spent(run) == charged
        assert rows_of(run(*command, "--to", "2024-01-04")) == rows_of(first)[:4]

    come_back()


UNREADABLE = ("with a bad row", "with a header that is none", "gone")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REWRITTEN if name not in UNREADABLE])
def test_stream_and_charge_are_the_same_for_every_log(run: Run, log: Path, name: str) -> None:
    """Two ledgers, one for each of two logs: all that is seen besides the numbers agrees."""
    seen = []
    for ledger in ("one.ledger", "two.ledger"):
        result = run("release", log, *DAYS, *ASK, "--ledger", ledger)
        report = json.loads(run("budget", "--ledger", ledger, "--format", "json").stdout)
        for charge in report["charges"]:
            del charge["charged_at"]
        public = [{key: value for key, value in row.items() if key not in ("estimate", "ci_low", "ci_high")}
                  for row in rows_of(result)]  # fmt: skip
        seen.append((public, report))
        REWRITTEN[name](log)
    assert seen[0] == seen[1]


def test_the_stream_is_named_and_what_is_left_is_said(run: Run, log: Path) -> None:
    said = run("release", log, *DAYS, *ASK, "--out", "r.json").stderr
    (charge,) = json.loads(run("budget", "--format", "json").stdout)["charges"]
    assert charge["stream"].startswith("log-dau-")
    assert f"stream {charge['stream']}: charged ε 1, δ 1e-06, budget 'default' has ε 9, δ 9e-06 left" in said
    again = run("release", log, *DAYS, *ASK, "--out", "r.json").stderr
    assert f"stream {charge['stream']}: these days were published before" in again


@pytest.mark.slow
def test_a_log_that_grows_is_continued_and_charged_once(run: Run, log: Path) -> None:
    command = ("release", log, *ASK, "--from", "2024-01-01", "--horizon", 365)
    rows = rows_of(run(*command, "--to", "2024-01-10"))
    for day in (11, 12, 13):
        log.write_text(log.read_text() + f"a,2024-01-{day}\n")
        result = run(*command, "--to", f"2024-01-{day}")
        assert rows_of(result)[:-1] == rows
        assert "continued at no charge (it was charged ε 1, δ 1e-06)" in result.stderr
        rows = rows_of(result)
    assert spent(run)[0][0]["epsilon_spent"] == 1.0  # type: ignore[index]


def test_a_budget_that_does_not_suffice_is_said_before_the_log_is_read(run: Run, log: Path) -> None:
    run("release", log, *DAYS, *ASK, "--epsilon", 9.5)
    before = spent(run)
    seen = set()
    for rewrite in REWRITTEN.values():
        log.write_text(LINES)
        rewrite(log)
        seen.add(run("release", log, *DAYS, *ASK, "--stream", "more", code=3).stderr)
    assert len(seen) == 1
    assert "budget 'default' is exhausted: requested epsilon 1" in seen.pop()
    assert spent(run) == before


@pytest.mark.parametrize(("asked", "word"), [
    (("--to", "2024-01-11"), "horizon"), (("--horizon", 11), "horizon is 11 now and was 10"),
    (("--ci-level", "0.9"), "ci_level is 0.9 now"),
])  # fmt: skip
def test_what_a_stream_cannot_be_is_refused_and_not_charged_again(
    run: Run, log: Path, asked: tuple[str, ...], word: str
) -> None:
    run("release", log, *DAYS, *ASK)
    before = spent(run)
    assert word in run("release", log, *DAYS, *ASK, *asked, code=1).stderr
    assert spent(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["other.csv", "folder/log.csv", "../log.csv", "log.ios.csv", "log.2024.csv"])
def test_two_logs_of_one_ledger_are_two_series(run: Run, log: Path, tmp_path: Path, name: str) -> None:
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    other.write_text(LINES)
    first, second = (rows_of(run("release", path, *DAYS, *ASK)) for path in (log, other))
    assert first != second
    assert len(spent(run)[1]) == 2  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("given", [(), ("--from", "2024-01-01"), ("--to", "2024-01-10")])
def test_days_that_are_published_do_not_come_from_the_log(run: Run, log: Path, given: tuple[str, ...]) -> None:
    log.write_text(LINES + "a,1970-01-01\n")
    refused = run("release", log, *ASK, *given, "--out", "r.json", code=2)
    assert "--from and --to are needed" in refused.stderr
    assert f"--from {dict([given]).get('--from', '1970-01-01') if given else '1970-01-01'}" in refused.stderr
    assert not Path("dpdau.ledger").exists()
    assert not Path("r.json").exists()
    simulated = rows_of(run("release", log, *ASK, *given, "--simulate", "--seed", 1))
    assert {row["secure"] for row in simulated} == {False}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REWRITTEN if name not in ("as it was", *UNREADABLE)])
def test_a_name_made_of_the_log_would_be_seen(run: Run, log: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The broken twin: what the tests above hold fails if the stream is named by the bytes of the file."""
    monkeypatch.setattr(Payment, "name", lambda self, request, source: fingerprint(source.logs[0]))
    first = run("release", log, *DAYS, *ASK)
    REWRITTEN[name](log)
    assert run("release", log, *DAYS, *ASK).stdout != first.stdout
    assert len(spent(run)[1]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("how", [
    ("--columns", "user=account"), ("--timezone", "Europe/Berlin"), ("--date-format", "iso-utc"),
])  # fmt: skip
def test_one_log_read_in_two_ways_is_two_series(run: Run, log: Path, how: tuple[str, str]) -> None:
    log.write_text("user,account,day\na,x,2024-01-01\nb,x,2024-01-02\n")
    first, second = (rows_of(run("release", log, *DAYS, *ASK, *more)) for more in ((), how))
    assert first != second
    assert len(spent(run)[1]) == 2  # type: ignore[arg-type]
    for again in ("--metric", "dau"), ("--delta", "1e-6"):
        assert rows_of(run("release", log, *DAYS, *ASK, *how, *again)) == second


def test_no_other_words_for_the_same_are_charged_again(run: Run, log: Path) -> None:
    both = ("--metric", "dau", "--metric", "wau")
    ask = (*DAYS, "--epsilon", 1, "--format", "json")
    run("release", log, *ask, *both)
    before = spent(run)
    turned = rows_of(run("release", log, *ask, *both[2:], *both[:2]))
    assert [row["metric"] for row in turned[::10]] == ["wau", "dau"]
    run("release", log, *ask, *both, "--split", "dau=2,wau=2", code=1)
    assert spent(run) == before


def test_a_log_has_one_name_from_every_folder_and_in_every_format(
    run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ("--ledger", tmp_path / "dpdau.ledger")
    first = run("release", "log.csv", *DAYS, *ASK).stdout
    (tmp_path / "deep").mkdir()
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(LINES.encode()))
    for name in ("./log.csv", log, "log.csv.gz", "deep/../log.csv"):
        assert run("release", name, *DAYS, *ASK, *ledger).stdout == first
    monkeypatch.chdir(tmp_path / "deep")
    assert run("release", "../log.csv", *DAYS, *ASK, *ledger).stdout == first


@each("path", ["-", "/dev/stdin", "/dev/fd/63", "/proc/self/fd/0"])
def test_what_the_shell_names_has_no_name(run: Run, path: str) -> None:
    command = ("release", path, *DAYS, *ASK, "--input-format", "csv")
    assert "has no name of which a stream's could be made: name the stream (--stream)" in run(*command, code=1).stderr


WARNED = "carries a date (2024-05-01), and the stream's default name is made of it"


@pytest.mark.parametrize(("name", "more", "warned"), [
    ("events-2024-05-01.csv", (), True), ("2024-05-01/events.csv", (), True), ("events.csv", (), False),
    ("events-2024-05-01.csv", ("--stream", "events"), False), ("events-2024-05-01.csv", ("--to", "2024-01-01"), False),
    ("events-2024-05-01.csv", ("--simulate", "--seed", 1), False),
])  # fmt: skip
def test_a_name_with_a_date_is_warned_of_before_it_is_charged(
    run: Run, tmp_path: Path, name: str, more: tuple[object, ...], warned: bool
) -> None:
    log = tmp_path / name
    log.parent.mkdir(exist_ok=True)
    log.write_text(LINES)
    said = run("release", log, *DAYS, *ASK, *more).stderr
    assert (WARNED in said) == warned
    if warned:
        assert said.index(WARNED) < said.index(": charged ε 1,")
        assert "charged ε 1 once more" in said
        assert "--stream NAME" in said
        assert WARNED not in run("release", log, *DAYS, *ASK, *more).stderr


@pytest.mark.parametrize("rewrite", REWRITTEN.values(), ids=REWRITTEN)
def test_the_warning_depends_on_nothing_in_the_log(run: Run, tmp_path: Path, rewrite: Callable[[Path], object]) -> None:
    log = tmp_path / "events-2024-05-01.csv"
    log.write_text(LINES)
    rewrite(log)
    result = CliRunner().invoke(main, ["release", str(log), *map(str, (*DAYS, *ASK))])
    assert WARNED in result.stderr
