"""The page *Live*: published numbers alone, whole and in order, with intervals that stay honest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from dp.intervals.binomial import at_most
from experiments.engine.numbers import signed
from tests.laws import each
from tests.workbench.pages import FIRST, feed, opened_page, press, texts, tidy
from tests.workbench.views.questions import published_rows
from workbench.service import Refused, Service, Settings, open_service
from workbench.views.bundle import table_csv
from workbench.views.live.chart import (
    FEW_DAYS,
    counts_picture,
    interval_words,
    live_pictures,
    series_chart,
)
from workbench.views.live.published import interval_sentence, numbers_table, stickiness_sentence, week_sentence
from workbench.views.live.reading import published_series
from workbench.views.live.research import LiveQuestion, live_charts, live_tables
from workbench.views.live.table import (
    ALL_DAYS,
    EACH_DAY,
    PublishedRow,
    counts_table,
    read_rows,
    stickiness_table,
)
from workbench.views.start import interface_address
from workbench.views.watch import look_in_public

slow = pytest.mark.slow
pytestmark = pytest.mark.usefixtures("nothing_stays_open")


def published(service: Service) -> list[PublishedRow]:
    rows = [json.loads(row) for metric in service.settings.series for row in service.releases(metric)]
    return msgspec.convert(rows, list[PublishedRow])


# --- Whole counts in order -------------------------------------------------------------------------------------------


def test_counts_are_whole_not_negative_in_order_and_each_day_for_itself() -> None:
    rows = published_rows(40, noise=300.0)
    table = counts_table(rows, EACH_DAY)
    counts = {(row["metric"], row["day"]): row for row in table}
    for row in rows:
        dau, wau, mau = (counts[metric, row.day]["count"] for metric in ("dau", "wau", "mau"))
        assert 0 <= dau <= wau <= mau
        shown = counts[row.metric, row.day]
        assert all(isinstance(shown[name], int) for name in ("count", "low", "high"))
        assert shown["low"] <= shown["count"] <= shown["high"]
        # Every whole number ≥ 0 of the published interval is in the one that is shown.
        assert shown["low"] <= max(0, math.ceil(row.ci_low))
        assert shown["high"] >= math.floor(row.ci_high)
        assert shown["estimate"] == row.estimate
    assert any(row.estimate < 0 for row in rows)
    # What is shown of a day does not change with the days after it.
    earlier = [row for row in rows if row.day < "2026-01-21"]
    assert counts_table(earlier, EACH_DAY) == [row for row in table if row["day"] < "2026-01-21"]
    assert table == counts_table(list(reversed(rows)), EACH_DAY)


def test_counts_that_agree_already_are_the_estimates_rounded() -> None:
    rows = published_rows(20)
    by_place = {(row.metric, row.day): row for row in rows}
    for row in counts_table(rows, EACH_DAY):
        assert row["count"] == math.floor(by_place[row["metric"], row["day"]].estimate + 0.5)


def test_a_week_before_is_seven_days_before() -> None:
    table = counts_table(published_rows(12), EACH_DAY)
    counts = {(row["metric"], row["day"]): row["count"] for row in table}
    for row in table:
        before = (date.fromisoformat(row["day"]) - timedelta(days=7)).isoformat()
        assert row["week_before"] == counts.get((row["metric"], before))


def test_a_day_without_interval_or_deviation_keeps_the_order() -> None:
    rows = [
        msgspec.structs.replace(row, std=None, ci_low=None, ci_high=None, estimate=row.estimate + 5_000.0)
        if row.metric == "dau" and row.day == "2026-01-02" else row
        for row in published_rows(3)
    ]  # fmt: skip
    table = {(row["metric"], row["day"]): row for row in counts_table(rows, EACH_DAY)}
    second = [table[metric, "2026-01-02"] for metric in ("dau", "wau", "mau")]
    assert (second[0]["low"], second[0]["high"]) == (None, None)
    assert [row["count"] for row in second] == sorted(row["count"] for row in second)
    assert all(row["low"] is not None for row in second[1:])
    assert interval_words(second[0]) == "no interval"
    assert interval_sentence(second[0], 0.95).startswith("No interval today")
    assert stickiness_table(rows, EACH_DAY)[1]["ratio"] is None


def test_days_that_not_every_metric_has_yet_are_left_out() -> None:
    rows = [row for row in published_rows(5) if (row.metric, row.day) != ("mau", "2026-01-05")]
    assert {row["day"] for row in counts_table(rows, EACH_DAY)} == {f"2026-01-0{day}" for day in range(1, 5)}
    assert counts_table([], EACH_DAY) == stickiness_table([], EACH_DAY) == []


def test_all_days_at_once_are_held_by_wider_intervals_and_the_same_counts() -> None:
    rows = published_rows(20)
    each, every = (counts_table(rows, band) for band in (EACH_DAY, ALL_DAYS))
    assert [row["count"] for row in each] == [row["count"] for row in every]
    assert all(wide["low"] <= row["low"] and row["high"] <= wide["high"] for row, wide in zip(each, every, strict=True))
    assert sum(wide["high"] - wide["low"] for wide in every) > 1.3 * sum(row["high"] - row["low"] for row in each)


def test_sentences_read_numbers() -> None:
    row: dict[str, Any] = {"count": 1007, "low": 992, "high": 1023}
    assert interval_sentence(row, 0.95) == "± 16 · 95% interval 992 to 1,023"
    assert week_sentence(row, {"count": 1020, "low": 1_000, "high": 1_040}) == (
        "−13 to a week before · noise alone may be the reason"
    )
    assert week_sentence(row, {"count": 10, "low": 0, "high": 25}) == (
        "+997 to a week before · more than noise alone would do"
    )
    assert week_sentence({**row, "low": None}, row) == "0 to a week before"


# --- Stickiness ------------------------------------------------------------------------------------------------------


def pair(dau: float, mau: float, **changes: Any) -> list[PublishedRow]:
    rows = published_rows(1)
    values = {"dau": dau, "wau": (dau + mau) / 2, "mau": mau}
    return [
        msgspec.structs.replace(
            row, estimate=values[row.metric], ci_low=values[row.metric] - 19.6, ci_high=values[row.metric] + 19.6,
            **changes,
        )
        for row in rows
    ]  # fmt: skip


@pytest.mark.slow
def test_stickiness_holds_the_true_share_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    trials, held, told = 3_000, 0, 0
    for _ in range(trials):
        dau, mau = (count + 10.0 * generator.standard_normal() for count in (30, 60))
        (row,) = stickiness_table(pair(dau, mau), EACH_DAY)
        assert row["level"] == 0.95
        told += row["ratio"] is not None
        held += row["ratio"] is None or row["low"] <= 0.5 <= row["high"]
    assert at_most(held, trials, 1e-4) >= 0.95
    assert told > trials / 2


def test_stickiness_that_says_nothing_is_not_shown() -> None:
    for dau, mau in ((3.0, 15.0), (12.0, -40.0), (0.0, 0.0), (12.0, 20.0)):
        (row,) = stickiness_table(pair(dau, mau), EACH_DAY)
        assert (row["ratio"], row["low"], row["high"]) == (None, None, None)
        assert stickiness_sentence(row, EACH_DAY).startswith("**Not shown for the last day**")
    (row,) = stickiness_table(pair(400.0, 800.0), EACH_DAY)
    assert row["ratio"] == 0.5
    assert "**50.0%** of the users of the month" in stickiness_sentence(row, EACH_DAY)


def test_noise_that_is_not_normal_gives_the_level_that_two_intervals_have_together() -> None:
    (row,) = stickiness_table(pair(400.0, 800.0, mechanism="laplace"), EACH_DAY)
    assert row["level"] == pytest.approx(0.90)
    assert (row["low"], row["high"]) == pytest.approx((380.4 / 819.6, 419.6 / 780.4))


def test_stickiness_is_cut_at_1_only_where_nobody_is_frozen() -> None:
    (free,) = stickiness_table(pair(800.0, 810.0), EACH_DAY)
    (frozen,) = stickiness_table(pair(800.0, 810.0, unit="user", w_bound=8), EACH_DAY)
    assert free["high"] == 1.0
    assert frozen["high"] > 1.0
    assert free["low"] == frozen["low"]


# --- Charts and the zip ----------------------------------------------------------------------------------------------


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def marks(chart: dict[str, Any]) -> list[str]:
    return [layer["mark"]["type"] for layer in chart["layer"]]


@slow
@pytest.mark.parametrize("days", [1, 2, 5, FEW_DAYS, FEW_DAYS + 1, 60])
def test_one_day_is_drawn_and_no_date_twice(days: int) -> None:
    tables = live_tables(LiveQuestion(metric="wau"), published_rows(days))
    pictures = live_pictures(LiveQuestion(metric="wau"), tables)
    assert list(pictures) == ["wau", "dau", "mau", "stickiness"]
    for picture in pictures.values():
        drawn = series_chart(picture.style).to_dict()
        ticks = drawn["layer"][1]["encoding"]["x"]["axis"]["tickCount"]
        # A number of ticks may put some between the days; with at least two days a tick it does not.
        assert ticks["interval"] == "day" if days <= FEW_DAYS else ticks <= days
        assert ("rule" in marks(drawn)) == (days <= FEW_DAYS)
        assert len(picture.data) == days
        assert "opacity" not in drawn["layer"][-1]["encoding"] or days > FEW_DAYS


@slow
def test_the_truth_is_drawn_only_where_it_is_asked_for() -> None:
    rows = [row for row in counts_table(published_rows(1), EACH_DAY) if row["metric"] == "dau"]
    private = counts_picture(rows, "95% interval")
    assert "truth" not in private.data.columns
    assert counts_picture(rows, "95% interval", truth={"2026-01-01": 9}).data["truth"].tolist() == [9]
    without = set(strings(series_chart(private.style).to_dict()))
    assert not any("truth" in text.lower() or "PRIVATE" in text for text in without)
    true = series_chart(counts_picture(rows, "95% interval", truth={}).style).to_dict()
    # One day alone would be a line of no length.
    assert all(layer["mark"]["point"] for layer in true["layer"] if "strokeDash" in layer["mark"])
    shown = set(strings(true))
    assert {"truth", "Truth, NOT PRIVATE", "DAU [users]", "95% interval [users]"} <= shown
    assert {"week_before", "A week before [users]"} <= set(
        strings(series_chart(counts_picture(rows, "x", week=True).style).to_dict())
    )


def test_rows_survive_the_file_in_the_zip() -> None:
    rows = published_rows(3)
    rows[0] = msgspec.structs.replace(rows[0], ci_low=None, ci_high=None, std=None, w_bound=None, horizon=None)
    text = table_csv([msgspec.to_builtins(row) for row in rows])
    assert read_rows(text, PublishedRow) == rows
    assert table_csv([msgspec.to_builtins(row) for row in read_rows(text, PublishedRow)]) == text
    with pytest.raises(ValueError, match="estimate"):
        read_rows(text.replace("estimate", "guess"), PublishedRow)
    with pytest.raises(ValueError, match="window"):
        read_rows(text.replace("dau,1,", "dau,one,"), PublishedRow)


@each(
    ("question", "named"),
    [
        (LiveQuestion(metric="yau"), "yau"),
        (LiveQuestion(metric="dau", band="some days"), "some days"),
        (LiveQuestion(metric="dau", band=ALL_DAYS), "band_low"),
    ],
)
def test_what_the_rows_cannot_answer_is_named(question: LiveQuestion, named: str) -> None:
    rows = [msgspec.structs.replace(row, band_low=None, band_high=None) for row in published_rows(2)]
    with pytest.raises(ValueError, match=named):
        live_tables(question, rows)


@slow
def test_charts_of_the_zip_are_those_of_the_page() -> None:
    question = LiveQuestion(metric="mau", week=True)
    tables = live_tables(question, published_rows(20))
    for name, chart in live_charts(question, tables).items():
        drawn = chart.to_dict()
        picture = live_pictures(question, tables)[name]
        assert marks(drawn) == marks(picture.specification)
        assert [len(rows) for rows in drawn["datasets"].values()] == [20]


def test_the_interface_is_where_the_page_comes_from() -> None:
    assert interface_address("http://127.0.0.1:8131/ui/live") == "http://127.0.0.1:8131"
    assert interface_address("https://numbers.example/dp/ui/operate") == "https://numbers.example/dp"
    assert interface_address("http://localhost:8501/live") is None
    assert interface_address("") is None


# --- The page --------------------------------------------------------------------------------------------------------


@slow
@pytest.mark.parametrize("address", ["live", "operate"])
def test_an_empty_store_says_how_to_begin_and_alone_names_no_port(address: str, settings: Settings) -> None:
    page = opened_page(settings, address)
    assert [one.value for one in page.header if "Nothing is published" in one.value]
    shown = texts(page)
    assert "curl" not in shown
    assert "dpdau serve" in shown
    assert "dpdau load" in shown
    assert not page.error
    assert not page.metric


@slow
def test_the_cards_show_whole_counts_and_the_strip_says_which_comes_first(settings: Settings, service: Service) -> None:
    feed(service, FIRST)
    service.close(FIRST)
    service.close(FIRST + timedelta(days=1))
    page = opened_page(settings, "live")
    table = counts_table(published(service), EACH_DAY)
    last = {row["metric"]: row for row in table if row["day"] == "2026-01-02"}
    before = {row["metric"]: row for row in table if row["day"] == "2026-01-01"}
    assert [one.value for one in page.metric] == [f"{last[metric]['count']:,}" for metric in ("mau", "dau", "wau")]
    assert [one.delta for one in page.metric] == [
        signed(last[metric]["count"] - before[metric]["count"]) for metric in ("mau", "dau", "wau")
    ]
    for row in last.values():
        assert interval_sentence(row, 0.95) in texts(page)
    shown = texts(page)
    assert page.metric[0].label == "**MAU** — users in 30 days"
    assert "(1.2, 3 × 10⁻⁶)-differential privacy" in shown
    assert "WAU (trailing 7 days) by damped-square-root, ε 0.4, δ 10⁻⁶, unit user-day, W_BOUND 2" in shown
    page.session_state["metric"] = "wau"
    assert [one.label[2:5] for one in tidy(page.run()).metric] == ["WAU", "DAU", "MAU"]
    assert page.dataframe[0].value.iloc[0]["DAU"] == last["dau"]["count"]
    assert list(numbers_table({"dau": [row for row in table if row["metric"] == "dau"]})["DAU"]) == [
        last["dau"]["count"], before["dau"]["count"],
    ]  # fmt: skip


@slow
def test_nothing_that_is_not_public_is_on_the_page(settings: Settings, service: Service) -> None:
    feed(service, FIRST, [f"user-{number}" for number in range(137)])
    service.close(FIRST)
    page = opened_page(settings, "live")
    page.session_state["truth"] = True
    page.session_state["play"] = True
    shown = texts(tidy(page.run()))
    assert "137" not in shown
    assert "NOT PRIVATE" not in shown
    assert "operations" not in shown
    assert not [one for one in page.toggle if one.key in ("truth", "play")]
    assert [one.label for one in page.button] == []


@slow
def test_a_page_shows_what_others_did(settings: Settings, service: Service) -> None:
    page = opened_page(settings, "live")
    feed(service, FIRST)
    service.close(FIRST)
    assert len(tidy(page.run()).metric) == 3


@slow
def test_the_band_and_the_week_before_are_chosen_or_linked_to(settings: Settings, service: Service) -> None:
    for index in range(9):
        feed(service, FIRST + timedelta(days=index))
        service.close(FIRST + timedelta(days=index))
    page = opened_page(settings, "live")
    each = interval_sentence(counts_table(published(service), EACH_DAY)[-1], 0.95)
    assert each in texts(page)
    page.button_group(key="band").set_value(ALL_DAYS)
    tidy(page.run())
    assert each not in texts(page)
    assert "Dotted" not in texts(page)
    tidy(page.toggle(key="week").set_value(True).run())
    assert "Dotted: a week before" in texts(page)
    linked = opened_page(settings, "live", band=ALL_DAYS, week="true")
    assert linked.button_group(key="band").value == ALL_DAYS
    assert "Dotted: a week before" in texts(linked)
    assert each not in texts(linked)
    assert opened_page(settings, "live", band="no days").button_group(key="band").value == EACH_DAY


@slow
def test_a_horizon_without_end_has_no_band_and_says_so(settings: Settings) -> None:
    endless = msgspec.structs.replace(
        settings, horizon=None, **{metric: msgspec.structs.replace(one, mechanism="buffered-toeplitz")
        for metric, one in settings.series.items()},
    )  # fmt: skip
    with open_service(endless, lambda: datetime.now(UTC)) as opened:
        feed(opened, FIRST)
        opened.close(FIRST)
    page = opened_page(endless, "live")
    assert "MAU has no interval for all days at once: band needs a horizon" in texts(page)
    assert page.button_group(key="band").disabled


@slow
def test_a_day_that_is_closed_and_not_yet_published_is_seen_when_it_is(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(service, FIRST)
    page = opened_page(settings, "live")
    with monkeypatch.context() as cut:
        cut.setattr(service, "_finish_closes", lambda: None)
        with pytest.raises(Refused):
            service.close(FIRST)
    assert not tidy(page.run()).metric
    before = look_in_public(service)
    service.finish()
    assert look_in_public(service) != before
    assert len(tidy(page.run()).metric) == 3


@slow
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
        last = [row for row in counts_table(published(opened), EACH_DAY) if row["day"] == "2026-01-06"]
    page = opened_page(sparse, "live")
    assert len(page.metric) == 3
    for row in last:
        assert interval_sentence(row, 0.95) in texts(page)
    assert "DAU has no interval for all days at once" in texts(page)
    operating = opened_page(sparse, "operate")
    operating.selectbox(key="fresh-metric").set_value("mau")
    assert "Fresh MAU of" in press(operating, "Fresh release").success[0].value


@slow
def test_the_days_of_all_periods_are_one_series_each_with_the_bands_of_its_own(
    settings: Settings, service: Service
) -> None:
    short = msgspec.structs.replace(settings, horizon=3)
    with open_service(short, lambda: datetime(2026, 6, 1, tzinfo=UTC)) as other:
        feed(other, FIRST)
        other.close_through(FIRST + timedelta(days=2))
    longer = msgspec.structs.replace(settings, horizon=9, budget_epsilon=9.0)
    with open_service(longer, lambda: datetime(2026, 6, 1, tzinfo=UTC)) as other:
        other.renewal.renew(confirmed=True)
        other.close_through(FIRST + timedelta(days=5))
        rows = published_series(other).rows
        page = opened_page(longer, "live")
    series = [row for row in rows if row.metric == "dau"]
    assert [row.day for row in series] == [(FIRST + timedelta(days=index)).isoformat() for index in range(6)]
    assert [row.horizon for row in series] == [3] * 3 + [9] * 3
    widths = [row.band_high - row.band_low for row in series if row.band_high is not None and row.band_low is not None]
    assert len(widths) == 6
    # An interval for all days at once is the wider, the more days there are.
    assert max(widths[:3]) < min(widths[3:])
    assert "2 periods together" in texts(page)
