"""Behaviour of the live service: settings, refusals, closing, fresh releases, erasure, what survives a restart."""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dp.accounting.composition import Guarantee
from dp.ledger import BudgetExhausted, Ledger, LedgerError, open_ledger
from dp.presence.daily import day_number
from dp.presence.tombstones import pseudonyms
from tests.oracles.service_model import FIRST, START, add, clock, day, erasure, nearly_exact, retract, settings_in
from workbench.service import (
    ADD,
    ERASE,
    Operation,
    Refused,
    Service,
    Settings,
    SettingsError,
    StoreError,
    load_settings,
    open_service,
    settings_text,
)
from workbench.service.opening import open_store
from workbench.service.store import Store
from workbench.service.writer import Writer

METRICS = ("dau", "wau", "mau")


def opened(settings: Settings, now: datetime | None = None) -> Any:
    return open_service(settings, (lambda: now) if now else clock)


def bytes_of(settings: Settings) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(settings.store_path.parent.iterdir()) if path.is_file())


def standing(service: Service) -> tuple[Any, ...]:
    """Everything that a refusal must leave as it was."""
    status = service.status()
    preview = service.preview(status.open_day or FIRST)
    truths = [service.truth(metric) for metric in METRICS]
    releases = [service.releases(metric) for metric in METRICS]
    return status, preview, truths, releases, service.budget(), service.charges()


# --- Settings --------------------------------------------------------------------------------------------------------


def test_the_defaults() -> None:
    settings = load_settings(None, {})
    assert {metric: (one.window, one.epsilon) for metric, one in settings.series.items()} == {
        "dau": (1, 0.3),
        "wau": (7, 0.4),
        "mau": (30, 0.5),
    }
    assert {(one.delta, one.w_bound, one.unit) for one in settings.series.values()} == {(1e-6, 2, "user-day")}
    assert [one.mechanism for one in settings.series.values()] == ["gaussian", *["damped-square-root"] * 2]
    assert (settings.horizon, settings.timezone) == (365, "UTC")
    assert not settings.future_days
    assert not settings.show_truth


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 1\n[mau]\nepsilon = 0.1\nw_bound = 4\ndelta = 1e-7\n")
    settings = load_settings(file, {"DPDAU_MAU_EPSILON": "0.2", "DPDAU_MAU_W_BOUND": "6"}, [("mau.epsilon", "0.3")])
    assert (settings.port, settings.mau.epsilon, settings.mau.w_bound, settings.mau.delta) == (1, 0.3, 6, 1e-7)
    assert settings.mau.mechanism == "damped-square-root", "what is not named keeps its default"
    assert settings.wau == load_settings(None, {}).wau


def test_settings_written_as_text_are_read_back(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    settings = load_settings(
        None,
        {},
        [("horizon", "unlimited"), ("budget", 'a "b" \\ ü'), ("first_day", "2026-01-01"), ("mau.fresh_epsilon", "0.1")],
    )
    file.write_text(settings_text(settings), encoding="utf-8")
    assert load_settings(file, {}) == settings


@pytest.mark.parametrize("text", ["colour = 1", "[mau]\ncolour = 1", "[colour]", "[port]\nx = 1", "mau = 5"])
def test_an_unknown_name_in_a_file_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text + "\n")
    with pytest.raises(SettingsError, match=r"colour|port|mau"):
        load_settings(file, {})


def test_an_unknown_name_on_the_command_line_is_refused_and_a_foreign_variable_is_not() -> None:
    with pytest.raises(SettingsError, match=r"--set: 'mau\.colour' is no setting"):
        load_settings(None, {}, [("mau.colour", "red")])
    assert load_settings(None, {"DPDAU_COLOUR": "red"}) == load_settings(None, {})


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        *[("mau.epsilon", value, "mau.*epsilon") for value in ("-1", "0", "nan", "inf", "many", "")],
        *[("wau.delta", value, "wau.*delta") for value in ("1", "0", "-1", "nan")],
        *[("dau.w_bound", value, "dau.*w_bound") for value in ("0", "-2", "1.5")],
        *[("mau.window", value, "mau") for value in ("29", "0", "month")],
        ("dau.window", "7", "dau 7"),
        *[("mau.fresh_epsilon", value, "mau.*epsilon") for value in ("-1", "0", "nan")],
        *[("ci_level", value, "level") for value in ("0", "1", "95")],
        *[("budget_epsilon", value, "budget_epsilon") for value in ("0", "-3", "nan", "inf")],
        *[("budget_delta", value, "budget_delta") for value in ("1", "-1", "nan")],
        *[("timezone", value, "timezone") for value in ("Middle/Earth", "", "../UTC", "/etc/passwd")],
        *[("horizon", value, "horizon") for value in ("0", "-1", "36601", "never")],
        *[("port", value, "port") for value in ("-1", "65536", "http")],
        *[(name, "", name) for name in ("store", "ledger", "budget", "host")],
        ("first_day", "2026-02-30", "first_day"),
        ("future_days", "maybe", "future_days"),
        ("mau.unit", "household", "mau.*household"),
        ("mau.mechanism", "magic", "mau.mechanism.*magic"),
        ("mau.mechanism", "adaptive-flippancy", "mau.mechanism is adaptive-flippancy, which needs every day counted"),
    ],
)
def test_an_impossible_value_is_refused_by_name(name: str, value: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(None, {}, [(name, value)])


def test_pure_mechanisms_need_no_delta_but_none_may_be_impossible() -> None:
    for mechanism in ("laplace", "sparse-vector"):
        settings = load_settings(None, {}, [("mau.mechanism", mechanism), ("mau.delta", "0")])
        assert settings.request("mau", FIRST).guarantee == Guarantee(0.5, 0.0)
        with pytest.raises(SettingsError, match=r"mau.delta is -5"):
            load_settings(None, {}, [("mau.mechanism", mechanism), ("mau.delta", "-5")])


def test_values_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"mau.*horizon"):
        load_settings(None, {}, [("mau.unit", "user"), ("horizon", "unlimited")])
    for one, other in (("store", "ledger"), ("key", "store"), ("key", "ledger")):
        with pytest.raises(SettingsError, match="a file of its own"):
            load_settings(None, {}, [(one, "same.db"), (other, "./same.db")])


# --- Ingest ----------------------------------------------------------------------------------------------------------

BAD = [
    Operation("", START),
    Operation(" \t", START),
    Operation("a\0b", START),
    Operation("u" * 513, START),
    Operation("\ud800", START),
    Operation("ann", None),
    Operation("ann", START, 5),
    Operation("ann", START, ERASE),
    Operation("ann", day_number(date(1899, 12, 31))),
    Operation("ann", day_number(date(2026, 6, 2))),
    Operation("ann", 10**30),
    Operation("ann", START, ADD, 10**30),
    Operation("ann", START, ADD, 10**7),
]


@pytest.mark.parametrize("bad", BAD, ids=[f"{index}" for index in range(len(BAD))])
def test_one_bad_operation_refuses_the_whole_batch(bad: Operation, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
        before = standing(service)
        with pytest.raises(Refused, match="event 1:") as refused:
            service.ingest([add("bob", 1), bad, add("cem", 1)])
        assert refused.value.kind == "bad-event"
        assert [index for index, _ in refused.value.faults] == [1]
        with pytest.raises(Refused, match="row 8:"):
            service.load("file", 6, [add("bob", 1), bad])
        assert standing(service) == before
        assert service.resume("file") == 0
        assert len(service.recent()) == 1


@pytest.mark.parametrize("user", ["", "\ud800", "a\0", "u" * 513])
def test_an_erasure_of_nobody_is_refused(user: str, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        with pytest.raises(Refused, match="user is"):
            service.erase(user)
        assert service.status().operations == 0


def test_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    ids = ["ann", "Ann", " ann", "ann ", "änn", "a\u0308nn", "'; DROP TABLE cells;--", "u" * 512, "🙂", "0", "00"]
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add(user, 0) for user in ids])
        assert service.preview(FIRST)["dau"].truth == len(ids)


def test_late_operations_count_from_the_open_day_and_are_reported(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        before_any_close = service.ingest([add("ann", 0), add("bob", -400)])
        assert (before_any_close.accepted, before_any_close.late, before_any_close.seq) == (2, 0, 2)
        service.close(day(0))
        service.close(day(1))
        published = service.releases("mau")
        found = service.ingest([add("cem", 0), add("cem", 1), add("cem", 2), retract("ann", 0), erasure("bob")])
        assert (found.accepted, found.late, found.seq) == (5, 3, 7)
        assert [count.truth for count in service.truth("mau").counts] == [1, 1]
        assert service.preview(day(2))["mau"].truth == 1, "ann went, cem came"
        assert service.releases("mau") == published


@pytest.mark.slow
def test_days_to_come_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    now = datetime(2026, 1, 3, 23, 30, tzinfo=UTC)
    with opened(settings_in(tmp_path), now) as service:
        service.ingest([add("ann", 2)])
        with pytest.raises(Refused, match="2026-01-04 is after today, 2026-01-03"):
            service.ingest([add("ann", 3)])
        for index in range(3):
            service.close(day(index))
        with pytest.raises(Refused, match="after today") as refused:
            service.close(day(3))
        assert refused.value.kind == "future-day"
    # In Berlin the next day has begun.
    berlin = settings_in(tmp_path, store=tmp_path / "berlin.db", timezone="Europe/Berlin")
    with opened(berlin, now) as service:
        assert service.today() == day(3)
        service.ingest([add("ann", 3)])
    with opened(settings_in(tmp_path, future_days="true"), now) as service:
        service.ingest([add("ann", 40)])
        assert service.close_through(day(39)) == 37
        assert service.preview(day(40))["dau"].truth == 1
        assert [count.truth for count in service.truth("dau").counts][3:] == [0] * 37


def test_a_load_goes_on_where_it_stopped_and_not_elsewhere(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.load("one", 0, [add("ann", 0), add("bob", 0)])
        assert (service.resume("one"), service.resume("two")) == (2, 0)
        for start in (0, 1, 3):
            with pytest.raises(Refused, match="another process"):
                service.load("one", start, [add("cem", 0)])
        service.load("one", 2, [add("cem", 0)])
        assert service.resume("one") == 3
        assert service.preview(FIRST)["dau"].truth == 3


# --- Closing ---------------------------------------------------------------------------------------------------------


def test_a_close_publishes_one_row_a_metric_of_the_true_counts(tmp_path: Path) -> None:
    sizes = {"dau": 40, "wau": 400, "mau": 4000}
    with opened(
        settings_in(tmp_path, mau__epsilon=50, wau__epsilon=50, dau__epsilon=50, budget_epsilon=1000)
    ) as service:
        first, week, today = 0, 23, 29
        service.ingest([add(f"m{index}", first) for index in range(sizes["mau"] - sizes["wau"])])
        service.ingest([add(f"w{index}", week) for index in range(sizes["wau"] - sizes["dau"])])
        service.ingest([add(f"d{index}", today) for index in range(sizes["dau"])])
        service.close(day(0))
        service.close_through(day(28))
        rows = [json.loads(row) for row in service.close(day(29))]
    assert [row["metric"] for row in rows] == list(METRICS)
    for row in rows:
        one = service.settings.series[row["metric"]]
        assert (row["day"], row["window"], row["epsilon"]) == (day(29).isoformat(), one.window, 50)
        assert abs(row["estimate"] - sizes[row["metric"]]) <= 8 * row["std"] < 10
        assert row["ci_low"] < row["estimate"] < row["ci_high"]
        assert row["secure"] is True


def test_days_are_closed_in_order(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, first_day=FIRST)) as service:
        with pytest.raises(Refused, match="2026-01-01 is next") as refused:
            service.close(day(1))
        assert refused.value.kind == "not-next"
        service.close(day(0))
        for index in (2, 30):
            with pytest.raises(Refused, match="2026-01-02 is next"):
                service.close(day(index))
        with pytest.raises(Refused, match="lies before the first day, 2026-01-01"):
            service.close(day(-1))
        assert service.status().last == day(0)


def test_a_refused_close_says_nothing_about_the_data(tmp_path: Path) -> None:
    messages = []
    for number, users in enumerate((0, 50)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with opened(settings_in(folder, first_day=FIRST, horizon=1)) as service:
            if users:
                service.ingest([add(f"u{index}", 0) for index in range(users)])
            service.close(day(0))
            said = []
            for index in (-1, 1, 2, 400):
                with pytest.raises(Refused) as refused:
                    service.close(day(index))
                said.append(str(refused.value))
            messages.append(said)
    assert messages[0] == messages[1]


def test_the_first_day_is_the_one_that_is_closed_first(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        assert service.status().open_day is None
        with pytest.raises(Refused, match="the first one must be named"):
            service.close_through(day(3))
        service.close(day(5))
        assert (service.status().first, service.status().open_day) == (day(5), day(6))


def test_days_around_the_epoch(tmp_path: Path) -> None:
    epoch = date(1970, 1, 1)
    with opened(settings_in(tmp_path)) as service:
        service.close(epoch - timedelta(days=1))
        assert service.ingest([Operation("ann", -3)]).late == 1
        assert service.recent()[0].counts_from == epoch
        service.erase("ann")
        assert service.recent()[0].counts_from == epoch
        service.close(epoch)
        assert service.status().open_day == epoch + timedelta(days=1)


def test_the_horizon_ends(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, horizon=2)) as service:
        service.close(day(0))
        service.close(day(1))
        before = standing(service)
        with pytest.raises(Refused, match="covers 2 days") as refused:
            service.close(day(2))
        assert refused.value.kind == "horizon-over"
        with pytest.raises(Refused, match="ends after 2 days"):
            service.release("mau", day(2))
        assert standing(service) == before


def test_a_closed_day_is_published_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        first = service.close(day(0))
        service.ingest([add("bob", 0), retract("ann", 0)])
        assert service.close(day(0)) == first
        second = service.close(day(1))
        budget = service.budget()
        assert [service.release(metric, day(0)) for metric in METRICS] == first
        assert len(service.charges()) == len(METRICS)
        assert budget.spent.epsilon == pytest.approx(1.2)
    with opened(settings) as service:
        assert service.close(day(0)) == first
        assert service.close(day(1)) == second
        assert service.budget() == budget


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_not_published_is_refused(metric: str, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        with pytest.raises(Refused, match="no day is closed yet"):
            service.release(metric, day(0))
        service.close(day(0))
        for index, kind in ((-1, "unknown-day"), (1, "open-day"), (400, "unknown-day")):
            with pytest.raises(Refused) as refused:
                service.release(metric, day(index))
            assert refused.value.kind == kind
        for method in (service.releases, service.truth):
            with pytest.raises(Refused, match="choose dau, wau, mau"):
                method("yau")


def test_a_budget_that_is_too_small_closes_nothing(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, budget_epsilon=1.1)) as service:
        service.ingest([add("ann", 0)])
        before = standing(service)
        for _ in range(2):
            with pytest.raises(BudgetExhausted):
                service.close(day(0))
        assert standing(service) == before
        assert service.charges() == []
        assert service.budget().spent.epsilon == 0


def test_laplace_is_charged_without_delta(tmp_path: Path) -> None:
    names = {"dau": "laplace", "wau": "laplace", "mau": "binary-tree-laplace"}
    mechanisms = {f"{metric}__mechanism": name for metric, name in names.items()}
    with opened(settings_in(tmp_path, horizon=30, budget_delta=0, **mechanisms)) as service:
        rows = [json.loads(row) for row in service.close(day(0))]
        rows.append(json.loads(service.fresh("mau", day(0), "x")))
        assert {row["delta"] for row in rows} == {0.0}
        assert {charge.guarantee.delta for charge in service.charges()} == {0.0}
        assert rows[-1]["mechanism"] == "laplace"
        assert service.budget().spent.epsilon == pytest.approx(1.7)


def test_a_user_is_frozen_after_w_bound_flips_and_fresh_releases_are_not(tmp_path: Path) -> None:
    unit = {f"{metric}__unit": "user" for metric in METRICS}
    with opened(nearly_exact(tmp_path, **unit)) as service:
        for index in range(4):
            service.ingest([add("ann", 2 * index)])
            service.close_through(day(2 * index + 1)) if index else [service.close(day(day_)) for day_ in (0, 1)]
        counts = service.truth("dau").counts
        assert [count.truth for count in counts] == [1, 0, 1, 0, 1, 0, 1, 0]
        assert [count.bounded for count in counts] == [1, 0, 0, 0, 0, 0, 0, 0]
        assert [round(json.loads(service.fresh("dau", day(index), "x"))["estimate"]) for index in (5, 6)] == [0, 1]


def test_a_series_without_an_end(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, horizon="unlimited", first_day=FIRST)) as service:
        assert service.close_through(day(3)) == 4
        assert json.loads(service.release("mau", day(3)))["horizon"] is None
        assert "however many days" in service.promise


def sparse(**others: Any) -> dict[str, Any]:
    return {f"{metric}__mechanism": "sparse-vector" for metric in METRICS} | others


@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_sparse_vector_goes_on_from_day_to_day_and_freezes_nobody(unit: str, tmp_path: Path) -> None:
    units = {f"{metric}__unit": unit for metric in METRICS}
    settings = settings_in(tmp_path, **sparse(**units, mau__epsilon=80.0, mau__w_bound=2, budget_epsilon=90.0))
    everyone = [f"u{index}" for index in range(300)]
    for index in range(9):
        # A process of its own every day: what is held lies in the ledger.
        with opened(settings) as service:
            service.ingest([add(user, index) for user in everyone if index % 2 == 0])
            service.ingest([retract(user, index - 1) for user in everyone if index % 2])
            service.close(day(index))
    with opened(settings) as service:
        rows = {metric: [json.loads(row) for row in service.releases(metric)] for metric in METRICS}
        counts = service.truth("mau").counts
        assert "however often" in service.promise
    assert [len(series) for series in rows.values()] == [9] * 3
    assert {count.truth for count in counts} == {0, 300}
    assert [count.bounded for count in counts] == [count.truth for count in counts]
    assert {row["w_bound"] for series in rows.values() for row in series} == {None}
    looked = [(row, count) for row, count in zip(rows["mau"], counts, strict=True) if row["ci_low"] is not None]
    assert len(looked) >= 5
    assert all(abs(row["estimate"] - count.truth) < 60 for row, count in looked)


def test_what_is_promised_names_every_series(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        for part in ("(1.2, 3e-06)", "365 days", "DAU (0.3, 1e-06)", "WAU (0.4, 1e-06)", "MAU (0.5, 1e-06)"):
            assert part in service.promise
        assert set(service.promises) == set(METRICS)


# --- Fresh releases --------------------------------------------------------------------------------------------------


def test_a_fresh_release_is_charged_once_a_request(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, mau__fresh_epsilon=0.25)
    with opened(settings) as service:
        service.ingest([add(f"u{index}", 0) for index in range(20)])
        published = service.close(day(0))
        first = service.fresh("mau", day(0), "a")
        assert service.fresh("mau", day(0), "a") == first
        assert len(service.charges()) == 4
        second = service.fresh("mau", day(0), "b")
        assert second != first
        assert [charge.guarantee.epsilon for charge in service.charges()[3:]] == [0.25, 0.25]
        assert service.budget().spent.epsilon == pytest.approx(1.7)
        assert service.close(day(0)) == published
        # The key belongs to one metric and day.
        assert json.loads(service.fresh("dau", day(0), "a"))["metric"] == "dau"
    with opened(settings) as service:
        assert service.fresh("mau", day(0), "a") == first
        assert service.find_fresh("mau", day(0), "b") == second
        assert service.find_fresh("mau", day(0), "c") is None
    with opened(settings_in(tmp_path, mau__fresh_epsilon=0.1)) as service:
        assert service.fresh("mau", day(0), "a") == first, "an answer that was given stays, whatever is set later"


def test_a_retraction_moves_a_fresh_release_and_not_the_published_one(tmp_path: Path) -> None:
    with opened(nearly_exact(tmp_path)) as service:
        service.ingest([add(f"u{index}", 0) for index in range(30)])
        published = service.close(day(0))

        def fresh(key: str, metric: str = "dau") -> int:
            return round(json.loads(service.fresh(metric, day(0), key))["estimate"])

        assert fresh("1") == 30
        service.ingest([retract("u0", 0)])
        assert fresh("2") == 29
        service.erase("u1")
        assert fresh("3") == 28
        service.ingest([add("late", 0), add("other day", 1), add("earlier", -6)])
        assert (fresh("4"), fresh("4", "wau")) == (29, 30)
        service.ingest([retract("u2", 0, at=5)])
        assert fresh("5") == 29, "it does not count yet"
        assert service.close(day(0)) == published
        assert fresh("1") == 30


@pytest.mark.slow
def test_fresh_noise_is_that_of_its_row(tmp_path: Path) -> None:
    draws = 100
    with opened(settings_in(tmp_path, budget_epsilon=100, budget_delta=0.1)) as service:
        service.ingest([add(f"u{index}", 0) for index in range(500)])
        service.close(day(0))
        rows = [json.loads(service.fresh("dau", day(0), f"key-{index}")) for index in range(draws)]
    (deviation,) = {row["std"] for row in rows}
    errors = [row["estimate"] - 500 for row in rows]
    # ε = 0.3 and δ = 1e-6 need a deviation of 13.1 for one user (the exact curve of Gaussian noise).
    assert deviation == pytest.approx(13.1, abs=0.2)
    assert abs(sum(errors) / draws) < 6 * deviation / draws**0.5
    assert 0.5 < (sum(error**2 for error in errors) / draws) ** 0.5 / deviation < 1.6


@pytest.mark.parametrize("key", ["", "a b", "a/b", "x" * 65, "ü", "a\n", "../x"])
def test_a_request_needs_a_plain_key(key: str, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.close(day(0))
        before = standing(service)
        with pytest.raises(Refused, match="request id"):
            service.fresh("mau", day(0), key)
        assert standing(service) == before


def test_an_exhausted_budget_changes_nothing(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, budget_epsilon=1.6)) as service:
        service.ingest([add("ann", 0), add("bob", 1)])
        service.close(day(0))
        before = standing(service)
        with pytest.raises(BudgetExhausted):
            service.fresh("mau", day(0), "x")
        assert standing(service) == before
        service.fresh("wau", day(0), "x")
        service.close(day(1))
        assert service.budget().remaining.epsilon == 0


@pytest.mark.parametrize("index", [-1, 1, 500])
def test_only_a_closed_day_has_a_fresh_release(index: int, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.close(day(0))
        with pytest.raises(Refused):
            service.fresh("dau", day(index), "x")
        assert len(service.charges()) == 3


def test_one_request_from_many_threads_is_charged_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as one, opened(settings) as other:
        one.close(day(0))
        with ThreadPoolExecutor(8) as pool:
            rows = set(pool.map(lambda number: (one, other)[number % 2].fresh("dau", day(0), "same"), range(16)))
        assert len(rows) == 1
        assert len(one.charges()) == 4


# --- Erasure ---------------------------------------------------------------------------------------------------------


def rows_naming(settings: Settings, user: str) -> dict[str, int]:
    name = pseudonyms(settings.key_path.read_bytes())(user)
    connection = sqlite3.connect(settings.store_path)
    found = {
        table: connection.execute(f"SELECT COUNT(*) FROM {table} WHERE pseudonym = ?", (name,)).fetchone()[0]
        for table in ("operations", "cells", "flips")
    }
    connection.close()
    return found


@pytest.mark.parametrize("way", ["at once", "as an operation", "when it comes due"])
def test_an_erasure_leaves_the_spent_flips_and_no_byte_of_the_id(way: str, tmp_path: Path) -> None:
    settings, user = settings_in(tmp_path), "user-" + secrets.token_hex(40)
    with opened(settings) as service:
        service.ingest([add("bob", 0), *[add(user, index) for index in range(-3, 3)], retract(user, 1)])
        service.close(day(0))
        service.fresh("dau", day(0), "x")
        if way == "at once":
            assert service.erase(user) == 7
        else:
            service.ingest([erasure(user, at=2 if way == "when it comes due" else None)])
        service.close(day(1))
        service.close(day(2))
        assert user.encode() not in bytes_of(settings), "while the service runs"
        assert rows_naming(settings, user) == {"operations": 0, "cells": 0, "flips": 3}
        assert [count.truth for count in service.truth("mau").counts][-1] == 1
        assert rows_naming(settings, "bob") == {"operations": 1, "cells": 1, "flips": 3}
    assert user.encode() not in bytes_of(settings)


@pytest.mark.parametrize("way", ["at once", "as an operation"])
def test_an_erasure_leaves_no_row_and_an_empty_write_ahead_log(way: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log = settings.store_path.with_name(settings.store_path.name + "-wal")
    with opened(settings) as service:
        service.ingest([add("ann", 0), add("bob", 0)])
        service.close(day(0))
        service.ingest([add("ann", 1)])
        assert log.stat().st_size > 0
        if way == "at once":
            service.erase("ann")
        else:
            service.ingest([add("bob", 1), erasure("ann")])
        # Before the next close already: nothing but the flips, and whose presence that close has to end.
        assert log.stat().st_size == 0
        name = pseudonyms(settings.key_path.read_bytes())("ann")
        with sqlite3.connect(settings.store_path) as connection:
            left = connection.execute("SELECT day FROM latest WHERE pseudonym = ?", (name,)).fetchall()
        connection.close()
        assert left == [(None,)]
        assert rows_naming(settings, "ann") == {"operations": 0, "cells": 0, "flips": 3}


def test_a_reader_puts_the_wiping_off_and_holds_nobody_up(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log = settings.store_path.with_name(settings.store_path.name + "-wal")
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        reader = sqlite3.connect(settings.store_path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM operations").fetchone()
        assert service.erase("ann") == 1
        assert log.stat().st_size > 0
        reader.execute("COMMIT")
        reader.close()
        service.ingest([add("bob", 0)])
        assert log.stat().st_size == 0


def test_an_id_is_in_no_byte_before_an_erasure_either(tmp_path: Path) -> None:
    settings, user = settings_in(tmp_path), "user-" + secrets.token_hex(40)
    with opened(settings) as service:
        service.ingest([add(user, 0)])
        service.preview(day(0))
        assert user.encode() not in bytes_of(settings)
        with pytest.raises(Refused):
            service.ingest([add(user, 0), add("", 0)])
        assert user not in repr(service.recent())


def test_an_erasure_to_come_outlives_one_at_once(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, first_day=FIRST)) as service:
        service.ingest([add("ann", 0), erasure("ann", at=2)])
        service.erase("ann")
        service.ingest([add("ann", 1)])
        service.close_through(day(2))
        assert [count.truth for count in service.truth("mau").counts] == [0, 1, 0]


def test_erasing_a_stranger_changes_no_count(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add("ann", 0)])
        assert service.erase("bob") == 0
        assert service.preview(day(0))["mau"].truth == 1


def test_a_batch_is_carried_out_in_its_order(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add("ann", 0), erasure("ann"), add("bob", 0), erasure("bob"), add("bob", 0)])
        assert service.preview(day(0))["dau"].truth == 1
        service.ingest([erasure("bob"), erasure("bob"), add("cem", 0), add("ann", 0), erasure("cem"), erasure("ann")])
        assert service.preview(day(0))["dau"].truth == 0


# --- Files -----------------------------------------------------------------------------------------------------------


def test_store_key_and_ledger_are_for_their_owner_only(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert {"store.db", "store.db.key", "store.db-wal", "store.db-shm", "ledger.db"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert len(settings.key_path.read_bytes()) == 32


def test_only_the_key_that_a_store_was_made_with_opens_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
    key = settings.key_path.read_bytes()
    for wrong, message in ((secrets.token_bytes(32), "not the key"), (key[:31], "31 bytes"), (b"", "0 bytes")):
        settings.key_path.write_bytes(wrong)
        with pytest.raises(StoreError, match=message):
            open_store(settings.store_path, settings.key_path)
    settings.key_path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(settings.store_path, settings.key_path)
    assert not settings.key_path.exists(), "no new key is made for an old store"
    settings.key_path.write_bytes(key)
    with opened(settings) as service:
        assert service.preview(FIRST)["dau"].truth == 1


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.close(day(0))
    (tmp_path / "text").write_text("not a database, but long enough to have a header of one hundred bytes " * 3)
    for path in (tmp_path / "text", settings.ledger_path):
        with pytest.raises(StoreError, match=path.name):
            open_store(path, settings.key_path)
    for store, key in (("no/store.db", "key"), ("store2.db", "no/key")):
        with pytest.raises(StoreError, match="no"):
            open_store(tmp_path / store, tmp_path / key)


def copy_of(path: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in path.parent.glob(path.name + "*")}


def put_back(path: Path, copy: dict[Path, bytes]) -> None:
    for one in path.parent.glob(path.name + "*"):
        one.unlink()
    for one, content in copy.items():
        one.write_bytes(content)


@pytest.mark.parametrize("lost", ["ledger", "old ledger", "old store", "ledger without fresh releases"])
def test_nothing_is_redrawn_when_a_file_is_lost(lost: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
    ledger, store = copy_of(settings.ledger_path), copy_of(settings.store_path)
    with opened(settings) as service:
        if lost != "ledger without fresh releases":
            service.close(day(1))
        service.fresh("dau", day(0), "x")
    newest = copy_of(settings.ledger_path), copy_of(settings.store_path)
    if lost == "old store":
        put_back(settings.store_path, store)
    else:
        put_back(settings.ledger_path, {} if lost == "ledger" else ledger)
    for _ in range(2):
        with pytest.raises(Refused, match=r"missing (or an old copy|or has another name)") as refused, opened(settings):
            pass
        assert refused.value.kind == "other-store"
    put_back(settings.ledger_path, newest[0])
    put_back(settings.store_path, newest[1])
    with opened(settings) as service:
        assert len(service.charges()) == 4


def test_a_ledger_that_is_lost_while_the_service_runs_is_noticed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.close(day(0))
        put_back(settings.ledger_path, {})
        for attempt in (
            lambda: service.close(day(0)),
            lambda: service.close(day(1)),
            lambda: service.fresh("dau", day(0), "y"),
        ):
            with pytest.raises(Refused):
                attempt()
        assert service.status().last == day(0), "nothing was counted"


def test_other_settings_do_not_continue_a_series(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        published = service.close(day(0))
    for name, value in (
        ("mau__epsilon", 0.6), ("mau__window", 28), ("mau__w_bound", 4), ("wau__mechanism", "square-root"),
        ("dau__unit", "user"), ("horizon", 366), ("budget", "other"), ("ci_level", 0.9),
        ("timezone", "Asia/Tokyo"), ("first_day", "2025-12-31"),
    ):  # fmt: skip
        with (
            pytest.raises(Refused, match=r"set (them|it) back") as refused,
            opened(settings_in(tmp_path, **{name: value})),
        ):
            pass
        assert refused.value.kind == "other-settings"
        assert "--stream" not in str(refused.value)
    with opened(settings_in(tmp_path)) as service:
        assert service.close(day(0)) == published
        assert [budget for budget in service.charges() if budget.budget != "live"] == []


def test_one_store_publishes_to_one_ledger(tmp_path: Path) -> None:
    one, other = settings_in(tmp_path), settings_in(tmp_path, ledger=tmp_path / "other.ledger")
    with opened(one) as left, opened(other) as right:
        left.ingest([add("ann", 0)])
        published = left.close(day(0))
        for index in (0, 1):
            with pytest.raises(Refused) as refused:
                right.close(day(index))
            assert refused.value.kind == "other-store"
        assert right.charges() == []
        assert left.close(day(0)) == published
    with pytest.raises(Refused, match="publishes to another ledger"), opened(other):
        pass


def test_a_store_that_another_ledger_got_first_charges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        charge = service.account.charge

        def overtaken(ledger: Ledger, first: date) -> None:
            charge(ledger, first)
            service._write(lambda store: store.bind("the name of another ledger"))

        monkeypatch.setattr(service.account, "charge", overtaken)
        with pytest.raises(Refused, match="publishes to another ledger"):
            service.close(day(0))
        assert service.charges() == []
        assert service.status().last is None


def test_a_close_cut_off_before_it_is_noted_is_not_taken_up_by_another_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = settings_in(tmp_path), settings_in(tmp_path, ledger=tmp_path / "other.ledger")
    with opened(one) as service:
        monkeypatch.setattr(service, "_finish_closes", lambda: None)
        with pytest.raises(Refused, match=r"no day is closed yet|not closed yet"):
            service.close(day(0))
    with pytest.raises(Refused, match="publishes to another ledger"), opened(other):
        pass
    with opened(one) as service:
        assert len(service.close(day(0))) == 3


def test_a_refused_first_close_leaves_nothing_behind(tmp_path: Path) -> None:
    small = settings_in(tmp_path, ledger=tmp_path / "small.ledger", budget_epsilon=0.5)
    with opened(small) as service:
        service.ingest([add("ann", 0)])
        with pytest.raises(BudgetExhausted) as refused:
            service.close(day(0))
        # The whole is asked for, and named.
        assert refused.value.requested == pytest.approx((1.2, 3e-6))
        assert refused.value.budget.spent == (0.0, 0.0)
        assert service.charges() == []
        assert service.budget().spent == (0.0, 0.0)
    with opened(settings_in(tmp_path, ledger=tmp_path / "big.ledger")) as service:
        assert len(service.close(day(0))) == 3


def test_a_budget_of_just_the_sum_is_enough(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, budget_epsilon=1.2, budget_delta=3e-6)) as service:
        service.close(day(0))
        assert service.budget().remaining == (0.0, 0.0)


def test_the_promise_names_who_is_protected_by_which_series(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, mau__unit="user", mau__w_bound=4)) as service:
        assert (
            "retraction, as long as that changes the user's presence at most 2 times (in DAU, WAU)" in service.promise
        )
        assert "a user being frozen after 4 changes of presence (in MAU)" in service.promise


def test_looking_at_a_budget_opens_none(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        assert service.budget().remaining.epsilon == settings.budget_epsilon
        assert service.charges() == []
        assert not settings.ledger_path.exists()
    with opened(settings_in(tmp_path, budget_epsilon=5.0)) as service:
        service.close(day(0))
        assert service.budget().cap.epsilon == 5.0
    with opened(settings_in(tmp_path, budget_epsilon=7.0)) as service:
        assert service.budget().cap.epsilon == 5.0


def test_fresh_releases_may_have_a_budget_of_their_own(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, fresh_budget="more")
    with opened(settings) as service:
        service.close(day(0))
        with pytest.raises(LedgerError, match="'more' does not exist"):
            service.fresh("mau", day(0), "a")
        with open_ledger(settings.ledger_path) as ledger:
            ledger.create_budget("more", Guarantee(0.6, 1e-5), date(2020, 1, 1), None)
        row = json.loads(service.fresh("mau", day(0), "b"))
        assert (row["budget"], row["budget_remaining"]) == ("more", pytest.approx(0.1))
        assert service.budget().spent.epsilon == pytest.approx(1.2)
        assert [budget.name for budget in service.budgets()] == ["live", "more"]
        assert [charge.budget for charge in service.charges()] == ["live", "live", "live", "more"]
        with pytest.raises(BudgetExhausted):
            service.fresh("mau", day(0), "c")


def test_two_stores_share_a_ledger_and_do_not_mix(tmp_path: Path) -> None:
    one, other = settings_in(tmp_path), settings_in(tmp_path, store=tmp_path / "other.db")
    with opened(one) as left, opened(other) as right:
        left.ingest([add(f"u{index}", 0) for index in range(5)])
        rows = left.close(day(0)), right.close(day(0))
        assert rows[0] != rows[1]
        assert (left.truth("dau").counts[0].truth, right.truth("dau").counts[0].truth) == (5, 0)
        assert left.close(day(0)) == rows[0]
        assert right.close(day(0)) == rows[1]
        assert left.budget().spent.epsilon == pytest.approx(2.4)
        with pytest.raises(Refused, match="not closed yet"):
            right.release("dau", day(1))
        left.fresh("dau", day(0), "x")
        assert right.find_fresh("dau", day(0), "x") is None
    with opened(settings_in(tmp_path, store=tmp_path / "third.db")) as third, pytest.raises(BudgetExhausted):
        third.close(day(0))


# --- Side by side ----------------------------------------------------------------------------------------------------


def test_two_services_that_close_the_same_days_at_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    days = 8

    def close_all(service: Service) -> list[str]:
        started.wait()
        return [row for index in range(days) for row in service.close(day(index))]

    started = threading.Barrier(4)
    with opened(settings) as one, opened(settings) as other, ThreadPoolExecutor(4) as pool:
        one.ingest([add("ann", index) for index in range(days)])
        results = [pool.submit(close_all, service) for service in (one, other, one, other)]
        rows = {tuple(result.result()) for result in results}
        assert len(rows) == 1
        assert [count.truth for count in one.truth("dau").counts] == [1] * days
        assert len(one.charges()) == len(METRICS)
        assert [len(one.releases(metric)) for metric in METRICS] == [days] * 3


@pytest.mark.slow
def test_a_day_that_another_process_closes_meanwhile_is_no_broken_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as one, opened(settings) as other:
        one.close(day(0))
        genuine: Callable[..., list[str]] = Ledger.releases
        closing: list[threading.Thread] = []

        def releases(self: Ledger, stream: str, series: str) -> list[str]:
            if not closing:
                closing.append(threading.Thread(target=other.close, args=(day(1),)))
                closing[0].start()
                # Under the ledger's lock the other has to wait; without it, it goes through here.
                closing[0].join(1)
            return genuine(self, stream, series)

        monkeypatch.setattr(Ledger, "releases", releases)
        rows = one.close(day(0))
        closing[0].join()
        monkeypatch.undo()
        assert rows == other.close(day(0))
        assert one.close(day(1)) == other.close(day(1))


def test_two_first_days_at_once_leave_one(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as one, opened(settings) as other, ThreadPoolExecutor(2) as pool:
        outcomes = [pool.submit(service.close, day(index)) for index, service in ((3, one), (7, other))]
        refused = [outcome.exception() for outcome in outcomes]
        assert sorted(error is None for error in refused) == [False, True]
        assert isinstance(next(error for error in refused if error), Refused)
        assert one.status() == other.status()
        assert len(one.charges()) == len(METRICS)


def test_ingest_beside_a_close_loses_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as one, opened(settings) as other, ThreadPoolExecutor(3) as pool:
        writing = [
            pool.submit(lambda part=part: [one.ingest([add(f"{part}-{index}", 0)]) for index in range(60)])
            for part in range(2)
        ]
        closing = pool.submit(lambda: [other.close(day(index)) for index in range(5)])
        for job in (*writing, closing):
            job.result()
        assert one.status().operations == 120
        assert one.preview(day(5))["mau"].truth == 120
        truths = [count.truth for count in one.truth("mau").counts]
        assert truths == sorted(truths)


def test_somebody_who_reads_holds_nobody_up(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as service, ThreadPoolExecutor(1) as pool:
        service.ingest([add("ann", 0)])
        reader = sqlite3.connect(settings.store_path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM operations").fetchone()
        works = [
            pool.submit(service.close, day(0)),
            pool.submit(service.ingest, [add("bob", 1)]),
            pool.submit(service.erase, "ann"),
            pool.submit(service.preview, day(1)),
        ]
        try:
            # Whoever waits for the reader waits for a minute.
            results = [work.result(timeout=30) for work in works]
        finally:
            reader.close()
        assert results[3]["mau"].truth == 1


# --- The writer ------------------------------------------------------------------------------------------------------


def new_store(folder: Path) -> Store:
    return open_store(folder / "store.db", folder / "key")


def in_one_group(writer: Writer, works: list[Callable[[Store], Any]]) -> list[Future[Any]]:
    """Submit jobs while the writer is held up, so that they share a transaction."""
    held, go = threading.Event(), threading.Event()

    def hold(store: Store) -> None:
        held.set()
        go.wait(10)

    holding = writer.submit(hold)
    held.wait(10)
    futures = [writer.submit(work) for work in works]
    go.set()
    holding.result()
    return futures


def test_a_job_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    writer = Writer(new_store(tmp_path))

    def fail(store: Store) -> None:
        store.append([add("eve", 0)])
        raise RuntimeError("no")

    good = [lambda store, name=name: store.append([add(name, 0)]) for name in ("ann", "bob")]
    futures = in_one_group(writer, [good[0], fail, good[1]])
    assert [future.exception() is None for future in futures] == [True, False, True]
    assert str(futures[1].exception()) == "no"
    assert writer.submit(lambda store: store.preview(START, {1: None})[1].truth).result() == 2
    assert writer.submit(lambda store: len(store.recent(10))).result() == 2
    writer.stop()


def test_a_group_shares_a_transaction(tmp_path: Path) -> None:
    writer = Writer(new_store(tmp_path))
    began: list[str] = []
    writer.submit(
        lambda store: store.connection.set_trace_callback(lambda text: began.append(text) if "BEGIN" in text else None)
    ).result()
    for future in in_one_group(writer, [lambda store: store.last_seq()] * 50):
        future.result()
    writer.stop()
    assert len(began) == 2, "one for the job that held the others up, one for all of them"


def test_a_result_comes_after_its_commit(tmp_path: Path) -> None:
    writer = Writer(new_store(tmp_path))
    seen: list[int] = []
    looked = threading.Semaphore(0)

    def look(future: Future[Any]) -> None:
        connection = sqlite3.connect(tmp_path / "store.db")
        seen.append(connection.execute("SELECT COUNT(*) FROM operations").fetchone()[0])
        connection.close()
        looked.release()

    for number in range(1, 6):
        future = writer.submit(lambda store, number=number: store.append([add(f"u{number}", 0)]))
        future.add_done_callback(look)
        assert looked.acquire(timeout=10)
    writer.stop()
    assert seen == [1, 2, 3, 4, 5]


def test_a_commit_that_fails_fails_its_jobs(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    writer = Writer(store)

    def spoil(store: Store) -> str:
        # The violation is noticed by COMMIT, not by the statement.
        run = store.connection.execute
        run("PRAGMA defer_foreign_keys = ON")
        run("INSERT INTO child VALUES (1)")
        return "done"

    def prepare(store: Store) -> None:
        store.connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        store.connection.execute("CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")

    store.connection.execute("PRAGMA foreign_keys = ON")
    writer.submit(prepare).result()
    futures = in_one_group(writer, [spoil, lambda store: store.append([add("ann", 0)]).accepted])
    assert isinstance(futures[0].exception(), sqlite3.IntegrityError)
    assert futures[1].result() == 1
    assert writer.submit(lambda store: store.connection.execute("SELECT * FROM child").fetchall()).result() == []
    writer.stop()


def test_stopping_finishes_what_is_queued_and_takes_nothing_more(tmp_path: Path) -> None:
    writer = Writer(new_store(tmp_path))
    futures = [writer.submit(lambda store: store.append([add("ann", 0)])) for _ in range(20)]
    writer.stop()
    writer.stop()
    assert [future.result(timeout=0).seq for future in futures] == list(range(1, 21))
    with pytest.raises(StoreError, match="stopping"):
        writer.submit(lambda store: None)


@pytest.mark.parametrize("index", [-1, 0, 2, 40])
def test_only_the_open_day_has_a_preview(index: int, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
        with pytest.raises((Refused, StoreError), match="2026-01-02 is"):
            service.preview(day(index))
        assert [service.preview(day(1))[metric].truth for metric in METRICS] == [0, 1, 1]


def test_a_preview_leaves_the_store_as_it_is(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, first_day=FIRST)
    with opened(settings) as service:
        service.ingest([add("ann", 0), erasure("ann", at=1), add("bob", 0)])

        def content() -> list[list[Any]]:
            connection = sqlite3.connect(settings.store_path)
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = [connection.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(tables)]
            connection.close()
            return rows

        before = content()
        assert service.preview(day(0)) == service.preview(day(0))
        assert content() == before
        service.close(day(0))
        assert content() != before
    shutil.rmtree(tmp_path)
