"""The page *Live*: what is published, what it costs, and the operator's desk.

The page is drawn as a whole and changes only when something has happened: a fragment looks every two seconds and asks
for a new drawing if so. What a button does is done before the page is drawn, so that the page shows it.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pandas as pd
import streamlit as st

from dp.ledger import Budget, BudgetExhausted, Charge, LedgerError
from dp.presence.daily import day_number
from workbench import demo
from workbench.service import ADD, RETRACT, Activity, Operation, Refused, Service, Settings, Status, StoreError
from workbench.views import charts

WATCH_SECONDS = 2.0
PLAY_SECONDS = 3.0
FEED_LENGTH = 50
CHART_HEIGHT = 190

Area = Literal["days", "fresh", "events"]
Row = dict[str, Any]
Truth = dict[str, int]


@dataclass(frozen=True)
class Seen:
    """What a drawing of the page shows; another value means that it is out of date.

    Attributes:
        published: days that are published; for a moment a day is closed and not yet published.
    """

    status: Status
    budget: Budget
    published: int


@dataclass(frozen=True)
class Said:
    """What came of the last thing that was done in an area of the page."""

    kind: Literal["success", "warning", "error"]
    text: str


def page(service: Service) -> None:
    """Draw the page."""
    _obey_stop()
    seen = look(service)
    rows = {metric: [json.loads(row) for row in service.releases(metric)] for metric in service.settings.series}
    shown = service.settings.show_truth and st.session_state.get("truth", False)
    truth = {metric: true_counts(service, metric) for metric in rows} if shown else {}
    st.title("Live", anchor=False)
    st.caption(_standing(seen.status))
    st.info(service.promise, icon=":material/verified_user:")
    if all(rows.values()):
        _cards(rows, truth)
    left, right = st.columns([2, 1], gap="medium")
    # First what can be used at once; the charts take longest.
    with right:
        playing = _days(service, seen.status, shown)
        _budget(service, seen)
        _desk(service, seen.status)
    with left:
        if all(rows.values()):
            _series(service, rows, truth)
        else:
            _start(service.settings, seen.status)
        _feed(service)
    _ledger(service.charges())
    st.fragment(_watch, run_every=PLAY_SECONDS if playing else WATCH_SECONDS)(service, seen, playing)


def look(service: Service) -> Seen:
    """How the service stands now."""
    return Seen(service.status(), service.budget(), service.published_days())


# What is published


def _standing(status: Status) -> str:
    arrived = f"{status.operations:,} operations have arrived"
    if status.last is None:
        return f"No day is closed yet · {arrived}"
    return f"Last closed day: **{day_name(status.last)}** · {arrived}"


def day_name(day: date) -> str:
    """A day in words, the same in every locale of the server: Mon 2 March 2026."""
    return f"{day:%a} {day.day} {day:%B %Y}"


def true_counts(service: Service, metric: str) -> Truth:
    """Day (ISO) → true count of the closed days; NOT PRIVATE."""
    true = service.truth(metric)
    return {day.isoformat(): count.truth for day, count in zip(true.days, true.counts, strict=True)}


def _cards(rows: Mapping[str, Sequence[Row]], truth: Mapping[str, Truth]) -> None:
    for column, (metric, published) in zip(st.columns(3, gap="medium"), rows.items(), strict=True):
        with column, st.container(border=True):
            _card(metric, published, truth.get(metric))
    st.caption(
        "± is noise, drawn to protect every user: the count itself lies in the interval with the probability that is "
        "stated. Both days of a change carry noise, so a small change may be noise alone. Published days are never "
        "revised: an erasure moves the days after it."
    )


def _card(metric: str, rows: Sequence[Row], truth: Truth | None) -> None:
    last = rows[-1]
    days = "on the day" if last["window"] == 1 else f"in the trailing {last['window']} days"
    st.metric(
        f"**{metric.upper()}** — users active {days}",
        f"{round(last['estimate']):,}",
        delta=_change(rows, 1),
        delta_color="off",
        delta_description="to the day before" if len(rows) > 1 else None,
    )
    week = f" · {_signed(rows, 7)} to a week before" if len(rows) > 7 else ""
    st.caption(f"{interval_words(last)}{week}")
    if truth is not None:
        st.caption(f"Truth: **{truth[last['day']]:,}** — NOT PRIVATE")


def interval_words(row: Row) -> str:
    """Half width and interval of a release; some mechanisms have none on some days."""
    if row["ci_low"] is None:
        return "No interval today: the last value stands, and the count was not looked at"
    half = (row["ci_high"] - row["ci_low"]) / 2
    return f"± {round(half):,} · {row['ci_level']:.0%} interval {charts.interval(row)}"


def _change(rows: Sequence[Row], days: int) -> int | None:
    if len(rows) <= days:
        return None
    now, before = float(rows[-1]["estimate"]), float(rows[-1 - days]["estimate"])
    return round(now) - round(before)


def _signed(rows: Sequence[Row], days: int) -> str:
    change = _change(rows, days) or 0
    return f"{'−' if change < 0 else '+'}{abs(change):,}"


def _series(service: Service, rows: Mapping[str, Sequence[Row]], truth: Mapping[str, Truth]) -> None:
    with st.container(border=True):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        head.subheader("Published series", anchor=False, width="content")
        if service.settings.show_truth:
            head.toggle(
                "Show the truth — NOT PRIVATE",
                key="truth",
                help="True counts are secret; they may be seen here only because nobody in a demonstration is real.",
            )
        for metric, published in rows.items():
            level = service.settings.ci_level
            chart = charts.series_specification(metric, level, truth=metric in truth, height=CHART_HEIGHT)
            # Data and chart apart: new data then moves the chart that is there, and a tooltip stays open.
            st.vega_lite_chart(
                charts.series_table(published, truth.get(metric)),
                json.loads(chart),
                width="stretch",
                key=f"series-{metric}",
                alt=f"{metric.upper()} of all closed days with intervals",
            )
        note = f"Line: published estimate. Shade: {service.settings.ci_level:.0%} interval, for each day on its own."
        st.caption(note + (" **Dashed grey: the true count — NOT PRIVATE.**" if truth else ""))


# Days


def _days(service: Service, status: Status, truth_shown: bool) -> bool:
    """Draw the card that closes days; returns whether the demonstration plays."""
    with st.container(border=True):
        st.subheader("Days", anchor=False)
        if status.open_day is None:
            chosen = st.date_input("First day", value=service.today(), key="first-day")
            day = chosen if isinstance(chosen, date) else service.today()
        else:
            day = status.open_day
        st.button(
            f"Close {day_name(day)}",
            type="primary",
            icon=":material/event_available:",
            width="stretch",
            key="close",
            on_click=_do,
            args=("days", lambda: _close(service, day)),
        )
        st.caption("Closing counts the day for good and publishes it; what arrives later counts from the next day.")
        if truth_shown and status.open_day is not None:
            counts = ", ".join(f"{metric.upper()} {count.truth:,}" for metric, count in service.preview(day).items())
            st.caption(f"Truth so far: **{counts}** — NOT PRIVATE")
        playable = service.settings.show_truth and demo.is_demonstration(service)
        playing = playable and st.toggle(
            "Auto-play the demonstration",
            key="play",
            help=f"Every {PLAY_SECONDS:g} seconds the next day's generated operations arrive and the day is closed.",
        )
        _tell("days")
    return playing


def _close(service: Service, day: date) -> str:
    rows = [json.loads(row) for row in service.close(day)]
    counts = ", ".join(f"{row['metric'].upper()} {round(row['estimate']):,}" for row in rows)
    return f"{day_name(day)} is closed and published: {counts}."


def play(service: Service, day: date) -> str | None:
    """Feed the demonstration's operations of the open day and close it; returns why it cannot go on, or None."""
    operations = demo.operations_of(day)
    if not operations:
        return f"The demonstration ends here: it has no operations for {day_name(day)}."
    file = f"demo {day}"
    try:
        # By name, so that two viewers who play at once feed a day only once.
        if not service.resume(file):
            service.load(file, 0, operations)
        service.close(day)
    except (Refused, LedgerError, StoreError) as error:
        return f"Auto-play has stopped: {error}"
    return None


def _watch(service: Service, seen: Seen, playing: bool) -> None:
    """Ask for a new drawing if something has happened; the demonstration's next day is one such thing."""
    if playing and st.session_state.get("drawn") == seen:
        day = seen.status.open_day or demo.FIRST_DAY
        if (reason := play(service, day)) is not None:
            st.session_state["stop"] = reason
            st.rerun()
    st.session_state["drawn"] = seen
    if look(service) != seen:
        st.rerun()


def _obey_stop() -> None:
    """Switch auto-play off where the last step asked for it; only possible before the switch is drawn."""
    if (reason := st.session_state.pop("stop", None)) is not None:
        st.session_state["play"] = False
        st.session_state["said"] = {**st.session_state.get("said", {}), "days": Said("warning", reason)}


# Budget


def _budget(service: Service, seen: Seen) -> None:
    with st.container(border=True):
        st.subheader("Budget", anchor=False)
        charges = service.charges()
        st.altair_chart(
            charts.budget_chart(_budget_parts(seen.budget, charges)), width="stretch", key="budget", alt="Budget spent"
        )
        cap, spent, left = seen.budget.cap, seen.budget.spent, seen.budget.remaining
        st.markdown(
            f"ε **{spent.epsilon:g}** of {cap.epsilon:g} spent, **{left.epsilon:g}** left  \n"
            f"δ **{spent.delta:g}** of {cap.delta:g} spent, **{left.delta:g}** left"
        )
        if seen.status.last is not None:
            _fresh(service, seen.status)


def _budget_parts(budget: Budget, charges: Sequence[Charge]) -> list[tuple[str, str, float, str]]:
    fresh = [charge for charge in charges if is_fresh(charge) and charge.budget == budget.name]
    parts = []
    for letter, index in (("ε", 0), ("δ", 1)):
        cap, spent, left = budget.cap[index], budget.spent[index], budget.remaining[index]
        for_fresh = sum(charge.guarantee[index] for charge in fresh)
        for kind, amount in (("series", spent - for_fresh), ("fresh releases", for_fresh), ("left", left)):
            # A cap of 0 leaves nothing to show.
            parts.append((letter, kind, max(amount, 0.0) / cap if cap else 0.0, f"{letter} {amount:.6g} of {cap:g}"))
    return parts


def is_fresh(charge: Charge) -> bool:
    """Whether a charge is for a fresh release of one past day, not for a whole series."""
    # The stream of a fresh release is the series' stream with day and request id.
    return charge.stream.count("/") == 3


def _fresh(service: Service, status: Status) -> None:
    assert status.first is not None
    assert status.last is not None
    with st.form("fresh-release", border=False):
        st.markdown("**Fresh release** of a past day, from the log as it stands now")
        metric_column, day_column = st.columns([1, 2])
        metrics = list(service.settings.series)
        metric_column.selectbox("Metric", metrics, format_func=str.upper, key="fresh-metric")
        day_column.date_input("Day", value=status.last, min_value=status.first, max_value=status.last, key="fresh-day")
        st.form_submit_button(
            "Fresh release",
            icon=":material/refresh:",
            width="stretch",
            on_click=_do,
            args=("fresh", lambda: _release_again(service)),
        )
    prices = ", ".join(f"{name.upper()} {one.fresh:g}" for name, one in service.settings.series.items())
    st.caption(f"Charged on its own, on top of the series: ε {prices}. The published day stays as it is.")
    _tell("fresh")


def _release_again(service: Service) -> str:
    metric, day = st.session_state["fresh-metric"], st.session_state["fresh-day"]
    row = json.loads(service.fresh(metric, day, str(uuid.uuid4())))
    published = json.loads(service.release(metric, day))
    return (
        f"Fresh {metric.upper()} of {day_name(day)}: {round(row['estimate']):,} "
        f"({row['ci_level']:.0%} interval {charts.interval(row)}); "
        f"published then: {round(published['estimate']):,}. It cost ε {row['epsilon_total']:g}."
    )


# Operations


def _feed(service: Service) -> None:
    with st.container(border=True):
        st.subheader("What arrived last", anchor=False)
        st.caption("For the operator's eyes: the log is NOT PRIVATE, even under pseudonyms.")
        recent = service.recent(FEED_LENGTH)
        if not recent:
            st.markdown("Nothing has arrived yet.")
            return
        st.dataframe(
            _feed_table(recent),
            hide_index=True,
            width="stretch",
            height=387,
            key="feed",
            column_config={
                "Number": st.column_config.NumberColumn(format="localized", width="small"),
                "Counts from": st.column_config.DateColumn(format="ddd D MMM YYYY"),
                "About": st.column_config.DateColumn(format="ddd D MMM YYYY"),
            },
        )


def _feed_table(recent: Sequence[Activity]) -> pd.DataFrame:
    words = {"+": "active", "-": "retracted", "erase": "erased"}
    return pd.DataFrame(
        [
            {
                "Number": one.seq,
                "Pseudonym": one.who or "(erased)",
                "Operation": words[one.op],
                "About": one.day,
                "Counts from": one.counts_from,
                "Late": "late" if one.day is not None and one.counts_from > one.day else "",
            }
            for one in recent
        ]
    )


def _desk(service: Service, status: Status) -> None:
    with st.container(border=True):
        st.subheader("Report and erase", anchor=False)
        with st.form("activity", border=False):
            user, day = st.columns([3, 2])
            user.text_input("User", key="user", placeholder="user id")
            day.date_input("Day", value=status.open_day or service.today(), key="day")
            add, retract = st.columns(2)
            add.form_submit_button(
                "Add", icon=":material/add:", width="stretch", on_click=_do,
                args=("events", lambda: _report(service, ADD)),
            )  # fmt: skip
            retract.form_submit_button(
                "Retract", icon=":material/remove:", width="stretch", on_click=_do,
                args=("events", lambda: _report(service, RETRACT)),
            )  # fmt: skip
        with st.form("erasure", border=False):
            st.text_input("User to erase", key="erased", placeholder="user id")
            st.form_submit_button(
                "Erase all of this user",
                icon=":material/delete_forever:",
                width="stretch",
                on_click=_do,
                args=("events", lambda: _erase(service)),
            )
        st.caption("An erasure removes the user's rows for good; only a keyed counter of changes of presence stays.")
        _tell("events")


def _report(service: Service, op: int) -> str:
    user, day = str(st.session_state["user"]).strip(), st.session_state["day"]
    ingested = service.ingest([Operation(user, day_number(day), op)])
    done = "is reported as active" if op == ADD else "is no longer reported as active"
    said = f"{user} {done} on {day_name(day)} (operation {ingested.seq:,})."
    if ingested.late:
        open_day = service.status().open_day
        assert open_day is not None
        said += f" That day is closed, so this is late: it counts from {day_name(open_day)}."
    return said


def _erase(service: Service) -> str:
    user = str(st.session_state["erased"]).strip()
    removed = service.erase(user)
    open_day = service.status().open_day
    when = f" It counts from {day_name(open_day)}; published days stay." if open_day else ""
    if removed == 0:
        return f"{user} had no rows; the erasure is noted."
    return f"{user} is erased: {removed:,} row{'s' if removed > 1 else ''} removed.{when}"


# The ledger


def _ledger(charges: Sequence[Charge]) -> None:
    with st.container(border=True):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        head.subheader("Ledger", anchor=False, width="content")
        rows = ledger_rows(charges)
        if not rows:
            st.markdown("Nothing is charged yet. The first close charges every series for its whole horizon.")
            return
        head.download_button(
            "Download as CSV",
            ledger_csv(rows),
            file_name="ledger.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            width="stretch",
            key="ledger",
            column_config={
                "when": st.column_config.DatetimeColumn("When (UTC)", format="YYYY-MM-DD HH:mm:ss"),
                "stream": "Stream",
                "for": "For",
                "epsilon": st.column_config.NumberColumn("ε", format="%g"),
                "delta": st.column_config.NumberColumn("δ", format="scientific"),
            },
        )


def ledger_rows(charges: Sequence[Charge]) -> list[Row]:
    """The ledger as rows, newest first: when, stream, for, epsilon, delta."""
    return [
        {
            "when": charge.charged_at,
            "stream": charge.stream,
            "for": _purpose(charge),
            "epsilon": charge.guarantee.epsilon,
            "delta": charge.guarantee.delta,
        }
        for charge in reversed(charges)
    ]


def _purpose(charge: Charge) -> str:
    metrics = "+".join(metric.upper() for metric in charge.specification["windows"])
    first, horizon = charge.specification["first"], charge.specification["horizon"]
    if is_fresh(charge):
        return f"fresh release of {metrics}, {first}"
    return f"{metrics} series, {f'{horizon} days' if horizon else 'without end'} from {first}"


def ledger_csv(rows: Sequence[Row]) -> str:
    """The ledger's rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["when", "stream", "for", "epsilon", "delta"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# An empty store


def _start(settings: Settings, status: Status) -> None:
    with st.container(border=True):
        st.subheader("Nothing is published yet", anchor=False)
        day = settings.first_day or date(2026, 1, 1)
        event = json.dumps({"user": "ada", "day": day.isoformat()})
        st.markdown(
            "Send what your users do, one event for every user and day on which the user was active "
            '(add `-H "X-API-Key: $SERVICE_API_KEY"` where the service has a key):'
        )
        st.code(
            f"curl -X POST {_address(settings)}/event -H 'content-type: application/json' \\\n"
            f"  -d {shlex.quote(event)}",
            language="bash",
        )
        st.markdown("or load a file with the columns `user`, `day` and, if you have them, `op` and `at`:")
        st.code("dpdau load events.csv", language="bash")
        st.markdown(
            "or use the form on this page. Then close the first day: it is counted, charged and published."
            if status.operations == 0
            else f"{status.operations:,} operations are here. Close the first day to publish it."
        )


def _address(settings: Settings) -> str:
    """Where the HTTP interface is: where this page comes from, if that serves both; else by the settings."""
    base, mounted, _ = (st.context.url or "").partition("/ui")
    return base if mounted else f"http://{settings.host}:{settings.port}"


# What a button does


def _do(area: Area, action: Callable[[], str]) -> None:
    """Do something and remember what came of it, for the drawing that follows."""
    try:
        said = Said("success", action())
    except BudgetExhausted as error:
        said = Said("error", exhausted(error))
    except (Refused, LedgerError, StoreError, ValueError) as error:
        said = Said("error", str(error))
    st.session_state["said"] = {area: said}


def exhausted(error: BudgetExhausted) -> str:
    """What was asked, spent and is left, and what to do, in words."""
    budget, asked = error.budget, error.requested
    return (
        f"The budget “{budget.name}” is exhausted, so nothing was released and nothing charged. "
        f"Asked: ε {asked.epsilon:g}, δ {asked.delta:g}. "
        f"Spent: ε {budget.spent.epsilon:g} of {budget.cap.epsilon:g}, δ {budget.spent.delta:g} of "
        f"{budget.cap.delta:g}. Left: ε {budget.remaining.epsilon:g}, δ {budget.remaining.delta:g}. "
        "Published days stay readable; more fresh releases need another budget (the setting fresh_budget)."
    )


def _tell(area: Area) -> None:
    said = st.session_state.get("said", {}).get(area)
    if said is not None:
        icons = {"success": ":material/check_circle:", "warning": ":material/info:", "error": ":material/error:"}
        {"success": st.success, "warning": st.warning, "error": st.error}[said.kind](said.text, icon=icons[said.kind])
