"""The page *Live*: what is published, and what it promises. It shows nothing that is not public.

The page is drawn as a whole and changes only when something has happened (`workbench.views.watch`).
"""

from __future__ import annotations

import functools

import msgspec
import streamlit as st

from experiments.engine.numbers import power_of_ten
from workbench.rows import TableRow
from workbench.service import Service, Settings
from workbench.service.promise import spelt
from workbench.views.jobs.job import Tables
from workbench.views.live.agreed import metrics_agree, plan_of
from workbench.views.live.asked import asked_questions, choose_question, draw_question
from workbench.views.live.chart import live_pictures
from workbench.views.live.published import (
    APART,
    READING,
    READING_TOGETHER,
    draw_cards,
    draw_series,
    draw_stickiness,
    draw_table,
)
from workbench.views.live.question_chart import question_pictures
from workbench.views.live.reading import PublishedSeries, published_series
from workbench.views.live.research import LiveQuestion, live_tables
from workbench.views.live.table import ALL_DAYS, EACH_DAY, WEEK
from workbench.views.reproduction import draw_reproduce
from workbench.views.standing import spent_words
from workbench.views.start import draw_start
from workbench.views.strip import StripChoice
from workbench.views.text import day_name, literal, with_powers
from workbench.views.watch import keep_watch, look_in_public


def page(service: Service, choice: StripChoice) -> None:
    """Draw the page."""
    look = functools.partial(look_in_public, service)
    seen = look()
    st.title("Live", anchor=False)
    st.caption(f"Last closed day: **{day_name(seen.last)}**" if seen.last else "No day is closed yet")
    published = published_series(service)
    if published.rows:
        _draw_published(published, choice, seen.published)
    else:
        draw_start(service)
    st.caption(settings_sentence(service.settings))
    with st.expander("What is promised", icon=":material/verified_user:"):
        st.markdown(with_powers(service.promise))
        st.markdown(spent_words(service.budgets()))
    keep_watch(look, seen)


def _question(choice: StripChoice, no_band: dict[str, str], days: int) -> LiveQuestion:
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        band = st.segmented_control(
            "Intervals hold for", [EACH_DAY, ALL_DAYS], default=EACH_DAY, required=True, key="band",
            bind="query-params", disabled=bool(no_band),
            help="Each day by itself: every interval may miss with the same small probability, so that a few of many "
            "days are missed. All days at once: with the stated probability none of the horizon's days is missed; "
            "these intervals are wider.",
        )  # fmt: skip
        week = st.toggle("A week before", key="week", bind="query-params", disabled=days <= WEEK)
    for metric, reason in no_band.items():
        st.caption(f"{metric.upper()} has no interval for all days at once: {literal(reason)}")
    return LiveQuestion(metric=choice.metric, band=EACH_DAY if no_band else band or EACH_DAY, week=week and days > WEEK)


def _draw_published(published: PublishedSeries, choice: StripChoice, days: int) -> None:
    # The numbers come first on a narrow screen, and what is chosen for them after.
    cards = st.container()
    question = _question(choice, published.no_band, days)
    series = st.container()
    asked = st.container(border=True) if asked_questions(published) else None
    if asked is not None:
        with asked:
            st.header("Segments, flows, weeks and months", anchor=False)
            name, multiples = choose_question(published)
        question = msgspec.structs.replace(question, question=name, multiples=multiples)
    tables = live_tables(question, published.rows, published.answers, published.plans)
    counts: dict[str, list[TableRow]] = {}
    for row in tables["counts"]:
        counts.setdefault(row["metric"], []).append(row)
    pictures = live_pictures(question, tables)
    with cards:
        draw_cards(counts, question.metric, tables["published"][0]["ci_level"])
    with series:
        draw_series(pictures, counts)
        lines = "Line: counts. Shade: their intervals."
        st.caption(f"{lines} Dotted: a week before." if question.week else lines)
    if asked is not None:
        with asked:
            draw_question(question, tables, question_pictures(question, tables))
    draw_stickiness(pictures["stickiness"], tables["stickiness"], question.band)
    draw_table(counts)
    draw_reproduce(question, tables)
    st.caption(reading_of(tables))


def reading_of(tables: Tables) -> str:
    """How the numbers are made, in words."""
    if "plans" not in tables:
        return READING
    if metrics_agree(map(plan_of, tables["plans"])):
        return READING_TOGETHER
    return f"{READING} {APART}"


def settings_sentence(settings: Settings) -> str:
    """What the service publishes with, whatever the strip says."""
    series = "; ".join(
        f"{metric.upper()} (trailing {one.window} {'day' if one.window == 1 else 'days'}) by {one.mechanism}, ε "
        f"{one.epsilon:g}, δ {power_of_ten(one.delta)}, unit {one.unit}, W_BOUND {one.w_bound}"
        for metric, one in settings.series.items()
    )
    others = "".join(
        f"; {literal(spelt(name))} by {one.mechanism}, ε {one.epsilon:g}, δ {power_of_ten(one.delta)}, "
        f"unit {one.unit}, W_BOUND {one.w_bound}"
        for name, one in sorted(settings.questions.items())
    )
    return (
        f"The service publishes with settings of its own: {series}{others}. Here, the strip chooses no more than which "
        "metric comes first."
    )
