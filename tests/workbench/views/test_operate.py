"""The page *Operate* without a browser: real stores, every form and button."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from dp.accounting.composition import Guarantee
from dp.presence.daily import day_number
from tests.workbench.pages import FIRST, USERS, feed, opened_page, press, settings_of, texts, tidy
from workbench import demo
from workbench.service import ADD, RETRACT, Operation, Service, Settings, open_service
from workbench.service.question_settings import BreakdownSettings, QuestionSettings
from workbench.views.bundle import table_csv
from workbench.views.operate.budget import how_often, releases_left
from workbench.views.operate.days import play
from workbench.views.operate.ledger import is_fresh, ledger_rows
from workbench.views.operate.operations import PICKED

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]

SECOND = FIRST + timedelta(days=1)
HOSTILE = "[a](http://b) *c* :material/home: <b>d</b> $e$"


def app(settings: Settings) -> AppTest:
    return opened_page(settings, "operate")


def small_demonstration(monkeypatch: pytest.MonkeyPatch, days: dict[date, list[str]]) -> None:
    """A demonstration that has these users on these days."""
    monkeypatch.setattr(
        demo, "operations_of", lambda day: [Operation(user, day_number(day)) for user in days.get(day, [])]
    )


# --- Days ------------------------------------------------------------------------------------------------------------


def test_without_a_first_day_the_operator_chooses_it(settings: Settings, service: Service) -> None:
    free = msgspec.structs.replace(settings, first_day=None)
    page = app(free)
    tidy(page.date_input(key="first-day").set_value(date(2026, 2, 2)).run())
    press(page, "Close Mon 2 February 2026")
    assert "The first close fixes for ever" in page.error[0].value
    assert service.status().first is None
    tidy(page.checkbox(key="first-day-meant").check().run())
    press(page, "Close Mon 2 February 2026")
    assert service.status().first == date(2026, 2, 2)


def test_closing_a_day_publishes_it_and_the_fields_follow(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    page = app(settings)
    assert page.date_input(key="day").value == FIRST
    press(page, "Close Thu 1 January 2026")
    assert "Thu 1 January 2026 is closed and published: DAU " in page.success[0].value
    assert page.date_input(key="day").value == SECOND
    assert page.date_input(key="fresh-day").value == FIRST
    page.text_input(key="user").set_value("ada")
    page.date_input(key="day").set_value(FIRST)
    press(page, "Add")
    assert page.date_input(key="day").value == FIRST
    press(page, "Close Fri 2 January 2026")
    assert "nothing" not in page.success[0].value
    assert page.date_input(key="day").value == FIRST + timedelta(days=2)
    assert page.date_input(key="fresh-day").value == SECOND


def test_the_next_period_is_charged_once_it_is_meant(settings: Settings, service: Service, tmp_path: Path) -> None:
    short = msgspec.structs.replace(
        settings, horizon=2, store=str(tmp_path / "short.store"), ledger=str(tmp_path / "short.ledger"), key=None
    )
    third = SECOND + timedelta(days=1)
    with open_service(short, lambda: datetime(2026, 6, 1, tzinfo=UTC)) as other:
        feed(other, FIRST)
        page = app(short)
        press(page, "Close Thu 1 January 2026")
        assert "Days that are charged for and still open: 1" in " ".join(one.value for one in page.caption)
        press(page, "Close Fri 2 January 2026")
        press(page, "Close Sat 3 January 2026")
        assert "dpdau renew" in page.error[0].value
        assert page.button(key="renew").disabled
        assert "The next period begins on" in " ".join(one.value for one in page.caption)
        tidy(page.checkbox(key="renewal-meant").check().run())
        press(page, "Begin the next period")
        assert "The next period is charged: Sat 3 January 2026 to Sun 4 January 2026" in page.success[0].value
        press(page, "Close Sat 3 January 2026")
        assert other.status().last == third
        assert len(other.charges()) == 6


def test_a_day_of_others_is_followed_too(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    page = app(settings)
    service.close(FIRST)
    assert tidy(page.run()).date_input(key="day").value == SECOND
    assert "Close Fri 2 January 2026" in [one.label for one in page.button]


def test_what_is_told_of_a_day_is_whole_and_in_order(settings: Settings, service: Service) -> None:
    service.ingest([Operation("late", day_number(FIRST) - 3)])
    page = press(app(settings), "Close Thu 1 January 2026")
    said = page.success[0].value.split(": ", 1)[1].rstrip(".")
    counts = [int(part.split()[1].replace(",", "")) for part in said.split(", ")]
    assert 0 <= counts[0] <= counts[1] <= counts[2]


def test_a_day_that_has_not_come_cannot_be_closed_and_the_page_says_so(settings: Settings) -> None:
    today = datetime.now(UTC).date()
    real = msgspec.structs.replace(settings, future_days=False, first_day=today + timedelta(days=3))
    page = app(real)
    (close,) = [one for one in page.button if one.label.startswith("Close ")]
    assert close.disabled
    assert "That day has not come" in texts(page)
    assert page.date_input(key="day").value == today


# --- Reporting and erasing -------------------------------------------------------------------------------------------


def test_activity_is_added_and_retracted_and_late_is_said(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    page = app(settings)
    page.text_input(key="user").set_value(" ada ")
    press(page, "Add")
    assert page.success[0].value == "ada is reported as active on Fri 2 January 2026 (operation 21)."
    assert service.preview(SECOND)["dau"].truth == 1
    page.text_input(key="user").set_value("ada")
    press(page, "Retract")
    assert "ada is no longer reported as active on Fri 2 January 2026" in page.success[0].value
    assert service.preview(SECOND)["dau"].truth == 0
    page.text_input(key="user").set_value("ada")
    page.date_input(key="day").set_value(FIRST)
    press(page, "Add")
    assert "late: it counts from Fri 2 January 2026" in page.success[0].value
    assert service.preview(SECOND)["mau"].truth == len(USERS) + 1
    feed_table = page.dataframe[0].value
    assert list(feed_table["Operation"][:3]) == ["active", "retracted", "active"]
    assert list(feed_table["Late"][:3]) == ["late", "", ""]
    assert not any(user in feed_table.to_string() for user in USERS)


@pytest.mark.parametrize("label", ["Add", "Retract", "Erase all of this user"])
@pytest.mark.parametrize(
    ("user", "said"), [("", "Give a user id."), ("  ", "Give a user id."), ("u" * 600, "at most 512"), ("a\0b", "text")]
)
def test_a_form_is_refused_in_the_words_of_the_page(
    settings: Settings, service: Service, label: str, user: str, said: str
) -> None:
    page = app(msgspec.structs.replace(settings, show_truth=False))
    for key in ("user", "erased"):
        page.text_input(key=key).set_value(user)
    press(page, label)
    (error,) = page.error
    assert said in error.value
    assert not any(word in error.value for word in ("event 0", "user is", "NUL", "nothing was stored"))
    assert service.status().operations == 0


def test_a_day_that_is_missing_or_to_come_is_refused_in_the_words_of_the_page(settings: Settings) -> None:
    real = msgspec.structs.replace(settings, future_days=False, first_day=None)
    page = app(real)
    page.text_input(key="user").set_value("ada")
    page.date_input(key="day").set_value(datetime.now(UTC).date() + timedelta(days=9))
    press(page, "Add")
    assert "has not come: today is" in page.error[0].value
    assert "future_days" not in page.error[0].value
    page.date_input(key="day").set_value(None)
    press(page, "Add")
    assert page.error[0].value == "Give a day."


def test_ids_are_shown_letter_by_letter(settings: Settings, service: Service) -> None:
    page = app(msgspec.structs.replace(settings, show_truth=False))
    page.text_input(key="user").set_value(HOSTILE)
    press(page, "Add")
    page.text_input(key="erased").set_value(HOSTILE)
    said = [page.success[0].value, press(page, "Erase all of this user").success[0].value]
    for text in said:
        assert "\\[a\\]\\(http" in text
        assert ":material/home:" not in text
        assert not any(part in text for part in ("[a](", "*c*", "<b>", "$e$")) or "\\*c\\*" in text
    assert service.status().operations == 2


def test_erasing_a_user_moves_the_truth_by_one(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    page = app(settings)
    page.text_input(key="erased").set_value(USERS[3])
    press(page, "Erase all of this user")
    assert f"{USERS[3].replace('-', chr(92) + '-')} is erased." in page.success[0].value
    assert "counts from Fri 2 January 2026; published days stay" in page.success[0].value
    tidy(page.toggle(key="truth").set_value(True).run())
    assert texts(page).count("Truth: **20** — NOT PRIVATE") == 3
    assert "Closing Fri 2 January 2026 now would count DAU 0, WAU 19, MAU 19 — NOT PRIVATE" in texts(page)
    press(page, "Close Fri 2 January 2026")
    assert "Truth: **19** — NOT PRIVATE" in texts(page)
    assert [count.truth for count in service.truth("mau").counts] == [20, 19]


def test_the_user_of_a_picked_row_is_erased(settings: Settings, service: Service) -> None:
    service.ingest(
        [Operation("bob", day_number(FIRST)), *[Operation("ann", day_number(FIRST) + day) for day in (0, 1)]]
    )
    page = app(settings)
    picked = service.recent()[0]
    page.session_state[PICKED] = picked
    # What arrives meanwhile does not change whom the button is about.
    service.ingest([Operation("eve", day_number(FIRST))])
    tidy(page.run())
    label = f"Erase all of user {picked.who} (operation 3)"
    press(page, label)
    service.settled()
    assert page.success[0].value.startswith(f"User {picked.who} is erased.")
    assert service.preview(FIRST)["mau"].truth == 2
    assert label not in [one.label for one in page.button]
    page.session_state[PICKED] = picked
    tidy(page.run())
    press(page, label)
    assert "names nobody" in page.error[0].value
    page.session_state[PICKED] = service.recent()[0]
    assert "is an erasure, which names nobody" in texts(tidy(page.run()))


def test_the_truth_is_shown_in_demonstrations_only(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    page = app(msgspec.structs.replace(settings, show_truth=False))
    assert not page.toggle
    page.session_state["truth"] = True
    page.session_state["play"] = True
    assert "Truth" not in texts(tidy(page.run()))


# --- Budget and ledger -----------------------------------------------------------------------------------------------


def test_a_budget_that_never_sufficed_is_called_too_small(settings: Settings, service: Service) -> None:
    page = app(msgspec.structs.replace(settings, budget_epsilon=0.2, show_truth=False))
    press(page, "Close Thu 1 January 2026")
    said = page.error[0].value
    for part in ("is too small, so nothing was released", "Asked: ε 1.2", "of 0.2", "raise budget_epsilon"):
        assert part in said
    assert "exhausted" not in said
    assert "1e-" not in said
    assert service.status().last is None


def test_fresh_releases_are_charged_until_the_budget_is_exhausted(settings: Settings, service: Service) -> None:
    small = msgspec.structs.replace(settings, budget_epsilon=1.75)
    with open_service(small, lambda: datetime.now(UTC)) as owner:
        feed(owner, FIRST)
        owner.close(FIRST)
    page = app(small)
    assert "| MAU | **1** | 0.5 | **1** | 0.5 |" in texts(page)
    assert "| all three | **0** | 1.2 | **0** | 1.2 |" in texts(page)
    page.selectbox(key="fresh-metric").set_value("mau")
    press(page, "Fresh release")
    assert page.success[0].value.startswith("Fresh MAU of Thu 1 January 2026: ")
    assert "It cost ε 0.5." in page.success[0].value
    assert "| MAU | **0** | 0.5 | **0** | 0.5 |" in texts(page)
    assert len(service.charges()) == 4
    assert is_fresh(service.charges()[-1])
    page.selectbox(key="fresh-metric").set_value("mau")
    press(page, "Fresh release")
    said = page.error[0].value
    for part in ("is exhausted", "nothing charged", "Asked: ε 0.5", "Spent: ε 1.7 of 1.75", "Left: ε 0.05"):
        assert part in said
    assert len(service.charges()) == 4


def test_as_many_fresh_releases_fit_as_the_page_says(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    (budget,) = service.budgets()
    assert "| DAU | **6** | 0.3 | **6** | 0.3 |" in releases_left(settings, [budget])
    for number in range(6):
        service.fresh("dau", FIRST, f"request-{number}")
    assert "| DAU | **0** | 0.3 | **0** | 0.3 |" in releases_left(settings, service.budgets())


@pytest.mark.parametrize(
    ("left", "cost", "times"),
    [
        ((0.3, 1e-5), (0.1, 1e-6), 3),
        ((1.0, 1e-6), (0.1, 1e-6), 1),
        ((1.0, 0.0), (0.1, 0.0), 10),
        ((0.0, 1e-5), (0.1, 1e-6), 0),
        ((1.0, 0.0), (0.1, 1e-9), 0),
        ((0.1 + 0.2, 1.0), (0.1, 0.0), 3),
    ],
)
def test_charges_fit_in_the_whole_units_of_the_ledger(
    left: tuple[float, float], cost: tuple[float, float], times: int
) -> None:
    assert how_often(Guarantee(*left), Guarantee(*cost)) == times


def test_a_budget_that_the_series_do_not_fit_refuses_the_close(settings: Settings, service: Service) -> None:
    page = app(msgspec.structs.replace(settings, budget_epsilon=1.0, show_truth=False))
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
    read = list(csv.DictReader(table_csv(rows).splitlines()))
    assert [float(row["epsilon"]) for row in read] == [0.4, 0.5, 0.4, 0.3]
    assert [float(row["delta"]) for row in read] == [1e-6] * 4
    page = app(settings)
    assert list(page.dataframe[0].value["for"]) == [row["for"] for row in rows]
    assert list(page.dataframe[0].value["delta"]) == ["10⁻⁶"] * 4
    assert "ε **1.6** of 3 spent, **1.4** left" in texts(page)
    assert [one.label for one in page.get("download_button")] == ["Download as CSV"]


def test_questions_are_in_the_ledger_and_in_what_still_fits(tmp_path: Path) -> None:
    asked = {"week": QuestionSettings(epsilon=0.5), "mau/flows": QuestionSettings(epsilon=0.25)}
    settings = msgspec.structs.replace(settings_of(tmp_path), questions=asked)
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        feed(service, FIRST)
        page = press(app(settings), "Close Thu 1 January 2026")
        charges, budgets = service.charges(), service.budgets()
    assert [row["for"] for row in ledger_rows(charges)[:2]] == [
        "week series, 365 days from 2026-01-01", "MAU/flows series, 365 days from 2026-01-01",
    ]  # fmt: skip
    assert not any(is_fresh(charge) for charge in charges)
    assert "Thu 1 January 2026 is closed and published: DAU " in page.success[0].value
    lines = releases_left(settings, budgets).splitlines()
    assert lines[-3:] == [
        "| MAU / flows | – | – | **4** | 0.25 |",
        "| week | – | – | **2** | 0.5 |",
        "| all | **0** | 1.2 | **0** | 1.95 |",
    ]


# --- Segments --------------------------------------------------------------------------------------------------------


def test_an_event_may_name_segments(tmp_path: Path) -> None:
    by = {
        "platform": BreakdownSettings(kind="last", values=("ios", "web")),
        "*odd*": BreakdownSettings(kind="last", values=("a", "b")),
    }
    asked = {"dau/platform": QuestionSettings(epsilon=0.1), "dau/*odd*": QuestionSettings(epsilon=0.1)}
    settings = msgspec.structs.replace(settings_of(tmp_path), by=by, questions=asked, show_truth=False)
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        page = app(settings)
        assert page.selectbox(key="segment-platform").options == ["ios", "web", "other"]
        page.text_input(key="user").set_value("ada")
        page.selectbox(key="segment-platform").set_value("web")
        page = press(page, "Add")
        assert "ada is reported as active (platform: web) on Thu 1 January 2026" in page.success[0].value
        page.selectbox(key="segment-platform").set_value("other")
        press(page, "Add")
        press(page, "Retract")
        assert "ada is no longer reported as active (platform: other)" in page.success[0].value
        service.close(FIRST)
        with service.access.reading() as store:
            stored = store.answers("dau/platform", day_number(FIRST), None)
    assert [list(map(int, counts)) for counts in stored] == [[0, 1, 0]]


def test_without_segments_in_the_settings_there_is_no_field(settings: Settings, service: Service) -> None:
    assert not [one for one in app(settings).selectbox if (one.key or "").startswith("segment-")]


# --- The demonstration -----------------------------------------------------------------------------------------------


def test_in_a_demonstration_a_close_feeds_the_day_first(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_demonstration(monkeypatch, {FIRST: USERS, SECOND: USERS[:5]})
    page = press(app(settings), "Close Thu 1 January 2026")
    service.ingest([Operation("somebody new", day_number(SECOND))])
    press(page, "Close Fri 2 January 2026")
    assert [count.truth for count in service.truth("dau").counts] == [20, 6]
    # After its end there is nothing to feed, and the day closes all the same.
    press(page, "Close Sat 3 January 2026")
    assert [count.truth for count in service.truth("dau").counts] == [20, 6, 0]


def test_only_a_demonstration_is_fed(settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    small_demonstration(monkeypatch, {FIRST: USERS})
    for other in ({"show_truth": False}, {"future_days": False}, {"first_day": FIRST + timedelta(days=1)}):
        assert not demo.plays(
            Service(msgspec.structs.replace(settings, **other), service._clock, service._writer._store)
        )
    assert demo.plays(service)
    service.ingest([Operation("a real user", day_number(FIRST))])
    assert not demo.plays(service)
    page = press(app(settings), "Close Thu 1 January 2026")
    assert [count.truth for count in service.truth("dau").counts] == [1]
    assert [one.key for one in page.text_input] == ["user", "erased"]


def test_users_of_a_demonstration_can_be_picked_and_others_written(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_demonstration(monkeypatch, {FIRST: USERS})
    page = press(app(settings), "Close Thu 1 January 2026")
    offered = page.selectbox(key="erased").options
    assert offered
    assert set(offered) <= set(USERS)
    page.selectbox(key="erased").set_value(offered[0])
    press(page, "Erase all of this user")
    assert f"{offered[0].replace('-', chr(92) + '-')} is erased." in page.success[0].value
    assert page.selectbox(key="user").proto.accept_new_options


def test_users_that_are_offered_are_active_and_take_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    day = day_number(FIRST)
    arrived = [
        Operation("early", day - 1, ADD), Operation("gone", day, ADD), Operation("gone", day, RETRACT),
        Operation("here", day, ADD), Operation("here", day, ADD), Operation("too", day, ADD),
    ]  # fmt: skip
    monkeypatch.setattr(demo, "operations_of", lambda asked: arrived if asked == FIRST else [])
    assert demo.users_active(FIRST, 5) == ["here", "too"]
    assert demo.users_active(FIRST, 1) == ["here"]
    assert demo.users_active(SECOND, 5) == []


def test_auto_play_feeds_and_closes_days_until_the_end(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_demonstration(monkeypatch, {FIRST: USERS, SECOND: USERS[:5]})
    page = app(settings)
    tidy(page.toggle(key="play").set_value(True).run())
    for _ in range(3):
        tidy(page.run())
    assert [count.truth for count in service.truth("dau").counts] == [20, 5]
    assert "no operations for Sat 3 January 2026" in page.warning[0].value
    assert page.toggle(key="play").value is False
    tidy(page.run())
    assert service.status().last == SECOND


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


def test_a_real_store_cannot_be_played_with(settings: Settings, service: Service) -> None:
    assert settings.show_truth
    service.ingest([Operation("a real user", day_number(FIRST))])
    page = app(settings)
    assert [toggle.label for toggle in page.toggle if "Auto-play" in toggle.label] == []
