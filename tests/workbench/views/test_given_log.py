"""A log of the visitor's own: found by its digest, refused in words that show no more than they may, and removed."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from dp.log.generate import generate, write_log
from experiments.kinds.loading import load
from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.workbench.pages import texts, tidy
from tests.workbench.views.questions import TRADEOFF
from workbench.views import log_choice
from workbench.views.bundle import COMMAND, bundle, files
from workbench.views.given_log import GivenLog, column_names, is_log_name, locate
from workbench.views.jobs.job import JobState, Superseded
from workbench.views.jobs.process import answer
from workbench.views.log_choice import for_this_machine_alone, keep_upload, link_file
from workbench.views.tradeoff.research import TradeoffQuestion, tradeoff_experiment

SECRET = "hunter2-top-secret"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def question_about(file: str, content: bytes, columns: str | None = None) -> TradeoffQuestion:
    return msgspec.structs.replace(
        TRADEOFF, users=None, days=None, delete_rate=None, mechanisms=("gaussian",), log_file=file,
        log_sha256=sha256(content), log_columns=columns,
    )  # fmt: skip


def answered(question: TradeoffQuestion, tmp_path: Path, folder: Path) -> JobState:
    return answer(question, tmp_path / "cache", lambda state: None, lambda: True, folder)


def refused(tmp_path: Path, name: str, content: bytes, columns: str | None = None) -> str:
    (tmp_path / name).write_bytes(content)
    state = answered(question_about(name, content, columns), tmp_path, tmp_path)
    assert state.error is not None
    assert state.tables == {}
    return state.error


@each(
    ("name", "is_log"),
    [
        ("log.csv", True), ("LOG.CSV.GZ", True), ("a b ü.jsonl.zst", True), ("x.parquet", True), ("*.csv", True),
        ("../log.csv", False), ("/etc/log.csv", False), ("folder/log.csv", False), ("", False), ("-", False),
        ("log", False), ("shadow", False), ("log.csv\n", False), (".csv", False), (".hidden.csv", False),
        ("log.xlsx", False), ("log\x00.csv", False), ("log.csv/..", False),
    ],
)  # fmt: skip
def test_only_a_plain_name_of_a_log_is_one(name: str, is_log: bool) -> None:
    assert is_log_name(name) is is_log


def test_columns_are_read_as_pairs() -> None:
    assert column_names("") == {}
    assert column_names(" user = Customer ID , timestamp=Date") == {"user": "Customer ID", "timestamp": "Date"}
    for wrong in ("user", "user=", "=x", "user=a,user=b", "shoe=x"):
        with pytest.raises(ValueError, match="columns = "):
            column_names(wrong)


def test_a_log_is_found_by_its_name_and_its_digest(tmp_path: Path) -> None:
    content, other = b"user,day\na,2026-01-01\n", b"user,day\nb,2026-01-01\n"
    for visitor, kept in (("one", content), ("two", other)):
        (tmp_path / visitor).mkdir()
        keep_upload(tmp_path / visitor, "log.csv", kept)
    given = GivenLog("log.csv", sha256(content))
    assert locate(given, tmp_path).read_bytes() == content
    assert locate(GivenLog("log.csv", sha256(other)), tmp_path).read_bytes() == other
    with pytest.raises(ValueError, match="no such file"):
        locate(GivenLog("log.csv", sha256(b"")), tmp_path)
    # What lies beside the question goes first.
    (tmp_path / "log.csv").write_bytes(other)
    with pytest.raises(ValueError, match=sha256(other)):
        locate(given, tmp_path)
    for outside in ("../log.csv", str(tmp_path / "log.csv")):
        with pytest.raises(ValueError, match="without a folder"):
            locate(GivenLog(outside, sha256(other)), tmp_path / "one")


def test_an_upload_is_kept_until_the_next_one(tmp_path: Path) -> None:
    first = keep_upload(tmp_path, "a.csv", b"1")
    assert keep_upload(tmp_path, "a.csv", b"1") == first
    second = keep_upload(tmp_path, "b.jsonl", b"2")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [(path.parent.name, path.name) for path in kept] == [(second.sha256, "b.jsonl")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"\.csv, \.tsv"):
        keep_upload(tmp_path, "../../c.sh", b"3")


def test_every_file_that_is_no_readable_log_is_refused_in_the_same_words(tmp_path: Path) -> None:
    own, there = tmp_path / "own", tmp_path / "there"
    own.mkdir()
    there.mkdir()
    (there / "key.pem").write_text(SECRET)
    (there / "folder.csv").mkdir()
    (there / "broken.csv").symlink_to(there / "nowhere.csv")
    tried = [there / name for name in ("key.pem", "folder.csv", "broken.csv", "nothing.csv", "*.csv", "a\x00b.csv")]
    words = set()
    for path in tried:
        with pytest.raises(ValueError, match="no log that can be read") as refusal:
            link_file(own, str(path))
        words.add(str(refusal.value).replace(str(path), "PATH"))
    assert len(words) == 1
    assert not list(own.iterdir())


def test_what_is_in_a_file_of_this_machine_is_not_shown(tmp_path: Path) -> None:
    visitor = tmp_path / "folder" / "visitor"
    visitor.mkdir(parents=True)
    for name, content in (
        ("one.csv", f"{SECRET},{SECRET}\n1,2\n".encode()), ("two.csv", f"user,day\nx,{SECRET}\n".encode()),
        ("three.jsonl", f'{{"{SECRET}": 1}}\n'.encode()), ("four.json", SECRET.encode()),
        ("five.parquet", SECRET.encode()), ("six.csv.gz", SECRET.encode()),
    ):  # fmt: skip
        file = tmp_path / name
        file.write_bytes(content)
        given = link_file(visitor, str(file))
        state = answered(question_about(given.file, content), tmp_path, tmp_path / "folder")
        assert state.error is not None
        assert SECRET not in state.error
        assert "What is in it is not shown here" in state.error
        assert str(tmp_path) not in state.error


def test_an_upload_is_refused_in_the_words_of_the_log(tmp_path: Path) -> None:
    error = refused(tmp_path, "log.csv", b"CustomerID,day\n1,2026-01-01\n")
    assert "no column 'user' (another name: in Columns, user=NAME); columns found: CustomerID, day" in error
    error = refused(tmp_path, "rows.csv", b"user,day\na,2026-01-01\nb,soon\n,2026-01-01\n")
    assert "2 of 3 rows are bad, so nothing was used" in error
    assert "rows.csv, line 3: unparseable day 'soon'" in error
    assert "--on-error" not in error
    assert str(tmp_path) not in error
    assert "no rows" in refused(tmp_path, "empty.csv", b"user,day\n")
    assert "lasts 72,320 days" in refused(tmp_path, "long.csv", b"user,day\na,2000-01-01\na,2198-01-01\n")
    assert "shoe" in refused(tmp_path, "named.csv", b"user,day\na,2026-01-01\n", "shoe=size")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_log_of_ones_own_gives_the_numbers_of_the_same_population(suffix: str, tmp_path: Path) -> None:
    log = tmp_path / f"log.{suffix}"
    write_log(generate(1_000, 30, delete_rate=0.15, seed=7), log)
    content = log.read_bytes()
    question = question_about(log.name, content)
    state = answered(question, tmp_path, tmp_path)
    assert state.error is None
    (read,) = state.tables["log"]
    assert (read["file"], read["sha256"], read["days"]) == (log.name, sha256(content), 30)
    generated = msgspec.structs.replace(TRADEOFF, mechanisms=("gaussian",))
    same = answer(generated, tmp_path / "other", lambda state: None, lambda: True).tables
    assert {name: state.tables[name] for name in same} == same
    # Nothing of it stays.
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays_open")
def test_the_zip_names_the_log_and_does_not_contain_it(tmp_path: Path) -> None:
    log = tmp_path / "given" / "my log.csv"
    log.parent.mkdir()
    rows = [f"id-{SECRET}-{number},2026-01-{1 + number % 20:02}" for number in range(60)]
    log.write_text("\n".join(["Who,When", *rows]) + "\n")
    question = question_about(log.name, log.read_bytes(), "user=Who,day=When")
    state = answered(question, tmp_path, log.parent)
    assert state.error is None
    with zipfile.ZipFile(io.BytesIO(bundle(question, state.tables))) as archive:
        contents = {name: archive.read(name).decode() for name in archive.namelist()}
    assert log.name not in contents
    assert not any(SECRET in text for text in contents.values())
    assert f"{log.name}\n    SHA-256 {sha256(log.read_bytes())}" in contents["README.md"]
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "figure.toml").write_text(contents["figure.toml"])
    command = [sys.executable, "-m", "workbench.cli.main", *COMMAND.split()[1:]]
    alone = subprocess.run(command, cwd=beside, check=False, capture_output=True, text=True)
    assert alone.returncode != 0
    assert sha256(log.read_bytes()) in alone.stderr
    (beside / log.name).write_bytes(log.read_bytes())
    subprocess.run(command, cwd=beside, check=True, capture_output=True)
    for name, made in files(question, state.tables).items():
        assert (beside / name).read_bytes() == made, name
    (beside / "own.toml").write_text(tradeoff_experiment(question, state.tables))
    config: Any = load(beside / "own.toml")
    assert config.log_files["own"].file == log.name
    assert config.log_files["own"].columns == {"user": "Who", "day": "When"}


def test_a_path_is_for_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Secrets(dict[str, Any]):
        def load_if_toml_exists(self) -> bool:
            return bool(self)

    class Context:
        headers: dict[str, str] = {}  # noqa: RUF012 - replaced whole

    monkeypatch.setattr(log_choice.st, "context", Context)
    for secrets, headers, alone in (
        ({}, {}, False), ({"dpdau": {}}, {}, False), ({"dpdau": {"alone": False}}, {}, False),
        ({"dpdau": {"alone": True}}, {}, True), ({"dpdau": {"alone": "true"}}, {}, False),
        ({"dpdau": {"alone": True}}, {"X-Forwarded-For": "203.0.113.7"}, False),
    ):  # fmt: skip
        monkeypatch.setattr(log_choice.st, "secrets", Secrets(secrets))
        Context.headers = headers
        assert for_this_machine_alone() is alone


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays_open")
@pytest.mark.parametrize("alone", [True, False])
def test_the_page_offers_a_path_only_to_this_machine(alone: bool, tmp_path: Path) -> None:
    def script(cache: str) -> None:
        from pathlib import Path

        from workbench.views.strip import draw_strip
        from workbench.views.tradeoff.page import page

        page(draw_strip(), Path(cache))

    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=PATIENCE_SECONDS)
    page.secrets["dpdau"] = {"alone": alone}
    page.session_state["tradeoff-users"] = "own log"
    tidy(page.run())
    assert "Give a log" in page.info[0].value
    named = [one for one in page.text_input if one.key == "own-log-path"]
    assert bool(named) is alone
    assert "no budget is spent" in texts(page)
    if alone:
        named[0].set_value(str(tmp_path / f"{SECRET}.pem"))
        assert "no log that can be read" in tidy(page.run()).error[0].value


def test_reading_ends_when_nobody_wants_the_answer(tmp_path: Path) -> None:
    content = b"user,day\n" + b"a,2026-01-01\n" * 1_000
    (tmp_path / "log.csv").write_bytes(content)
    told: list[str] = []

    def tell(state: JobState) -> None:
        told.append(state.stage)

    with pytest.raises(Superseded):
        answer(question_about("log.csv", content), tmp_path, tell, lambda: "reading the log" not in told, tmp_path)
    assert told[-1] == "reading the log"
