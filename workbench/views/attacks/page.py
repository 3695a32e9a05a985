"""The page *Attacks*: an attack, an honest or broken subject, and what is proved as trials come in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from dp.names import DATA_DEPENDENT_MECHANISMS
from experiments.engine.places import RESULTS
from workbench.rows import TableRow
from workbench.views.answering import show_answer
from workbench.views.attacks.research import AttackQuestion, attack_charts
from workbench.views.attacks.sentences import bound_sentence, reading_sentence, threat_of
from workbench.views.attacks.wording import (
    ATTACK_TITLES,
    COMMITTED_ONLY,
    LIKELIHOOD_RATIO,
    MISTAKE_TITLES,
    SERVICE,
    STRIP_MISTAKE,
)
from workbench.views.charts import Chart
from workbench.views.committed import where_from
from workbench.views.drawing import draw_chart
from workbench.views.jobs.job import Tables
from workbench.views.strip import SLIDER_WIDTH, StripChoice
from workbench.words import WORDS

DAYS = (30, 60, 90, 180)
SUBJECTS = ("honest", "broken")
NOT_HERE = {
    "ledger": "A race ends otherwise every time, so that this attack is not made here: what follows was committed.",
    SERVICE: "Several services take minutes, so that this attack is not made here: what follows was committed.",
}
COMMITTED_CHARTS = {
    "committed-mistakes": "Seeded bugs",
    "committed-promises": "Mechanisms and sketches",
    "committed-attacks": "All attacks",
}
AUDIT_COMMAND = "dpdau experiment run --configs experiments/audits"
SERVICE_COMMAND = "dpdau attack service --twins --full --figure results/attack_service.svg"


def page(choice: StripChoice, cache: Path) -> None:
    """Draw the page.

    Args:
        cache: folder of the experiments' shards.
    """
    st.title("Attacks", anchor=False)
    st.caption(
        "Somebody tries to prove that a promise is broken. The attacks are made here and now on generated counts; no "
        "data of the live service is used and no budget is spent."
    )
    question = _question(choice)
    if question is None:
        st.warning(
            f"What {choice.mechanism} does depends on the data, and attacks show less than half of what it promises: "
            "half its noise would not be caught. Choose another mechanism or another seeded bug.",
            icon=":material/info:",
        )
        return
    show_answer(cache, question, _draw)


def _question(choice: StripChoice) -> AttackQuestion | None:
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        attack = st.selectbox(
            "Attack",
            list(ATTACK_TITLES),
            format_func=lambda name: ATTACK_TITLES[name],
            key="attack",
            bind="query-params",
            width=345,
        )
        if attack in COMMITTED_ONLY:
            return AttackQuestion(attack=attack, broken=False)
        subject = st.segmented_control(
            "Subject", SUBJECTS, default="honest", required=True, key="subject",
            bind="query-params", help=f"Broken: with a seeded bug. {WORDS['seeded bug'].capitalize()}.",
        )  # fmt: skip
        broken = subject == "broken"
        if attack == LIKELIHOOD_RATIO:
            return _audit_question(choice, broken=broken)
        return AttackQuestion(attack=attack, broken=broken, mistake=_twin(attack) if broken else None)


def _audit_question(choice: StripChoice, *, broken: bool) -> AttackQuestion | None:
    mistake = st.selectbox(
        "Seeded bug" if broken else "Without the bug",
        list(MISTAKE_TITLES),
        format_func=lambda name: MISTAKE_TITLES[name] + (" of the mechanism above" if name == STRIP_MISTAKE else ""),
        key="mistake",
        bind="query-params",
        width=345,
    )
    if mistake != STRIP_MISTAKE:
        return AttackQuestion(attack=LIKELIHOOD_RATIO, broken=broken, mistake=mistake)
    days = st.select_slider("Days", DAYS, 60, key="attack_days", bind="query-params", width=SLIDER_WIDTH)
    if broken and choice.mechanism in DATA_DEPENDENT_MECHANISMS:
        return None
    return AttackQuestion(
        attack=LIKELIHOOD_RATIO, broken=broken, mistake=mistake, mechanism=choice.mechanism, metric=choice.metric,
        unit=choice.unit, epsilon=choice.epsilon, delta=choice.delta, w_bound=choice.w_bound, days=days,
    )  # fmt: skip


def _twin(attack: str) -> str:
    from dp.auditing.attacks import ATTACKS

    return st.selectbox("Seeded bug", list(ATTACKS[attack].twins), key=f"twin_{attack}", bind="query-params", width=345)


def _draw(question: AttackQuestion, tables: Tables) -> None:
    charts = attack_charts(question, tables)
    if question.attack in COMMITTED_ONLY:
        st.caption(f"{threat_of(question.attack)} {NOT_HERE[question.attack]}")
        _draw_committed(question, tables, charts)
        return
    left, right = st.columns(2, gap="medium")
    with left:
        _draw_computed(question, tables, charts)
    with right:
        _draw_committed(question, tables, charts)


def _draw_computed(question: AttackQuestion, tables: Tables, charts: Mapping[str, Chart]) -> None:
    bounds, readings = tables.get("bounds", []), tables.get("readings", [])
    if not bounds and not readings:
        st.info("The attack has begun.", icon=":material/hourglass_top:")
        st.caption(threat_of(question.attack))
        return
    sentence, broken = bound_sentence(bounds) if bounds else reading_sentence(readings)
    if broken:
        st.error(sentence, icon=":material/gpp_bad:")
    else:
        st.success(sentence, icon=":material/verified_user:")
    st.caption(threat_of(question.attack))
    if bounds:
        with st.container(border=True):
            st.header("ε that is proved, as trials come in", anchor=False)
            draw_chart(charts["bounds"], key="bounds", words="ε proved against trials")
            st.caption(_method(question, bounds[-1]))
    if readings:
        with st.container(border=True):
            st.header("What was read", anchor=False)
            draw_chart(charts["readings"], key="readings", words="Readings over what is allowed")
            with st.expander("As numbers"):
                st.dataframe(readings, hide_index=True, column_order=("what", "measured", "allowed", "broken"))


def _method(question: AttackQuestion, row: TableRow) -> str:
    how = (
        "Each point is an audit of its own with fresh releases, half of them with the user. "
        "A kept promise is called broken in at most 1 % of audits."
        if question.attack == LIKELIHOOD_RATIO
        else "Each point is an attack of its own, with as many releases without the user as with."
    )
    mistake = f" The bug: {row['mistake']}" if question.broken and "mistake" in row else ""
    return f"Computed here. Each bound is at {100 * row['confidence']:g} % confidence. {how}{mistake}"


def _draw_committed(question: AttackQuestion, tables: Tables, charts: Mapping[str, Chart]) -> None:
    if question.attack == SERVICE:
        _draw_service()
    name = "audit" if question.attack == LIKELIHOOD_RATIO else "attacks"
    with st.container(border=True):
        st.header("The full run", anchor=False)
        st.caption(where_from([name], AUDIT_COMMAND, here=f"committed-{name}" in tables))
        shown = [chart for chart in COMMITTED_CHARTS if chart in charts]
        if len(shown) == 1:
            draw_chart(charts[shown[0]], key=shown[0], words=COMMITTED_CHARTS[shown[0]])
        elif shown:
            if not question.broken:
                shown.reverse()
            for chart, tab in zip(shown, st.tabs([COMMITTED_CHARTS[chart] for chart in shown]), strict=True):
                with tab:
                    draw_chart(charts[chart], key=chart, words=COMMITTED_CHARTS[chart])


def _draw_service() -> None:
    picture = RESULTS / "attack_service.svg"
    with st.container(border=True):
        st.header("The attack on the live service", anchor=False)
        if picture.exists():
            st.caption(f"`results/attack_service.svg`, which is committed; made by `{SERVICE_COMMAND}` in minutes.")
            st.image(str(picture), width="stretch")
        else:
            st.caption(f"`{SERVICE_COMMAND}` makes it in a copy of the repository; nothing is committed here.")
