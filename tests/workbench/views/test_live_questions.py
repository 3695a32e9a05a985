"""Flows, weeks and segments on the page *Live*: numbers of all questions agree, and each kind has its charts."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from dp.names import FLOWS
from dp.presence.daily import day_number
from tests.workbench.pages import FIRST, feed, opened_page, settings_of, texts, tidy
from tests.workbench.views.questions import ASKING, asked_plans, published_answers, published_rows
from workbench.rows import TableRow
from workbench.service import ADD, Operation, Service, Settings, open_service
from workbench.service.question_settings import BreakdownSettings, QuestionSettings
from workbench.views.bundle import table_csv
from workbench.views.jobs.job import Job, Tables
from workbench.views.live.agreed import adds_up, agreed_numbers, plan_of
from workbench.views.live.asked import IN_ALL, answers_numbers, asked_questions
from workbench.views.live.chart import FEW_DAYS
from workbench.views.live.page import reading_of
from workbench.views.live.published import APART, READING, READING_TOGETHER
from workbench.views.live.question_chart import (
    MOST_MULTIPLES,
    MOST_STACKED,
    asked_question,
    largest,
    question_pictures,
    question_rows,
    stacked_picture,
)
from workbench.views.live.reading import PublishedSeries, published_series, shown_counts
from workbench.views.live.research import LiveQuestion, answer_live, live_charts, live_inputs, live_tables
from workbench.views.live.table import ALL_DAYS, EACH_DAY, AnswerRow, PublishedRow, counts_table, read_rows

slow = pytest.mark.slow
pytestmark = pytest.mark.usefixtures("nothing_stays_open")

NAMES = sorted(ASKING.questions)


def tables_of(days: int = 20, noise: float = 0.0, **question: Any) -> Tables:
    asked = LiveQuestion(**{"metric": "mau", "question": "mau/platform", **question})
    return live_tables(asked, published_rows(days, noise), published_answers(days, noise), asked_plans())


def counts_of(tables: Tables) -> dict[tuple[str, str | None, str | None, str], int]:
    """Question, breakdown, segment and day → the count that is shown."""
    metrics = {(row["metric"], None, None, row["day"]): row["count"] for row in tables["counts"]}
    others = {(row["question"], row["breakdown"], row["segment"], row["day"]): row["count"] for row in tables["agreed"]}
    return metrics | others


# --- Numbers that agree ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 60.0, 600.0])
def test_all_questions_together_add_up_day_by_day(noise: float) -> None:
    counts = counts_of(tables_of(noise=noise))
    days = sorted({day for _, _, _, day in counts})
    assert min(counts.values()) >= 0
    before: dict[str | None, int] = {}
    for day in days:
        assert counts["dau", None, None, day] <= counts["wau", None, None, day] <= counts["mau", None, None, day]
        parts = {segment: counts["mau", "platform", segment, day] for segment in ("ios", "web", "other")}
        assert sum(parts.values()) == counts["mau", None, None, day]
        for segment, count in {None: counts["mau", None, None, day], **parts}.items():
            by = None if segment is None else "platform"
            new, returning, gone = (counts[f"mau/{flow}", by, segment, day] for flow in FLOWS)
            assert new + returning - gone == count - before.get(segment, 0)
            before[segment] = count
        if ("week", None, None, day) in counts:
            weekly = [counts["week", "platform", segment, day] for segment in parts]
            assert sum(weekly) == counts["week", None, None, day]


def test_what_is_shown_of_a_day_does_not_change_with_the_days_after_it() -> None:
    whole = counts_of(tables_of(20, 60.0))
    rows = [row for row in published_rows(20, 60.0) if row.day <= "2026-01-12"]
    answers = [row for row in published_answers(20, 60.0) if row.day <= "2026-01-12"]
    earlier = live_tables(LiveQuestion(metric="mau", question="week"), rows, answers, asked_plans())
    assert counts_of(earlier) == {key: count for key, count in whole.items() if key[-1] <= "2026-01-12"}


@pytest.mark.parametrize("band", [EACH_DAY, ALL_DAYS])
def test_intervals_hold_what_is_shown(band: str) -> None:
    tables = tables_of(noise=60.0, band=band)
    for row in (*tables["counts"], *tables["agreed"]):
        assert all(isinstance(row[name], int) for name in ("count", "low", "high"))
        assert 0 <= row["low"] <= row["count"] <= row["high"]
    if band == ALL_DAYS:
        for row, published in zip(tables["agreed"], published_answers(20, 60.0), strict=True):
            assert published.band_low is not None
            assert published.band_high is not None
            assert row["low"] <= max(0, math.ceil(published.band_low))
            assert row["high"] >= math.floor(published.band_high)
            assert row["estimate"] == published.estimate


def test_agreement_narrows_and_keeps_the_published_estimates() -> None:
    tables = tables_of()
    alone = counts_table(published_rows(20), EACH_DAY)
    assert [row["estimate"] for row in tables["counts"]] == [row["estimate"] for row in alone]
    for row in tables["counts"]:
        before = (date.fromisoformat(row["day"]) - timedelta(days=7)).isoformat()
        found = [one["count"] for one in tables["counts"] if (one["metric"], one["day"]) == (row["metric"], before)]
        assert row["week_before"] == (found[0] if found else None)


def test_a_question_that_tells_next_to_nothing_leaves_the_metrics_as_they_are() -> None:
    vague = msgspec.structs.replace(ASKING, questions={"mau/platform": QuestionSettings(epsilon=0.001)})
    question = LiveQuestion(metric="mau", question="mau/platform")
    tables = live_tables(question, published_rows(20), published_answers(20, settings=vague), asked_plans(vague))
    alone = counts_table(published_rows(20), EACH_DAY)
    for row, other in zip(tables["counts"], alone, strict=True):
        assert abs(row["count"] - other["count"]) <= 1


@slow
def test_metrics_whose_error_depends_on_the_data_stay_as_they_are() -> None:
    sparse = msgspec.structs.replace(ASKING.mau, mechanism="sparse-vector", epsilon=2.0, delta=0.0)
    settings = msgspec.structs.replace(ASKING, mau=sparse)
    question = LiveQuestion(metric="mau", question="mau/platform")
    rows = published_rows(20, 60.0)
    tables = live_tables(question, rows, published_answers(20, 60.0), asked_plans(settings))
    names = ("count", "low", "high", "week_before")
    alone = counts_table(rows, EACH_DAY)
    assert [[row[name] for name in names] for row in tables["counts"]] == [
        [row[name] for name in names] for row in alone
    ]
    assert reading_of(tables) == f"{READING} {APART}"
    assert reading_of(tables_of()) == READING_TOGETHER
    assert len(tables["agreed"]) == len(published_answers(20))


def test_laplace_noise_keeps_the_published_intervals() -> None:
    questions = {"week": QuestionSettings(epsilon=0.5, delta=0.0, mechanism="laplace")}
    settings = msgspec.structs.replace(ASKING, questions=questions)
    answers = published_answers(20, settings=settings)
    numbers = agreed_numbers(asked_plans(settings), [*published_rows(20), *answers], EACH_DAY)
    for row in answers:
        found = numbers[row.series, row.day]
        assert (found["low"], found["high"]) == (math.ceil(row.ci_low), math.floor(row.ci_high))


@slow
def test_each_period_begins_with_an_empty_window() -> None:
    later = FIRST + timedelta(days=10)
    plans = [*asked_plans(), *asked_plans_from(later)]
    tables = live_tables(
        LiveQuestion(metric="mau", question="mau/flows"), published_rows(20, 30.0), published_answers(20, 30.0), plans
    )
    counts = counts_of(tables)
    new, returning, gone = (counts[f"mau/{flow}", None, None, later.isoformat()] for flow in FLOWS)
    assert new + returning - gone == counts["mau", None, None, later.isoformat()]


def asked_plans_from(first: date) -> list[TableRow]:
    return [
        {**row, "specification": row["specification"].replace(FIRST.isoformat(), first.isoformat())}
        for row in asked_plans()
    ]


# --- Charts ----------------------------------------------------------------------------------------------------------


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize(
    ("name", "multiples", "pictures"),
    [
        ("mau/flows", False, ["question"]),
        ("week", False, ["question"]),
        ("mau/platform", False, ["question"]),
        ("mau/platform", True, ["segment-1", "segment-2", "segment-3"]),
        ("week/platform", False, ["question"]),
        # A user may be in several countries, and who changes the platform is gone from one and new in another.
        ("mau/country", False, ["segment-1", "segment-2", "segment-3"]),
        ("mau/flows/platform", False, ["segment-1", "segment-2", "segment-3"]),
    ],
)
def test_every_kind_of_question_has_its_pictures(name: str, multiples: bool, pictures: list[str]) -> None:
    question = LiveQuestion(metric="mau", question=name, multiples=multiples)
    tables = tables_of(question=name, multiples=multiples)
    found = question_pictures(question, tables)
    assert list(found) == pictures
    shown = sum(len(one.data) for one in found.values())
    assert shown == len(question_rows(asked_question(question, tables), tables))


def test_segments_are_stacked_to_the_total() -> None:
    tables = tables_of(noise=60.0)
    data = question_pictures(LiveQuestion(metric="mau", question="mau/platform"), tables)["question"].data
    total = {row["day"]: row["count"] for row in tables["counts"] if row["metric"] == "mau"}
    for day, own in data.groupby("day"):
        own = own.sort_values("bottom")
        assert list(own["bottom"]) == [0, *list(own["top"])[:-1]]
        assert list(own["top"])[-1] == total[f"{day:%Y-%m-%d}"] == own["total"].iloc[0]


def test_flows_are_bars_on_both_sides_of_zero_and_the_days_in_which_a_window_fills_are_left_out() -> None:
    question = LiveQuestion(metric="mau", question="mau/flows")
    few = question_pictures(question, tables_of(20, 30.0, question="mau/flows"))["question"].data
    assert few["day"].nunique() == 20
    data = question_pictures(question, tables_of(60, 30.0, question="mau/flows"))["question"].data
    assert data["day"].min().date() == FIRST + timedelta(days=30)
    for _, own in data.groupby("day"):
        parts = own.set_index("part")
        assert parts.loc["new", "bottom"] == 0
        assert parts.loc["returning", "bottom"] == parts.loc["new", "top"]
        assert parts.loc["gone", "top"] == 0
        assert parts.loc["gone", "bottom"] == -parts.loc["gone", "count"]
        assert parts["total"].nunique() == 1
        assert parts["total"].iloc[0] == parts.loc["returning", "top"] + parts.loc["gone", "bottom"]


def test_many_segments_are_put_together_and_only_the_largest_drawn() -> None:
    values = tuple(f"v{number:02}" for number in range(20))
    by = {"platform": BreakdownSettings(kind="last", values=values)}
    many = msgspec.structs.replace(ASKING, by=by, questions={"mau/platform": QuestionSettings(epsilon=0.5)})
    question = LiveQuestion(metric="mau", question="mau/platform")
    tables = live_tables(question, published_rows(5), published_answers(5, settings=many), asked_plans(many))
    rows = question_rows(asked_question(question, tables), tables)
    data = stacked_picture(asked_question(question, tables), rows, "95% interval").data
    assert data["part"].nunique() == MOST_STACKED
    total = {row["day"]: row["count"] for row in tables["counts"] if row["metric"] == "mau"}
    assert {f"{day:%Y-%m-%d}": count for day, count in data.groupby("day")["count"].sum().items()} == total
    assert set(data.loc[data["part"] == "14 others", "interval"]) == {"no interval"}
    single = question_pictures(msgspec.structs.replace(question, multiples=True), tables)
    assert len(single) == MOST_MULTIPLES
    last = {row["segment"]: row["count"] for row in rows}
    drawn = largest(rows, MOST_MULTIPLES)
    assert min(last[segment] for segment in drawn) >= max(last[segment] for segment in set(last) - set(drawn))


@slow
@pytest.mark.parametrize("days", [1, FEW_DAYS + 1])
@pytest.mark.parametrize("name", NAMES)
def test_charts_with_and_without_data_are_the_same_and_say_what_they_show(name: str, days: int) -> None:
    # The first week is over on the fourth day.
    days = max(days, 4) if name.startswith("week") else days
    question = LiveQuestion(metric="mau", question=name)
    tables = tables_of(days, question=name)
    pictures = question_pictures(question, tables)
    drawn = live_charts(question, tables)
    assert set(pictures) <= set(drawn)
    for key, picture in pictures.items():
        whole, without = drawn[key].to_dict(), picture.specification
        assert [layer["mark"] for layer in whole["layer"]] == [layer["mark"] for layer in without["layer"]]
        assert len(next(iter(whole["datasets"].values()))) == len(picture.data)
        said = set(strings(without))
        assert {"Published estimate [users]", "95% interval, each day by itself [users]"} <= said
        assert any(text.endswith("[users]") or text in ("users", "users a day") for text in said)


# --- The zip ---------------------------------------------------------------------------------------------------------


def test_the_files_of_the_zip_give_the_same_tables(tmp_path: Any) -> None:
    question = LiveQuestion(metric="mau", question="week/platform")
    rows, answers = published_rows(20, 60.0), published_answers(20, 60.0)
    tables = live_tables(question, rows, answers, asked_plans())
    for name in live_inputs(question):
        (tmp_path / name).write_text(table_csv(tables[name.removesuffix(".csv")]), encoding="utf-8")
    job = Job(tmp_path, tmp_path, lambda stage, fraction, tables: None)
    assert answer_live(question, job) == json.loads(json.dumps(tables))
    assert read_rows(table_csv(tables["answers"]), AnswerRow) == answers


def test_without_other_questions_the_zip_is_as_before() -> None:
    question = LiveQuestion(metric="mau")
    assert live_inputs(question) == ("published.csv",)
    tables = live_tables(question, published_rows(5))
    assert set(tables) == {"published", "counts", "stickiness"}
    assert tables["counts"] == counts_table(published_rows(5), EACH_DAY)
    assert question_pictures(question, tables) == {}


@pytest.mark.parametrize("name", ["mau/nothing", "mau", "weeks"])
def test_a_question_that_is_not_published_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"question is '{name}'; the plans have mau/country"):
        tables_of(question=name)


# --- A service and its page ------------------------------------------------------------------------------------------


@pytest.fixture
def asking(tmp_path: Any) -> Iterator[tuple[Settings, Service]]:
    """A service that publishes flows, platforms and weeks, and what it is set to."""
    settings = msgspec.structs.replace(
        settings_of(tmp_path), by=ASKING.by, questions=ASKING.questions, budget_epsilon=9.0
    )
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        yield settings, service


def close_days(service: Service, number: int) -> None:
    codes = service.settings.codes
    for index, place in zip(range(number), itertools.cycle(("ios", "web", "vr"))):
        day, label = FIRST + timedelta(days=index), codes.code_of({"platform": place, "country": "GB"})
        users = [f"user-{user}" for user in range(60 + 5 * index)]
        service.ingest([Operation(user, day_number(day), ADD, label=label) for user in users])
        service.close(day)


@slow
def test_the_page_shows_the_question_that_is_chosen_and_linked_to(asking: tuple[Settings, Service]) -> None:
    settings, service = asking
    close_days(service, 12)
    page = opened_page(settings, "live")
    assert [one.value for one in page.header][:1] == ["Segments, flows, weeks and months"]
    assert page.selectbox(key="question").options == ["MAU", "MAU flows", "Weeks"]
    assert page.selectbox(key="by").options == ["country", "platform"]
    assert page.toggle(key="multiples").disabled
    published = published_series(service)
    table = shown_counts(published, EACH_DAY)
    last = {row["metric"]: row["count"] for row in table if row["day"] == "2026-01-12"}
    assert [one.value for one in page.metric] == [f"{last[metric]:,}" for metric in ("mau", "dau", "wau")]
    tidy(page.selectbox(key="by").set_value("platform").run())
    assert not page.toggle(key="multiples").disabled
    numbers = agreed_numbers(published.plans, [*published.rows, *published.answers], EACH_DAY)
    parts = {segment: numbers[f"mau/platform={segment}", "2026-01-12"]["count"] for segment in ("ios", "web", "other")}
    assert sum(parts.values()) == last["mau"]
    said = " · ".join(f"{segment} **{count:,}**" for segment, count in parts.items())
    assert f"Mon 12 January 2026: {said}" in texts(page)
    frame = next(one.value for one in page.dataframe if "Segment" in one.value)
    assert list(frame.head(3)["Segment"]) == ["ios", "web", "other"]
    assert list(frame.head(3)["Count"]) == list(parts.values())
    for row in published.answers:
        if row.day == "2026-01-12" and row.breakdown == "platform" and row.question == "mau":
            shown = frame[(frame["Segment"] == row.segment)].iloc[0]
            assert shown["Published estimate"] == round(row.estimate, 1)
    tidy(page.selectbox(key="question").set_value("week").run())
    assert page.selectbox(key="by").options == [IN_ALL, "platform"]
    # Both are questions of a week; one breakdown stays chosen where it can.
    tidy(page.selectbox(key="by").set_value(IN_ALL).run())
    assert "Week to Sun 11 January 2026: **" in texts(page)
    linked = opened_page(settings, "live", question="MAU flows", by="platform")
    assert linked.selectbox(key="question").value == "mau/flows"
    assert "A user who changes the segment is gone from one and new in another." in texts(linked)
    assert opened_page(settings, "live", question="nothing", by="else").selectbox(key="question").value == "mau"
    assert "MAU/platform by damped-square-root, ε 0.5" in texts(linked)


@slow
def test_a_service_that_publishes_nothing_else_shows_nothing_else(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    page = opened_page(settings, "live", question="MAU flows", by="platform")
    assert not [one for one in page.header if "Segments" in one.value]
    assert not [one for one in page.selectbox if one.key in ("question", "by")]
    assert "the nearest whole numbers with 0 ≤ DAU ≤ WAU ≤ MAU" in texts(page)


@slow
def test_questions_of_which_no_cell_is_over_are_not_offered(tmp_path: Any) -> None:
    settings = msgspec.structs.replace(settings_of(tmp_path), questions={"month": QuestionSettings(epsilon=0.5)})
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        feed(service, FIRST)
        service.close(FIRST)
        assert asked_questions(published_series(service)) == {}
        page = opened_page(settings, "live")
    assert not [one for one in page.selectbox if one.key == "question"]
    assert len(page.metric) == 3


def test_segments_of_users_who_are_frozen_do_not_add_up() -> None:
    (row,) = [row for row in asked_plans() if row["name"] == "mau/platform"]
    assert adds_up(plan_of(row))
    frozen = {**row, "specification": row["specification"].replace('"user-day"', '"user"')}
    assert not adds_up(plan_of(frozen))


def test_the_table_of_a_question_has_its_columns() -> None:
    tables = tables_of()
    names = {
        "week": ["Day", "Count", "Interval", "Published estimate"],
        "mau/flows/platform": ["Day", "Users", "Segment", "Count", "Interval", "Published estimate"],
    }
    for name, columns in names.items():
        rows = question_rows(ASKING.asked[name], tables)
        table = answers_numbers(rows)
        assert list(table) == columns
        assert len(table) == len(rows)
        assert table["Day"].is_monotonic_decreasing


def test_what_is_read_is_all_that_is_published() -> None:
    series = PublishedSeries(published_rows(9), {}, published_answers(9), asked_plans())
    assert list(asked_questions(series)) == [
        "mau/country", "mau/platform", "mau/flows", "mau/flows/platform", "week", "week/platform",
    ]  # fmt: skip
    assert isinstance(series.rows[0], PublishedRow)
