"""The commands of the live service, over real files, a real store and a real ledger."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import workbench.cli.loading as cli_loading
from tests.conftest import Run
from workbench.service import Ingested, Refused, Settings, load_settings, open_service
from workbench.service.loading import Loading

FIRST, LAST = date(2024, 1, 1), date(2024, 1, 20)
LOG = [
    "generate", "--users", "300", "--days", "20", "--delete-rate", "0.2", "--erase-rate", "0.1", "--late-rate", "0.1",
    "--seed", "5", "--out",
]  # fmt: skip


def service_here() -> Any:
    return open_service(load_settings(None, {}), lambda: datetime.now(UTC))


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl.gz", "log.parquet"])
@pytest.mark.slow
def test_a_loaded_log_counts_as_the_batch_query_does(run: Run, name: str) -> None:
    run(*LOG, name)
    said = run("load", name, "--set", f"first_day={FIRST}").stderr
    assert "0 are about closed days" in said
    rows = json.loads(run("close", "--through", LAST, "--set", f"first_day={FIRST}", "--format", "json").stdout)
    assert len(rows) == 3 * 20
    exact = json.loads(run("exact", name, "--from", FIRST, "--to", LAST, "--format", "json").stdout)
    with service_here() as service:
        for metric in ("dau", "wau", "mau"):
            counts = [row["count"] for row in exact if row["metric"] == metric]
            assert [count.truth for count in service.truth(metric).counts] == counts
            assert service.truth(metric).days == [FIRST + timedelta(days=index) for index in range(20)]


@pytest.mark.slow
def test_a_load_goes_on_where_it_stopped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*LOG, "log.csv")
    monkeypatch.setattr(cli_loading, "ROWS_AT_ONCE", 100)
    original, calls = Loading.store_columns, []

    def stopping(self: Loading, file: str, start: int, columns: Any) -> Ingested:
        calls.append(start)
        if len(calls) == 4:
            raise OSError("the disk went away")
        return original(self, file, start, columns)

    monkeypatch.setattr(Loading, "store_columns", stopping)
    assert "the disk went away" in run("load", "log.csv", code=1).stderr
    with service_here() as service:
        assert service.status().operations == 300
    said = run("load", "log.csv").stderr
    assert "300 were stored before" in said
    assert calls[4] == 300
    total = int(said.splitlines()[-1].split(" of ")[1].split()[0].replace(",", ""))
    assert f"0 of {total:,} operations stored, {total:,} were stored before" in run("load", "log.csv").stderr
    run("close", "--day", FIRST, "--yes")
    run("close", "--through", LAST)
    exact = json.loads(
        run("exact", "log.csv", "--from", FIRST, "--to", LAST, "--metric", "mau", "--format", "json").stdout
    )
    with service_here() as service:
        assert [count.truth for count in service.truth("mau").counts] == [row["count"] for row in exact]


def test_two_loads_of_one_file_do_not_double_it(run: Run) -> None:
    with service_here() as one:
        operations = []
        assert one.loading.store("file", 0, operations).accepted == 0
        with pytest.raises(Refused, match="another process"):
            one.loading.store("file", 5, operations)


def test_load_refuses_bad_rows_and_future_days(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("user,day\nann,2024-01-01\nbob,yesterday\n")
    assert "line 3" in run("load", "bad.csv", code=1).stderr
    tomorrow = datetime.now(UTC).date() + timedelta(days=2)
    (tmp_path / "late.csv").write_text(f"user,day\nann,{tomorrow}\n")
    assert "after today" in run("load", "late.csv", code=1).stderr
    with service_here() as service:
        assert service.status().operations == 0
    assert "1 set aside" in run("load", "bad.csv", "--on-error", "quarantine", "aside.csv").stderr


def test_a_file_with_a_bad_row_far_down_stores_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_loading, "ROWS_AT_ONCE", 2)
    tomorrow = datetime.now(UTC).date() + timedelta(days=2)
    (tmp_path / "log.csv").write_text("user,day\n" + "ann,2024-01-01\n" * 9 + f"ann,{tomorrow}\n")
    assert "nothing was stored: row 10: day" in run("load", "log.csv", code=1).stderr
    with service_here() as service:
        assert service.status().operations == 0


def test_a_file_is_read_in_the_time_zone_of_the_service(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,timestamp\nann,2024-01-01T23:30:00Z\n")
    zone = ("--set", "timezone=Europe/Berlin")
    assert (
        "the days of this service are in Europe/Berlin"
        in run("load", "log.csv", "--timezone", "UTC", *zone, code=2).stderr
    )
    run("load", "log.csv", *zone)
    with service_here() as service:
        assert service.recent()[0].day == date(2024, 1, 2)


def test_days_are_closed_in_order_and_once(run: Run) -> None:
    assert "first one must be named" in run("close", "--through", "2024-01-03", code=1).stderr
    assert "give either" in run("close", code=2).stderr
    assert "give either" in run("close", "--day", FIRST, "--through", FIRST, code=2).stderr
    first = run("close", "--day", FIRST, "--yes", "--format", "json").stdout
    assert run("close", "--day", FIRST, "--yes", "--format", "json").stdout == first
    assert "2024-01-02 is next" in run("close", "--day", "2024-01-05", code=1).stderr
    run("close", "--through", "2024-01-03", "--out", "rows.csv")
    assert len((Path("rows.csv")).read_text().splitlines()) == 1 + 2 * 3
    assert "closed already" in run("close", "--through", "2024-01-02").stderr


def test_a_first_day_that_looks_like_a_mistake_needs_a_yes(run: Run) -> None:
    said = run("close", "--day", "1950-01-01", code=1).stderr
    assert "fixes for ever: the first day 1950-01-01, a horizon of 365 days to 1950-12-31" in said
    assert "--yes" in said
    with service_here() as service:
        assert (service.status().last, service.charges()) == (None, [])
    run("close", "--day", FIRST, "--yes")
    run("close", "--day", "2024-01-02")


@pytest.mark.parametrize("name", ["dpdau.store", "dpdau.ledger"])
def test_a_damaged_file_ends_in_one_line(run: Run, name: str) -> None:
    run("close", "--day", FIRST, "--yes")
    content = bytearray(Path(name).read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    Path(name).write_bytes(content)
    said = run("close", "--day", "2024-01-02", code=1).stderr
    assert said.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in said
    assert "damaged" in said or "malformed" in said


def test_several_days_need_a_first_one_that_is_named(run: Run) -> None:
    run(*LOG, "log.csv")
    run("load", "log.csv")
    said = run("close", "--through", "2024-01-03", code=1).stderr
    assert "--set first_day=2026-01-31" in said
    assert "public choice" in said
    run("close", "--through", "2024-01-03", "--set", f"first_day={FIRST}")
    with service_here() as service:
        assert service.status().last == date(2024, 1, 3)


def test_a_metric_is_shown_as_it_was_published(run: Run) -> None:
    with service_here():
        pass
    assert "no day is closed" in run("mau", code=1).stderr
    run("close", "--day", FIRST, "--yes")
    assert "lies before the first day" in run("close", "--day", "2023-12-31", code=1).stderr
    shown = run("mau", "--day", FIRST, "--format", "json").stdout
    with service_here() as service:
        assert shown == service.release("mau", FIRST) + "\n"
    assert run("mau", "--format", "json").stdout == shown
    assert "estimate" in run("wau").stdout
    assert "2024-01-02 is the next" in run("dau", "--day", "2024-01-02", code=1).stderr


def test_fresh_is_charged_once_a_request(run: Run) -> None:
    run("close", "--day", FIRST, "--yes")
    ask = ("mau", "--day", FIRST, "--fresh", "--format", "json")
    one = run(*ask, "--request-id", "a").stdout
    assert run(*ask, "--request-id", "a").stdout == one
    assert run(*ask, "--request-id", "b").stdout != one
    run(*ask)
    budget = json.loads(run("budget", "--format", "json").stdout)
    assert budget["budgets"][0]["epsilon_spent"] == 2.7
    said = run(*ask, code=3).stderr
    assert "exhausted" in said
    assert json.loads(run("budget", "--format", "json").stdout) == budget
    assert "--request-id goes with --fresh" in run("mau", "--request-id", "a", code=2).stderr


def test_erase_removes_every_row(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,day\nann,2024-01-01\nann,2024-01-02\nbob,2024-01-01\n")
    run("load", "log.csv")
    assert run("erase", "ann").stdout == "erased\n"
    with service_here() as service:
        assert service.preview(date(2024, 1, 2))["mau"].truth == 1
    assert "user is" in run("erase", " ", code=1).stderr


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (["Zaphod", "Beeblebrox"], 2),
        (["x", "y", "Zaphod"], 2),
        (["--", "Zaphod", "-x"], 2),
        (["Zaphod" * 100], 1),
        (["Zaphod\0"], 1),
    ],
)
def test_erase_does_not_repeat_whom(run: Run, tmp_path: Path, given: list[str], code: int) -> None:
    (tmp_path / "log.csv").write_text("user,day\nann,2024-01-01\n")
    run("load", "log.csv")
    failed = run("erase", *given, code=code)
    assert "Zaphod" not in failed.stdout + failed.stderr


def test_an_id_may_begin_with_a_hyphen(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,day\n-ann,2024-01-01\n--bob,2024-01-01\n")
    run("load", "log.csv")
    assert run("erase", "--", "-ann").stdout == "erased\n"
    assert run("erase", "--", "--bob").stdout == "erased\n"


def test_settings_come_from_file_environment_and_options(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings(*options: str) -> dict[str, Any]:
        return tomllib.loads(run("settings", *options).stdout)

    assert settings()["mau"]["epsilon"] == 0.5
    (tmp_path / "dpdau.toml").write_text('horizon = "unlimited"\n[mau]\nepsilon = 0.6\n[wau]\nepsilon = 0.7\n')
    assert (settings()["mau"]["epsilon"], settings()["horizon"]) == (0.6, "unlimited")
    monkeypatch.setenv("DPDAU_MAU_EPSILON", "0.8")
    monkeypatch.setenv("DPDAU_HORIZON", "100")
    found = settings("--set", "dau.epsilon=0.9,dau.unit=user,first_day=", "--store", "other")
    assert (found["mau"]["epsilon"], found["wau"]["epsilon"], found["dau"]["epsilon"]) == (0.8, 0.7, 0.9)
    assert (found["horizon"], found["store"]) == (100, "other")
    assert "is no setting; there are store" in run("settings", "--set", "mau.epsilom=1", code=1).stderr
    assert "mau: epsilon" in run("settings", "--set", "mau.epsilon=-1", code=1).stderr
    # What the command prints is what it reads.
    text = run("settings").stdout
    (tmp_path / "copy.toml").write_text(text)
    assert run("settings", "--config", "copy.toml").stdout == text


def test_the_promise_is_one_plain_sentence(run: Run) -> None:
    said = run("settings").stderr
    assert "(1.2, 3e-06)-differential privacy" in said
    assert "one user's activity on one day" in said
    assert len(said.strip().splitlines()) == 1
    mixed = run("settings", "--set", "mau.unit=user,mau.w_bound=4,mau.mechanism=laplace").stderr
    assert "everything that one user ever does" in mixed
    assert "MAU (0.5, 0)" in mixed


def test_an_address_that_others_reach_needs_a_key(run: Run) -> None:
    assert "SERVICE_API_KEY" in run("serve", "--host", "0.0.0.0", "--port", "0", "--no-pages", code=1).stderr


def test_a_demonstration_is_filled_and_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.demo.USERS", 200)
    run("demo", "--days", "3", "--no-serve")
    said = run("demo", "--days", "5", "--no-serve").stderr
    assert "2 days filled and closed" in said
    with _demo_service() as service:
        assert service.status().last == date(2026, 1, 5)
        assert service.status().operations > 50


def test_a_demonstration_leaves_a_real_store_alone(run: Run) -> None:
    run(*LOG, "log.csv")
    run("load", "log.csv")
    said = run("demo", "--folder", ".", "--days", "1", "--no-serve", code=1).stderr
    assert "is no demonstration" in said
    with service_here() as service:
        assert service.status().last is None
        assert service.charges() == []


def test_looking_makes_no_store(run: Run, tmp_path: Path) -> None:
    for command in (("mau",), ("erase", "ann")):
        assert "there is no store at dpdau.store" in run(*command, code=1).stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_demonstration_takes_back_fifteen_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench import demo

    operations = [
        one for index in range(demo.DAYS_FILLED) for one in demo.operations_of(demo.FIRST_DAY + timedelta(index))
    ]
    added, taken = (sum(one.op == op for one in operations) for op in (1, -1))
    assert 0.13 < taken / added < 0.15
    assert demo.operations_of(date(2030, 1, 1)) == []


def _demo_service() -> Any:
    from workbench.demo import of_demonstration

    settings: Settings = of_demonstration(
        load_settings(None, {}, [("store", "dpdau-demo/dpdau.store"), ("ledger", "dpdau-demo/dpdau.ledger")])
    )
    return open_service(settings, lambda: datetime.now(UTC))
