"""The pages without a browser: real stores, every form and button."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from dp.presence.daily import day_number
from tests.places import ROOT
from tests.workbench.pages import texts, tidy
from workbench import demo
from workbench.service import ADD, Operation, Refused, Service, Settings, open_service
from workbench.views import charts
from workbench.views.live.ledger import is_fresh, ledger_csv, ledger_rows
from workbench.views.live.published import interval_words
from workbench.views.live.watch import look, play

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]

APP = str(ROOT / "workbench" / "app.py")
FIRST = date(2026, 1, 1)
USERS = [f"user-{number:02}" for number in range(20)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=str(tmp_path / "store"),
        ledger=str(tmp_path / "ledger"),
        first_day=FIRST,
        future_days=True,
        show_truth=True,
    )


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """A second service on the same store, as another process would have it."""
    with open_service(settings, lambda: datetime.now(UTC)) as opened:
        yield opened


def app(settings: Settings) -> AppTest:
    page = AppTest.from_file(APP, default_timeout=60)
    page.secrets["dpdau"] = {"settings": msgspec.json.encode(settings).decode()}
    return page.run()


def press(page: AppTest, label: str) -> AppTest:
    (button,) = [one for one in page.button if one.label == label]
    return tidy(button.click().run())


def feed(service: Service, day: date, users: list[str] = USERS) -> None:
    service.ingest([Operation(user, day_number(day), ADD) for user in users])


def test_an_empty_store_says_how_to_begin(settings: Settings) -> None:
    page = tidy(app(settings))
    assert [one.value for one in page.subheader if "Nothing is published" in one.value]
    shown = texts(page)
    assert "curl -X POST http://127.0.0.1:8000/event" in shown
    assert "dpdau load" in shown
    assert "(1.2, 3e-06)-differential privacy" in shown
    assert not page.error
    assert not page.metric
    assert "Close Thu 1 January 2026" in [one.label for one in page.button]


def test_without_a_first_day_the_operator_chooses_it(settings: Settings, service: Service) -> None:
    free = msgspec.structs.replace(settings, first_day=None)
    page = tidy(app(free))
    tidy(page.date_input(key="first-day").set_value(date(2026, 2, 2)).run())
    press(page, "Close Mon 2 February 2026")
    assert service.status().first == date(2026, 2, 2)


def test_closing_a_day_publishes_it_on_the_page(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    page = press(tidy(app(settings)), "Close Thu 1 January 2026")
    published = [json.loads(service.release(metric, FIRST)) for metric in ("dau", "wau", "mau")]
    assert [one.value for one in page.metric] == [f"{round(row['estimate']):,}" for row in published]
    assert "Thu 1 January 2026 is closed and published" in page.success[0].value
    for row in published:
        assert f"95% interval {round(row['ci_low']):,} to {round(row['ci_high']):,}" in texts(page)
    page = press(page, "Close Fri 2 January 2026")
    first, second = (json.loads(service.release("dau", day)) for day in (FIRST, FIRST + timedelta(days=1)))
    assert page.metric[0].delta == str(round(second["estimate"]) - round(first["estimate"]))
    assert "nothing" not in page.success[0].value


def test_a_page_shows_what_others_did(settings: Settings, service: Service) -> None:
    page = tidy(app(settings))
    feed(service, FIRST)
    service.close(FIRST)
    assert len(tidy(page.run()).metric) == 3


def test_a_day_that_is_closed_and_not_yet_published_is_seen_when_it_is(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(service, FIRST)
    page = tidy(app(settings))
    with monkeypatch.context() as cut:
        cut.setattr(service, "_finish_closes", lambda: None)
        with pytest.raises(Refused):
            service.close(FIRST)
    assert not tidy(page.run()).metric
    before = look(service)
    service.finish()
    assert look(service) != before
    assert len(tidy(page.run()).metric) == 3


def test_activity_is_added_and_retracted_and_late_is_said(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    page = tidy(app(settings))
    page.text_input(key="user").set_value(" ada ")
    press(page, "Add")
    assert page.success[0].value == "ada is reported as active on Fri 2 January 2026 (operation 21)."
    assert service.preview(FIRST + timedelta(days=1))["dau"].truth == 1
    page.text_input(key="user").set_value("ada")
    press(page, "Retract")
    assert "ada is no longer reported as active on Fri 2 January 2026" in page.success[0].value
    assert service.preview(FIRST + timedelta(days=1))["dau"].truth == 0
    page.text_input(key="user").set_value("ada")
    page.date_input(key="day").set_value(FIRST)
    press(page, "Add")
    assert "late: it counts from Fri 2 January 2026" in page.success[0].value
    assert service.preview(FIRST + timedelta(days=1))["mau"].truth == len(USERS) + 1
    feed_table = page.dataframe[0].value
    assert list(feed_table["Operation"][:3]) == ["active", "retracted", "active"]
    assert list(feed_table["Late"][:3]) == ["late", "", ""]
    assert not any(user in feed_table.to_string() for user in USERS)


def test_a_user_without_a_name_is_refused(settings: Settings, service: Service) -> None:
    page = press(tidy(app(settings)), "Add")
    assert "nothing was stored" in page.error[0].value
    assert service.status().operations == 0


def test_erasing_a_user_moves_the_truth_by_one(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    page = tidy(app(settings))
    page.text_input(key="erased").set_value(USERS[3])
    press(page, "Erase all of this user")
    assert f"{USERS[3]} is erased: 1 row removed." in page.success[0].value
    assert "counts from Fri 2 January 2026; published days stay" in page.success[0].value
    tidy(page.toggle(key="truth").set_value(True).run())
    assert texts(page).count("Truth: **20** — NOT PRIVATE") == 3
    press(page, "Close Fri 2 January 2026")
    assert "Truth: **19** — NOT PRIVATE" in texts(page)
    assert [count.truth for count in service.truth("mau").counts] == [20, 19]


def test_the_truth_is_shown_in_demonstrations_only(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    page = tidy(app(msgspec.structs.replace(settings, show_truth=False)))
    assert not page.toggle
    page.session_state["truth"] = True
    page.session_state["play"] = True
    assert "Truth" not in texts(tidy(page.run()))


def test_a_budget_that_never_sufficed_is_called_too_small(settings: Settings, service: Service) -> None:
    page = tidy(app(msgspec.structs.replace(settings, budget_epsilon=0.2, first_day=FIRST)))
    press(page, "Close Thu 1 January 2026")
    said = page.error[0].value
    for part in ("is too small, so nothing was released", "Asked: ε 1.2", "of 0.2", "raise budget_epsilon"):
        assert part in said
    assert "exhausted" not in said
    assert service.status().last is None


def test_fresh_releases_are_charged_until_the_budget_is_exhausted(settings: Settings, service: Service) -> None:
    small = msgspec.structs.replace(settings, budget_epsilon=1.75)
    with open_service(small, lambda: datetime.now(UTC)) as owner:
        feed(owner, FIRST)
        owner.close(FIRST)
    page = tidy(app(small))
    page.selectbox(key="fresh-metric").set_value("mau")
    press(page, "Fresh release")
    assert page.success[0].value.startswith("Fresh MAU of Thu 1 January 2026: ")
    assert "It cost ε 0.5." in page.success[0].value
    assert len(service.charges()) == 4
    assert is_fresh(service.charges()[-1])
    page.selectbox(key="fresh-metric").set_value("mau")
    press(page, "Fresh release")
    said = page.error[0].value
    for part in ("is exhausted", "nothing charged", "Asked: ε 0.5", "Spent: ε 1.7 of 1.75", "Left: ε 0.05"):
        assert part in said
    assert len(service.charges()) == 4
    assert len(page.metric) == 3


def test_a_budget_that_the_series_do_not_fit_refuses_the_close(settings: Settings, service: Service) -> None:
    page = tidy(app(msgspec.structs.replace(settings, budget_epsilon=1.0)))
    press(page, "Close Thu 1 January 2026")
    assert "Asked: ε" in page.error[0].value
    assert "Left: ε" in page.error[0].value
    assert service.status().last is None


def test_the_ledger_says_what_for(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    service.fresh("wau", FIRST, "once")
    rows = ledger_rows(service.charges())
    assert [row["for"] for row in rows] == [
        "fresh release of WAU, 2026-01-01",
        "MAU series, 365 days from 2026-01-01",
        "WAU series, 365 days from 2026-01-01",
        "DAU series, 365 days from 2026-01-01",
    ]
    read = list(csv.DictReader(ledger_csv(rows).splitlines()))
    assert [float(row["epsilon"]) for row in read] == [0.4, 0.5, 0.4, 0.3]
    page = tidy(app(settings))
    assert list(page.dataframe[1].value["for"]) == [row["for"] for row in rows]
    assert "ε **1.6** of 3 spent, **1.4** left" in texts(page)


def test_auto_play_feeds_and_closes_days_until_the_end(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = {FIRST: USERS, FIRST + timedelta(days=1): USERS[:5]}
    monkeypatch.setattr(
        demo, "operations_of", lambda day: [Operation(user, day_number(day)) for user in days.get(day, [])]
    )
    page = tidy(app(settings))
    tidy(page.toggle(key="play").set_value(True).run())
    for _ in range(3):
        tidy(page.run())
    assert [count.truth for count in service.truth("dau").counts] == [20, 5]
    assert "no operations for Sat 3 January 2026" in page.warning[0].value
    assert page.toggle(key="play").value is False
    tidy(page.run())
    assert service.status().last == FIRST + timedelta(days=1)


def test_auto_play_stops_when_the_budget_does_not_suffice(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "operations_of", lambda day: [Operation("ada", day_number(day))])
    with open_service(msgspec.structs.replace(settings, budget_epsilon=1.0), lambda: datetime.now(UTC)) as poor:
        reason = play(poor, FIRST)
        assert reason is not None
        assert "too small" in reason
        assert poor.status().last is None


def test_two_viewers_who_play_feed_a_day_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "operations_of", lambda day: [Operation("ada", day_number(day))])
    with (
        open_service(settings, lambda: datetime.now(UTC)) as one,
        open_service(one.settings, lambda: datetime.now(UTC)) as other,
    ):
        assert play(one, FIRST) is None
        assert play(other, FIRST) is None
        assert one.status().operations == 1


def test_settings_that_cannot_be_used_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPDAU_TIMEZONE", "Nowhere/Town")
    page = tidy(AppTest.from_file(APP, default_timeout=60).run())
    assert "timezone is 'Nowhere/Town'" in page.error[0].value


def test_a_store_without_its_ledger_is_named(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    page = tidy(app(msgspec.structs.replace(settings, ledger=settings.ledger + "-of-another")))
    assert "is missing or has another name" in page.error[0].value


def test_alone_the_settings_come_from_the_file_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "my.toml"
    file.write_text(f'store = "{tmp_path}/s"\nledger = "{tmp_path}/l"\nfirst_day = 2026-03-05\n', encoding="utf-8")
    monkeypatch.setenv("DPDAU_CONFIG", str(file))
    page = tidy(AppTest.from_file(APP, default_timeout=60).run())
    assert not page.error
    assert "Close Thu 5 March 2026" in [one.label for one in page.button]


def test_a_day_without_an_interval_says_so() -> None:
    rows = [
        {"day": "2026-01-01", "estimate": 1007.4, "ci_low": 992.0, "ci_high": 1022.8, "ci_level": 0.95},
        {"day": "2026-01-02", "estimate": 1007.4, "ci_low": None, "ci_high": None, "ci_level": 0.95},
    ]
    table = charts.series_table(rows, None)
    assert table["interval"].tolist() == ["992 to 1,023", "no interval"]
    assert table["low"].isna().tolist() == table["high"].isna().tolist() == [False, True]
    assert interval_words(rows[0]) == "± 15 · 95% interval 992 to 1,023"
    assert interval_words(rows[1]).startswith("No interval today")


def test_the_page_shows_days_without_an_interval(settings: Settings) -> None:
    series = {
        name: msgspec.structs.replace(one, mechanism="sparse-vector", epsilon=2.0, delta=0.0)
        for name, one in settings.series.items()
    }
    sparse = msgspec.structs.replace(settings, budget_epsilon=9.0, **series)
    many = [f"user-{number}" for number in range(400)]
    with open_service(sparse, lambda: datetime.now(UTC)) as opened:
        for index in range(6):
            feed(opened, FIRST + timedelta(days=index), many[: 400 * (index % 2)])
            opened.close(FIRST + timedelta(days=index))
        last = {metric: json.loads(opened.releases(metric)[-1]) for metric in opened.settings.series}
    page = tidy(app(sparse))
    shown = texts(page)
    assert len(page.metric) == 3
    for row in last.values():
        assert interval_words(row) in shown
    page.selectbox(key="fresh-metric").set_value("mau")
    assert "Fresh MAU of" in press(page, "Fresh release").success[0].value


def test_a_real_store_cannot_be_played_with(settings: Settings, service: Service) -> None:
    assert settings.show_truth
    service.ingest([Operation("a real user", day_number(FIRST))])
    page = tidy(app(settings))
    assert [toggle.label for toggle in page.toggle if "Auto-play" in toggle.label] == []


def test_alone_the_pages_are_for_this_machine() -> None:
    config = tomllib.loads((Path(APP).parent / ".streamlit" / "config.toml").read_text("utf-8"))
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False
