"""Releases of questions: what their rows say, what they cost, and that noise for one series of several is found out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import mu_for
from dp.counts import Counts
from dp.ledger import LedgerError, open_ledger
from dp.mechanisms import GRID, LinearMechanism, Mechanism
from dp.noise import GaussianNoise
from dp.questions import Breakdown, Cell, Question
from dp.release import Plan, Request, default_stream, plan_release, promise
from dp.release.request import request_of
from dp.release.shares import equal_shares, largest_deviations
from dp.release.stream import publish, recall
from tests.dp.test_privacy_statistics import clopper_pearson
from tests.laws import each
from tests.oracles.stated import publish as publish_stated
from tests.oracles.stated import simulate_rows

FIRST, NOW = date(2026, 1, 1), datetime(2026, 6, 1)
HORIZON = 40
COUNTRY = Breakdown("country", "last", ("country",), (("GB", "DE"),))
PLATFORM = Breakdown("platform", "any", ("platform",), (("ios", "web"),), most=2)
PLAN = Breakdown("plan", "fixed", ("plan",), (("free", "paid"),))
MAU, WEEK, MONTH = Cell("rolling", "mau", 30), Cell("week", "week"), Cell("month", "month")
FLOWS = Cell("flows", "mau", 30)
QUESTIONS = tuple(
    Question(cell, breakdown) for breakdown in (None, COUNTRY, PLATFORM, PLAN) for cell in (MAU, FLOWS, WEEK, MONTH)
)[1:]
"""All but MAU itself, which is a metric."""


def request(*questions: Question, **changes: object) -> Request:
    asked = questions or QUESTIONS
    usual = Request(
        windows={"mau": 30},
        unit="user-day",
        w_bound=2,
        guarantee=Guarantee(1.0, 1e-6),
        mechanism="damped-square-root",
        first=FIRST,
        horizon=HORIZON,
        shares={"mau": 1.0, **{question.name: 1.0 for question in asked}},
        questions=asked,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def some_counts(plan: Plan, ticks: int) -> dict[str, NDArray[np.int64]]:
    return {
        series.metric: 100 + 10 * place + np.arange(len(series.days(FIRST, ticks)))
        for place, series in enumerate(plan.series)
    }


@pytest.fixture
def ledger(tmp_path):
    with open_ledger(tmp_path / "ledger.db") as opened:
        opened.create_budget("team", Guarantee(10.0, 1e-4), FIRST, None)
        yield opened


def test_rows_say_which_question_and_segment_on_which_day(ledger) -> None:
    plan = plan_release(request())
    rows = [json.loads(row) for row in publish_stated(ledger, "s", "team", plan, some_counts(plan, HORIZON), NOW)]
    assert {row["epsilon_total"] for row in rows} == {1.0}
    by_series: dict[tuple[str, str | None, str | None], list[str]] = {}
    for row in rows:
        assert "metric" not in row
        by_series.setdefault((row["question"], row["breakdown"], row["segment"]), []).append(row["day"])
    segments = {None: [None], "country": ["GB", "DE", "other"], "platform": ["ios", "web", "other"],
                "plan": ["free", "paid", "other"]}  # fmt: skip
    every_day = [(FIRST + timedelta(days=tick)).isoformat() for tick in range(HORIZON)]
    days = {**dict.fromkeys(("mau", "mau/new", "mau/returning", "mau/gone"), every_day),
            "week": ["2026-01-04", "2026-01-11", "2026-01-18", "2026-01-25", "2026-02-01", "2026-02-08"],
            "month": ["2026-01-31"]}  # fmt: skip
    assert by_series == {
        (question, breakdown, segment): published
        for breakdown, own in segments.items() for segment in own for question, published in days.items()
    }  # fmt: skip


def test_a_release_in_pieces_is_charged_once_and_comes_back_as_it_was(ledger) -> None:
    plan = plan_release(request())
    counts = some_counts(plan, HORIZON)
    early = publish_stated(ledger, "s", "team", plan, some_counts(plan, 9), NOW)
    changed = counts | {"week/country=GB": counts["week/country=GB"] + 1}
    with pytest.raises(LedgerError, match="the log's past is not what it was"):
        publish_stated(ledger, "s", "team", plan, changed, NOW)
    whole = publish_stated(ledger, "s", "team", plan, counts, NOW)
    assert set(early) < set(whole)
    assert recall(ledger, "s", "team", plan, HORIZON, NOW) == whole
    assert recall(ledger, "s", "team", plan, 9, NOW) == early
    assert ledger.budget("team").remaining.epsilon == pytest.approx(9.0)


def test_a_specification_gives_the_request_back() -> None:
    asked = request()
    assert request_of(json.loads(json.dumps(asked.specification()))) == asked
    # Streams of before there were questions say nothing of them.
    assert "questions" not in replace(asked, questions=(), shares={"mau": 1.0}).specification()
    other = replace(asked, questions=(*QUESTIONS[:-1], replace(QUESTIONS[-1], cell=WEEK, breakdown=None)))
    assert default_stream(asked) != default_stream(other)


@each("mechanism", ["damped-square-root", "gaussian", "binary-tree", "laplace"])
@each(("unit", "w_bound"), [("user-day", 2), ("user-day", 4), ("user", 4)])
def test_the_noise_of_all_questions_adds_up_to_the_guarantee(mechanism: str, unit: str, w_bound: int) -> None:
    shares = {"mau": 2.0, **{question.name: 1.0 + place for place, question in enumerate(QUESTIONS)}}
    plan = plan_release(request(mechanism=mechanism, unit=unit, w_bound=w_bound, shares=shares))
    one_of_each = {series.question.name: series.mechanism for series in plan.series}
    spent = {name: GRID * one.sensitivity / one.noise.scale for name, one in one_of_each.items()}
    if mechanism == "laplace":
        assert 0.999 <= math.fsum(spent.values()) <= 1.0
    else:
        assert 0.999 <= math.hypot(*spent.values()) / mu_for(1.0, 1e-6) <= 1.0
    parts = {
        name: one / shares[name] if mechanism == "laplace" else one**2 / shares[name] for name, one in spent.items()
    }
    assert max(parts.values()) == pytest.approx(min(parts.values()), rel=1e-3)


def test_counts_of_another_question_are_refused(ledger) -> None:
    asked = Question(MAU, replace(PLATFORM, most=1))
    plan, wide = plan_release(request(asked)), plan_release(request(Question(MAU, PLATFORM)))
    own = {
        series.metric: Counts(np.array([5]), series.window, FIRST, None, None, series.part) for series in plan.series
    }
    publish(ledger, "own", "team", plan, own, NOW)
    foreign = {series.metric: series.part for series in wide.series}
    for given in (foreign["mau/platform=ios"], None):
        counts = own | {"mau/platform=ios": replace(own["mau/platform=ios"], part=given)}
        with pytest.raises(ValueError, match=r"counts of mau/platform=ios are not this plan's"):
            publish(ledger, "other", "team", plan, counts, NOW)
    assert ledger.find_charge("other") is None


@each(
    ("changes", "message"),
    [
        ({"mechanism": "sparse-vector"}, r"sparse-vector.*need a linear one"),
        ({"sketch": "bitmap"}, "counted exactly"),
        ({"horizon": 2}, r"no week ends within the 2 ticks from 2026-01-01 on"),
        ({"unit": "user", "w_bound": 1}, "w_bound is 1: a run in a segment"),
        ({"unit": "user", "horizon": None}, "unit 'user' needs a horizon"),
        ({"shares": {"mau": 1.0}}, "shares are for"),
        ({"questions": QUESTIONS[:1] * 2}, "each can be asked once"),
        ({"windows": {}, "questions": (), "shares": {}}, "no metric was asked for"),
    ],
)
def test_what_no_question_can_have_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_release(request(**changes))


def test_flows_and_weeks_alone_and_without_an_end() -> None:
    for cell in (FLOWS, WEEK):
        plan = plan_release(request(Question(cell), windows={}, shares={cell.name: 1.0}, horizon=None, unit="user-day"))
        assert {series.guarantee for series in plan.series} == {Guarantee(1.0, 1e-6)}
    # Flows of whole users need no end either, as long as nothing else does.
    plan_release(request(Question(FLOWS), windows={}, shares={FLOWS.name: 1.0}, horizon=None, unit="user"))


def test_the_promise_says_what_a_breakdown_does() -> None:
    said = promise(request())
    assert "A week or a month is published once" in said
    assert "By platform, a user-day counts in its first 2 segments to arrive." in said
    assert "By plan, what the table of users says of a user is taken as known and is not protected." in said
    of_users = promise(request(unit="user", w_bound=4))
    assert "By country, the changes of presence in all segments together are bounded." in of_users
    assert "taken as known" not in of_users


def test_segments_have_noise_of_their_own() -> None:
    plan = plan_release(request(Question(WEEK, COUNTRY), Question(WEEK, PLATFORM)))
    draws = [
        [row["estimate"] for row in simulate_rows(plan, some_counts(plan, 4), seed) if row["day"] == "2026-01-04"]
        for seed in range(200)
    ]
    correlations = np.corrcoef(np.array(draws).T)
    assert correlations.shape == (7, 7)
    assert np.abs(correlations - np.eye(7)).max() < 0.3


@pytest.mark.parametrize("mechanism", ["damped-square-root", "laplace"])
def test_shares_let_all_questions_err_alike(mechanism: str) -> None:
    plan = plan_release(request(mechanism=mechanism))
    alike = largest_deviations(plan_release(request(mechanism=mechanism, shares=equal_shares(plan))))
    assert max(alike.values()) == pytest.approx(min(alike.values()), rel=1e-3)
    sizes = {name: 10.0 + place for place, name in enumerate(alike)}
    relative = largest_deviations(plan_release(request(mechanism=mechanism, shares=equal_shares(plan, sizes))))
    errors = [relative[name] / sizes[name] for name in sizes]
    assert max(errors) == pytest.approx(min(errors), rel=1e-3)
    with pytest.raises(ValueError, match="sizes are for mau; one positive count is needed for each of mau, mau/flows"):
        equal_shares(plan, {"mau": 5.0})


# --- What an attacker finds out --------------------------------------------------------------------------------------

TRIALS = 40_000


def least_mu(plan: Plan, difference: dict[str, NDArray[np.int64]]) -> float:
    """A lower bound on the μ of all series together: how well counts with a change are told from those without.

    It holds with probability 0.98. Releases are simulated through the mechanisms; the test is the likelihood ratio.
    """
    generator = np.random.default_rng(5)
    scores = {True: np.zeros(TRIALS), False: np.zeros(TRIALS)}
    for series in plan.series:
        if (change := difference.get(series.metric)) is None:
            continue
        mechanism = series.mechanism
        assert isinstance(mechanism, LinearMechanism)
        before = np.full(len(change), 10)
        # What was measured follows from what is published.
        inverse = np.linalg.inv(mechanism.strategy.decode(np.eye(len(change))).T)
        direction = inverse @ change / mechanism.noise.variance
        for with_change in (True, False):
            estimates = mechanism.simulate(before + change * with_change, TRIALS, generator)
            scores[with_change] += (estimates - before) @ inverse.T @ direction
    threshold = np.median(np.concatenate(list(scores.values())))
    alarms = {present: int((found > threshold).sum()) for present, found in scores.items()}
    low, high = clopper_pearson(alarms[True], TRIALS, 0.98)[0], clopper_pearson(alarms[False], TRIALS, 0.98)[1]
    return float(norm.ppf(low) - norm.ppf(high))


def worst_difference(plan: Plan, question: Question) -> dict[str, NDArray[np.int64]]:
    """What one user-day on time can change: of MAU by the last activity, by any, or of flows."""
    ticks = np.arange(HORIZON)
    whole = ((ticks >= 5) & (ticks < 35)).astype(np.int64)
    names = [series.metric for series in plan.series if series.question == question]
    if question.cell.kind == "flows":
        # New on day 5 and gone after; so that the next presence is a return.
        moments = {names[0]: {5: 1, 37: -1}, names[1]: {37: 1}, names[2]: {35: 1}}
        return {name: np.array([at.get(tick, 0) for tick in range(HORIZON)]) for name, at in moments.items()}
    second = whole if question.breakdown == PLATFORM else -(whole * (ticks < 34))
    return dict(zip(names, (whole, second), strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(
    "question", [Question(MAU, COUNTRY), Question(MAU, PLATFORM), Question(FLOWS)], ids=lambda one: one.name
)
def test_releases_keep_their_promise_and_noise_for_one_series_does_not(question: Question) -> None:
    plan = plan_release(request(question, windows={}, shares={question.name: 1.0}))
    claimed = mu_for(1.0, 1e-6)
    difference = worst_difference(plan, question)
    assert 0.85 * claimed < least_mu(plan, difference) <= claimed
    # The twin has the noise that two runs in one series, or two entries of the flows, would need.
    twins = tuple(replace(series, mechanism=with_noise(series.mechanism, 1 / math.sqrt(2))) for series in plan.series)
    assert least_mu(Plan(plan.request, twins), difference) > 1.2 * claimed


def with_noise(mechanism: Mechanism, factor: float) -> LinearMechanism:
    assert isinstance(mechanism, LinearMechanism)
    return replace(mechanism, noise=GaussianNoise(math.ceil(mechanism.noise.scale * factor)))
