"""Planning, publishing and simulating: what a release promises and what a second call gives back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pytest

from dp.accounting.calibrate import calibrate_designs
from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import mu_for
from dp.counts import Sample
from dp.ledger import BudgetExhausted, LedgerError, open_ledger
from dp.mechanisms import GRID, MECHANISMS, design
from dp.mechanisms.joint import Exceptions
from dp.release import (
    METRICS,
    Plan,
    Request,
    charged,
    date_in,
    default_stream,
    freezes,
    plan_release,
    promise,
    published,
)
from dp.release.request import request_of
from dp.release.stream import _name_mechanism
from dp.units import protected_class
from tests.laws import each
from tests.oracles.mechanism_instances import DATA_DEPENDENT_NAMES, ENDLESS_NAMES, MECHANISM_NAMES
from tests.oracles.stated import publish, simulate_rows

NOW = datetime(2026, 6, 1, 9, 0, 0)
FIRST = date(2026, 1, 1)
HORIZON = 24
COUNTS = {
    "dau": np.arange(100, 100 + HORIZON),
    "wau": np.arange(300, 300 + 2 * HORIZON, 2),
    "mau": 1000 + (np.arange(HORIZON) % 7),
}
FIELDS = {
    "metric", "window", "day", "estimate", "ci_low", "ci_high", "ci_level", "epsilon", "delta", "mechanism", "sketch",
    "unit", "w_bound", "budget_remaining", "secure",
}  # fmt: skip


def request(*metrics: str, **changes) -> Request:
    """A request for `metrics` (dau and mau unless told) with everything else at an ordinary value."""
    chosen = metrics or ("dau", "mau")
    mechanism = changes.get("mechanism", "damped-square-root")
    pure = mechanism in MECHANISMS and MECHANISMS[mechanism].noise == "laplace"
    usual = Request(
        windows={metric: METRICS[metric] for metric in chosen},
        unit="user-day",
        w_bound=2,
        guarantee=Guarantee(1.0, 0.0 if pure else 1e-6),
        mechanism=mechanism,
        first=FIRST,
        horizon=HORIZON,
        shares={metric: 1.0 for metric in chosen},
    )
    return replace(usual, **changes)


def first_ticks(ticks: int, *metrics: str) -> dict[str, np.ndarray]:
    return {metric: COUNTS[metric][:ticks] for metric in metrics or ("dau", "mau")}


@pytest.fixture
def ledger(tmp_path):
    with open_ledger(tmp_path / "ledger.db") as opened:
        opened.create_budget("team", Guarantee(10.0, 1e-4), FIRST, None)
        yield opened


class NoEntropy:
    """Noise that cannot be drawn."""

    pure = False
    scale = 1
    variance = 1.0

    def half_width(self, level: float, energy: np.ndarray) -> np.ndarray:
        return np.ones_like(energy)

    def secure(self, size: int) -> np.ndarray:
        raise OSError("no entropy")


def of_metric(rows: list[str], metric: str) -> list[str]:
    return [row for row in rows if json.loads(row)["metric"] == metric]


# --- Planning --------------------------------------------------------------------------------------------------------


@each(
    ("changes", "message"),
    [
        ({"windows": {}, "shares": {}}, "no metric was asked for; choose one or more of dau, wau, mau"),
        ({"shares": {"dau": 1.0}}, "shares are for"),
        ({"shares": {"dau": 1.0, "mau": 0.0}}, "one positive number is needed"),
        ({"ci_level": 95}, "ci_level is 95"),
        ({"ci_level": 0.0}, "ci_level is 0.0"),
        ({"ci_level": math.nan}, "ci_level is nan"),
        ({"mechanism": "magic"}, "mechanism is 'magic'; choose one of laplace"),
        ({"unit": "household"}, "unit is 'household'; choose one of user-day, user"),
        ({"w_bound": 0}, "w_bound is 0"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": None, "unit": "user"}, "unit 'user' needs a horizon"),
        ({"horizon": None, "mechanism": "square-root"}, "square-root needs a horizon"),
        ({"horizon": None, "mechanism": "binary-tree"}, "a tree needs a horizon"),
        ({"guarantee": Guarantee(0.0, 1e-6)}, "epsilon is 0.0"),
        ({"guarantee": Guarantee(500.0, 1e-6)}, "epsilon is 500.0"),
        ({"guarantee": Guarantee(math.nan, 1e-6)}, "epsilon is nan"),
        ({"guarantee": Guarantee(1.0, 0.0)}, "delta is 0, but damped-square-root draws Gaussian noise"),
        ({"guarantee": Guarantee(1.0, 1.0)}, "delta is 1.0"),
        ({"guarantee": Guarantee(1.0, -1e-6)}, "delta is -1e-06"),
        ({"mechanism": "laplace", "guarantee": Guarantee(0.0, 0.0)}, "epsilon is 0.0"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        plan_release(request(**changes))


@each(
    ("changes", "message"),
    [
        ({"guarantee": Guarantee(1e-13, 1e-13)}, "epsilon is 1e-13"),
        ({"guarantee": Guarantee(1e-8, 0.0), "mechanism": "laplace"}, "epsilon is 1e-08"),
        ({"shares": {"dau": 1.0, "mau": math.inf}}, "shares are"),
        ({"guarantee": Guarantee(1.0, -5.0), "mechanism": "laplace"}, "delta is -5"),
        ({"windows": {"dau": 1.5, "mau": 30}}, "window is 1.5"),
    ],
)
def test_extreme_requests_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        plan_release(request(**changes))


def test_the_extremes_that_are_allowed_can_be_planned():
    for epsilon, delta in ((100.0, 1e-6), (100.0, 1e-30), (1e-6, 1e-30), (1.0, 0.5)):
        (series,) = plan_release(request("mau", guarantee=Guarantee(epsilon, delta))).series
        assert series.guarantee == Guarantee(epsilon, delta)
        assert series.mechanism.noise.scale > 10**6


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISM_NAMES)
@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_a_plan_spends_the_whole_guarantee_and_no_more(name, unit):
    plan = plan_release(request("dau", "wau", "mau", mechanism=name, unit=unit, w_bound=4))
    assert [series.metric for series in plan.series] == ["dau", "wau", "mau"]
    assert charged(plan.request).epsilon == plan.request.guarantee.epsilon
    spent = [GRID * series.mechanism.sensitivity / series.mechanism.noise.scale for series in plan.series]
    if MECHANISMS[name].noise == "laplace":
        assert math.fsum(spent) <= 1.0
        assert math.fsum(spent) == pytest.approx(1.0, rel=1e-6)
    else:
        assert math.hypot(*spent) == pytest.approx(mu_for(1.0, 1e-6), rel=1e-6)
        assert math.hypot(*spent) <= mu_for(1.0, 1e-6)
    assert all(0 < series.guarantee.epsilon < 1 for series in plan.series)


def test_a_single_series_promises_what_was_asked_for():
    plan = plan_release(request("mau"))
    assert plan.series[0].guarantee == Guarantee(1.0, 1e-6)


@each(("mechanism", "delta"), [("laplace", 0.0), ("laplace", 1e-6), ("gaussian", 1e-6)])
def test_pure_noise_is_charged_no_delta(mechanism, delta):
    plan = plan_release(request(mechanism=mechanism, guarantee=Guarantee(1.0, delta)))
    assert charged(plan.request) == Guarantee(1.0, 0.0 if mechanism == "laplace" else delta)


def test_a_specification_is_plain_json_and_tells_requests_apart():
    plain = request().specification()
    assert json.loads(json.dumps(plain)) == plain
    assert default_stream(request(), "log").startswith("log-dau-mau-")
    others = [
        request(w_bound=4), request(mechanism="gaussian"), request("mau"),
        request(first=FIRST + timedelta(days=1)), request(guarantee=Guarantee(1.0, 2e-6)), request(unit="user"),
        request(shares={"dau": 1.0, "mau": 2.0}),
    ]  # fmt: skip
    keys = [default_stream(other, "log") for other in [request(), *others]]
    keys += [default_stream(request(), "another log"), default_stream(request(), "log", "otherwise")]
    assert len(set(keys)) == len(keys)
    # These a stream has once and for all: whoever asks for others is told so, and not charged again.
    shares = {"mau": 3.0, "dau": 3.0}
    turned = request(windows=dict(reversed(request().windows.items())), shares=shares)
    for same in (request(), request(horizon=25), request(ci_level=0.9), request(shares=shares), turned):
        assert default_stream(same, "log") == keys[0]


@each(
    ("changes", "words"),
    [
        ({}, ["(1, 1e-06)-differential privacy over all 24 days together", "one day", "at most 2 times"]),
        ({"horizon": None}, ["however many days are published"]),
        ({"mechanism": "laplace", "guarantee": Guarantee(0.5, 1e-6)}, ["(0.5, 0)-differential privacy"]),
        ({"unit": "user", "w_bound": 8}, ["everything that one user ever does", "frozen after 8 changes"]),
        ({"mechanism": "sparse-vector"}, ["one day", "however often that changes the user's presence"]),
        ({"mechanism": "sparse-vector", "unit": "user"}, ["one user ever does, however often", "nobody is frozen"]),
        ({"mechanism": "adaptive-flippancy", "unit": "user"}, ["frozen after as many changes", "as the rows say"]),
    ],
)
def test_the_promise_in_words(changes, words):
    sentence = promise(request(**changes))
    assert all(part in sentence for part in words)


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_plan_says_which_counts_it_needs(name):
    """W_BOUND is enforced by freezing users, where the proof uses it, and nowhere else."""
    for unit in ("user-day", "user"):
        if name == "adaptive-flippancy" and unit == "user-day":
            continue
        plan = plan_release(request("mau", mechanism=name, unit=unit, w_bound=4))
        expected = {"sparse-vector": None, "adaptive-flippancy": (2, 8, 32)}.get(name, 4 if unit == "user" else None)
        assert plan.freeze == expected
        same = plan_release(request("mau", mechanism=name, unit=unit, w_bound=6)).request.specification()
        assert (same == plan.request.specification()) == (name in DATA_DEPENDENT_NAMES)
    assert {other for other in MECHANISMS if not freezes("user", other)} == set(DATA_DEPENDENT_NAMES)


# --- Publishing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MECHANISM_NAMES)
@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_publishing_is_idempotent(ledger, name, unit):
    plan = plan_release(request(mechanism=name, unit=unit))
    rows = publish(ledger, "stream", "team", plan, first_ticks(HORIZON), NOW)
    assert publish(ledger, "stream", "team", plan, first_ticks(HORIZON), NOW + timedelta(days=99)) == rows
    assert published(ledger, "stream", dict.fromkeys(["dau", "mau"], HORIZON)) == rows
    assert len(rows) == 2 * HORIZON
    assert len(ledger.charges()) == 1
    assert ledger.budget("team").spent == charged(plan.request)


@pytest.mark.parametrize("name", MECHANISM_NAMES)
def test_a_stream_resumed_by_longer_counts_keeps_its_past_byte_for_byte(ledger, name):
    plan = plan_release(request(mechanism=name))
    steep = 10_000 * np.arange(1, HORIZON + 1)
    past: dict[str, list[str]] = {"dau": [], "mau": []}
    for ticks in (1, 2, 7, 8, 15, 17, HORIZON):
        rows = publish(ledger, "stream", "team", plan, {metric: steep[:ticks] for metric in past}, NOW)
        for metric, earlier in past.items():
            now = of_metric(rows, metric)
            assert now[: len(earlier)] == earlier
            assert len(now) == len(ledger.releases("stream", metric)) == ticks
            past[metric] = now
    assert len(ledger.charges()) == 1
    for series in plan.series:
        half_width = series.mechanism.half_width(0.95, HORIZON)
        deviation = series.mechanism.standard_deviation(HORIZON)
        for tick, row in enumerate(json.loads(text) for text in past[series.metric]):
            assert row["day"] == (FIRST + timedelta(days=tick)).isoformat()
            # 26 deviations are far out for Laplace noise too; a count of another day is at least 10,000 users off.
            assert abs(row["estimate"] - steep[tick]) < min(26 * row["std"], 9000)
            assert row["ci_high"] - row["estimate"] == pytest.approx(half_width[tick])
            assert row["std"] == pytest.approx(deviation[tick])


def counts_for(plan: Plan, ticks: int) -> dict[str, np.ndarray]:
    """Counts as the plan needs them; for several bounds, more and more of the users are frozen, fewer by the higher."""
    counts = first_ticks(ticks, *plan.request.windows)
    if not isinstance(plan.freeze, tuple):
        return counts
    frozen = np.array([np.minimum(3 * np.arange(ticks) // (level + 1), 60) for level in range(len(plan.freeze))])
    return {
        metric: np.stack([series - frozen, frozen], axis=-1).transpose(1, 0, 2).reshape(ticks, -1)
        for metric, series in counts.items()
    }


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_is_released_end_to_end(ledger, name):
    """Simulated, published in two pieces and asked for again, for a class that it serves."""
    units = ["user"] if name == "adaptive-flippancy" else ["user-day", "user"]
    for unit in units:
        plan = plan_release(request(mechanism=name, unit=unit, w_bound=4))
        simulated = simulate_rows(plan, counts_for(plan, HORIZON), seed=5)
        early = publish(ledger, unit, "team", plan, counts_for(plan, 9), NOW)
        rows = publish(ledger, unit, "team", plan, counts_for(plan, HORIZON), NOW)
        assert rows == publish(ledger, unit, "team", plan, counts_for(plan, HORIZON), NOW)
        assert len(rows) == len(simulated) == 2 * HORIZON
        for metric in ("dau", "mau"):
            assert of_metric(rows, metric)[:9] == of_metric(early, metric)
        for secure, text in ((False, None), (True, rows)):
            read = simulated if text is None else [json.loads(row) for row in text]
            assert json.loads(json.dumps(read, allow_nan=False)) == read
            assert {(row["mechanism"], row["unit"], row["secure"]) for row in read} == {(name, unit, secure)}
            for row in read:
                assert row.keys() >= FIELDS
                assert (row["ci_low"] is None) == (row["ci_high"] is None)
                assert row["ci_low"] is None or row["ci_low"] < row["estimate"] < row["ci_high"]
    assert ledger.budget("team").spent.epsilon == len(units)


def test_sparse_vector_has_no_interval_where_it_did_not_look(ledger):
    plan = plan_release(request("mau", mechanism="sparse-vector", horizon=None, guarantee=Guarantee(1.0, 0.0)))
    assert plan.series[0].guarantee == charged(plan.request) == Guarantee(1.0, 0.0)
    jumps = {"mau": np.repeat([0, 5000, 0, 5000, 0], 12)}
    rows = [json.loads(row) for row in publish(ledger, "stream", "team", plan, jumps, NOW)]
    assert rows[0]["std"] > 0
    assert {row["std"] for row in rows[1:]} == {None}
    assert {row["w_bound"] for row in rows} == {None}
    looked = [row for row in rows if row["ci_low"] is not None]
    assert 0 < len(looked) < len(rows)
    for row in looked:
        # A jump of 5,000 users is far out of any band: what was looked at is near the truth.
        tick = (date.fromisoformat(row["day"]) - FIRST).days
        assert abs(row["estimate"] - jumps["mau"][tick]) < 1000


def test_adaptive_flippancy_says_the_bound_of_each_day_and_what_may_be_missing():
    plan = plan_release(request("dau", mechanism="adaptive-flippancy", unit="user", guarantee=Guarantee(50.0, 1e-6)))
    (series,) = plan.series
    counts = np.zeros((HORIZON, 6), dtype=np.int64)
    counts[:, ::2] = 500
    counts[8:, 1] = 400  # far above any threshold: the first level is left on the ninth tick
    rows = simulate_rows(plan, {"dau": counts}, seed=3)
    assert [row["w_bound"] for row in rows] == [2] * 8 + [8] * (HORIZON - 8)
    bias = dict(zip(series.mechanism.bounds, series.mechanism.bias_bound(0.95), strict=True))
    assert all(row["bias_bound"] == bias[row["w_bound"]] for row in rows)
    assert 0 < bias[2] < 400


@pytest.mark.parametrize("name", ["adaptive-flippancy", "sparse-vector"])
def test_counts_of_another_shape_cost_nothing(ledger, name):
    plan = plan_release(request("dau", mechanism=name, unit="user"))
    wrong = np.zeros((HORIZON, 2), dtype=np.int64)
    for counts in (wrong, wrong[:, 0]) if name == "adaptive-flippancy" else (wrong,):
        with pytest.raises(ValueError, match="counts of dau have the shape"):
            publish(ledger, "stream", "team", plan, {"dau": counts}, NOW)
    assert ledger.charges() == []


def test_a_stream_whose_frozen_users_changed_is_not_continued(ledger):
    plan = plan_release(request("dau", mechanism="adaptive-flippancy", unit="user"))
    counts = counts_for(plan, HORIZON)["dau"]
    publish(ledger, "stream", "team", plan, {"dau": counts[:9]}, NOW)
    rewritten = counts.copy()
    rewritten[5, 3] += 1
    with pytest.raises(LedgerError, match="past is not what it was"):
        publish(ledger, "stream", "team", plan, {"dau": rewritten}, NOW)


def test_a_shorter_call_gives_the_beginning(ledger):
    plan = plan_release(request())
    rows = publish(ledger, "stream", "team", plan, first_ticks(HORIZON), NOW)
    shorter = publish(ledger, "stream", "team", plan, first_ticks(5), NOW)
    assert shorter == of_metric(rows, "dau")[:5] + of_metric(rows, "mau")[:5]


@pytest.mark.parametrize("unit", ["user-day", "user"])
@pytest.mark.parametrize("changed", [0, 4, 9])
def test_a_stream_whose_past_changed_is_not_continued(ledger, unit, changed):
    plan = plan_release(request("mau", unit=unit))
    early = publish(ledger, "stream", "team", plan, first_ticks(10, "mau"), NOW)
    rewritten = COUNTS["mau"].copy()
    rewritten[changed] += 1
    with pytest.raises(LedgerError, match="past is not what it was"):
        publish(ledger, "stream", "team", plan, {"mau": rewritten}, NOW)
    assert published(ledger, "stream", dict.fromkeys(["mau"], HORIZON)) == early
    # What was published stays available, whatever the log has become.
    assert publish(ledger, "stream", "team", plan, {"mau": rewritten[:10]}, NOW) == early
    assert publish(ledger, "stream", "team", plan, first_ticks(HORIZON, "mau"), NOW)[:10] == early


def test_a_stream_whose_operations_changed_under_equal_counts_is_not_continued(ledger):
    plan = plan_release(request("mau"))
    asked = []

    def arrived(through):
        asked.append(through)
        return "as they were"

    early = publish(ledger, "stream", "team", plan, first_ticks(10, "mau"), NOW, arrived=arrived)
    assert asked == [FIRST + timedelta(days=9)]
    with pytest.raises(LedgerError, match="past is not what it was"):
        publish(ledger, "stream", "team", plan, first_ticks(HORIZON, "mau"), NOW, arrived=lambda through: "rewritten")
    rows = publish(ledger, "stream", "team", plan, first_ticks(HORIZON, "mau"), NOW, arrived=arrived)
    assert rows[:10] == early
    assert asked[1:] == [FIRST + timedelta(days=9), FIRST + timedelta(days=HORIZON - 1)]


@each(
    ("name", "unit", "w_bound", "horizon", "known"),
    [
        ("laplace", "user-day", 2, 365, "d17755265a58fc08"),
        ("gaussian", "user-day", 2, 365, "18666c5a105f43f8"),
        ("binary-tree", "user-day", 2, 365, "aebb0ed0c5e4eafb"),
        ("honaker-tree", "user", 8, 120, "92827650e4cc9c6b"),
        ("square-root", "user-day", 2, 365, "d7405f63ee9a61f0"),
        ("square-root", "user", 8, 120, "bcce59c48c4caac9"),
    ],
)
def test_streams_of_earlier_versions_can_be_continued(name, unit, w_bound, horizon, known):
    """What names strategy and noise in a stream's state must stay, for as long as both do."""
    guarantee = Guarantee(1.0, 0.0 if name == "laplace" else 1e-6)
    chosen = design(name, protected_class(unit, 30, w_bound, horizon))
    mechanism = calibrate_designs([chosen] * 2, guarantee, [1.0, 2.0])[0]
    assert _name_mechanism(mechanism)[:16] == known


def test_a_stream_is_not_continued_with_another_strategy_or_noise(ledger):
    plan = plan_release(request("mau"))
    early = publish(ledger, "stream", "team", plan, first_ticks(10, "mau"), NOW)
    (series,) = plan.series
    weights = series.mechanism.strategy.weights
    other_strategy = replace(series.mechanism, strategy=replace(series.mechanism.strategy, weights=weights[:-1]))
    other_noise = replace(
        series.mechanism, noise=replace(series.mechanism.noise, scale=series.mechanism.noise.scale + 1)
    )
    for mechanism in (other_strategy, other_noise):
        recalibrated = replace(plan, series=(replace(series, mechanism=mechanism),))
        with pytest.raises(LedgerError, match="another strategy or noise"):
            publish(ledger, "stream", "team", recalibrated, first_ticks(HORIZON, "mau"), NOW)
    assert published(ledger, "stream", dict.fromkeys(["mau"], HORIZON)) == early


@pytest.mark.parametrize("secure", [True, False])
def test_rows_carry_the_data_in_estimates_and_intervals_only(ledger, secure):
    """Two neighbouring logs, and two fingerprints of them, give rows that differ nowhere else."""
    plan = plan_release(request())
    neighbour = {metric: counts + 1 for metric, counts in first_ticks(HORIZON).items()}
    if secure:
        pair = [
            [json.loads(row) for row in publish(ledger, key, "team", plan, counts, NOW, data=key)]
            for key, counts in (("one", first_ticks(HORIZON)), ("other", neighbour))
        ]
    else:
        pair = [simulate_rows(plan, counts, seed=1) for counts in (first_ticks(HORIZON), neighbour)]
    for row, other in zip(*pair, strict=True):
        differing = {name for name in row if row[name] != other[name]}
        # The second release leaves less of the budget, which charges alone decide.
        assert differing - {"budget_remaining"} <= {"estimate", "ci_low", "ci_high"}
        assert not {"stream", "data"} & set(row)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDLESS_NAMES)
def test_a_stream_without_an_end_goes_on(ledger, name):
    plan = plan_release(request("mau", mechanism=name, horizon=None))
    rows = publish(ledger, "stream", "team", plan, {"mau": np.full(400, 50)}, NOW)
    longer = publish(ledger, "stream", "team", plan, {"mau": np.full(420, 50)}, NOW)
    assert longer[:400] == rows
    assert len(longer) == 420
    assert json.loads(longer[-1])["std"] == pytest.approx(json.loads(longer[399])["std"], rel=1e-4)


def test_every_row_says_what_it_is(ledger):
    plan = plan_release(request("dau", "wau", "mau", shares={"dau": 1.0, "wau": 1.0, "mau": 2.0}))
    rows = [json.loads(row) for row in publish(ledger, "s1", "team", plan, COUNTS, NOW)]
    assert [row["metric"] for row in rows] == ["dau"] * HORIZON + ["wau"] * HORIZON + ["mau"] * HORIZON
    for series, start in zip(plan.series, (0, HORIZON, 2 * HORIZON), strict=True):
        half_width = series.mechanism.half_width(0.95, HORIZON)
        deviation = series.mechanism.standard_deviation(HORIZON)
        for tick, row in enumerate(rows[start : start + HORIZON]):
            assert row.keys() >= FIELDS
            assert row["day"] == (FIRST + timedelta(days=tick)).isoformat()
            assert row["window"] == METRICS[series.metric]
            assert row["ci_high"] - row["estimate"] == pytest.approx(half_width[tick])
            assert row["estimate"] - row["ci_low"] == pytest.approx(half_width[tick])
            assert row["std"] == pytest.approx(deviation[tick])
            assert (row["epsilon"], row["delta"]) == series.guarantee
            assert (row["epsilon_total"], row["delta_total"]) == (1.0, 1e-6)
            assert (row["ci_level"], row["unit"], row["w_bound"]) == (0.95, "user-day", 2)
            assert (row["mechanism"], row["sketch"]) == ("damped-square-root", "exact")
            assert row["budget_remaining"] == 9.0
            assert row["secure"] is True
            assert abs(row["estimate"] - COUNTS[series.metric][tick]) < 8 * row["std"]


def test_the_noise_is_real(ledger):
    plan = plan_release(request())
    first = publish(ledger, "one", "team", plan, first_ticks(HORIZON), NOW)
    second = publish(ledger, "two", "team", plan, first_ticks(HORIZON), NOW)
    estimates = [[json.loads(row)["estimate"] for row in rows] for rows in (first, second)]
    # On a grid of 2⁻²⁴ users a single coincidence among 2,304 pairs has probability 5e-6, two are out of the question.
    assert len(set(estimates[0]) & set(estimates[1])) <= 1
    assert len(ledger.charges()) == 2
    assert ledger.budget("team").spent == Guarantee(2.0, 2e-6)


def test_a_horizon_is_exceeded_before_anything_is_charged(ledger):
    plan = plan_release(request("mau"))
    too_long = {"mau": np.ones(25, dtype=int)}
    with pytest.raises(ValueError, match="25 ticks were asked for, but the guarantee covers a horizon of 24"):
        publish(ledger, "stream", "team", plan, too_long, NOW)
    assert ledger.charges() == []
    with pytest.raises(ValueError, match="25 ticks"):
        simulate_rows(plan, too_long, seed=1)
    publish(ledger, "stream", "team", plan, first_ticks(HORIZON, "mau"), NOW)
    with pytest.raises(ValueError, match="25 ticks"):
        publish(ledger, "stream", "team", plan, {"mau": np.ones(25, dtype=int)}, NOW)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"w_bound": 4}, "w_bound is 4 now and was 2"),
        ({"horizon": 60}, "horizon is 60 now and was 24"),
        ({"ci_level": 0.9}, "ci_level is 0.9 now and was 0.95"),
        ({"guarantee": Guarantee(2.0, 1e-6)}, "guarantee is"),
        ({"mechanism": "gaussian"}, "mechanism is 'gaussian' now"),
    ],
)
def test_another_specification_of_a_stream_is_refused(ledger, changes, difference):
    rows = publish(ledger, "stream", "team", plan_release(request()), first_ticks(9), NOW)
    with pytest.raises(LedgerError, match=difference):
        publish(ledger, "stream", "team", plan_release(request(**changes)), first_ticks(HORIZON), NOW)
    assert published(ledger, "stream", dict.fromkeys(["dau", "mau"], HORIZON)) == rows
    assert ledger.budget("team").spent.epsilon == 1.0


def test_other_data_under_a_bound_stream_are_refused(ledger):
    plan = plan_release(request())
    publish(ledger, "stream", "team", plan, first_ticks(9), NOW, data="fingerprint A")
    with pytest.raises(LedgerError, match="data is 'fingerprint B' now and was 'fingerprint A'"):
        publish(ledger, "stream", "team", plan, first_ticks(9), NOW, data="fingerprint B")


def test_an_exhausted_budget_releases_nothing(ledger):
    plan = plan_release(request(guarantee=Guarantee(6.0, 1e-6)))
    publish(ledger, "one", "team", plan, first_ticks(3), NOW)
    with pytest.raises(BudgetExhausted, match=r"requested epsilon 6, .* spent epsilon 6 of 10, .* remaining epsilon 4"):
        publish(ledger, "two", "team", plan, first_ticks(3), NOW)
    assert published(ledger, "two", dict.fromkeys(["dau", "mau"], HORIZON)) == []
    assert [entry.stream for entry in ledger.charges()] == ["one"]


def test_a_failure_in_one_series_releases_none_and_keeps_the_charge(ledger):
    plan = plan_release(request())
    first, second = plan.series
    no_entropy = replace(second, mechanism=replace(second.mechanism, noise=NoEntropy()))
    with pytest.raises(OSError, match="no entropy"):
        publish(ledger, "stream", "team", replace(plan, series=(first, no_entropy)), first_ticks(HORIZON), NOW)
    assert published(ledger, "stream", dict.fromkeys(["dau", "mau"], HORIZON)) == []
    assert len(ledger.charges()) == 1
    rows = publish(ledger, "stream", "team", plan, first_ticks(HORIZON), NOW)
    assert len(rows) == 2 * HORIZON
    assert len(ledger.charges()) == 1


@pytest.mark.parametrize(
    "counts",
    [
        {"dau": COUNTS["dau"]},
        {"dau": COUNTS["dau"], "mau": -COUNTS["mau"]},
        {"dau": COUNTS["dau"], "mau": COUNTS["mau"] + 0.5},
        {"dau": COUNTS["dau"], "mau": COUNTS["mau"] + 2**37},
    ],
    ids=["a metric is missing", "negative", "not whole", "too large"],
)
def test_counts_that_cannot_be_released_cost_nothing(ledger, counts):
    with pytest.raises((ValueError, LedgerError)):
        publish(ledger, "stream", "team", plan_release(request()), counts, NOW)
    assert ledger.charges() == []


def test_a_resumed_stream_stays_with_its_budget(ledger):
    ledger.create_budget("other", Guarantee(10.0, 1e-4), FIRST, None)
    plan = plan_release(request("mau"))
    publish(ledger, "stream", "team", plan, first_ticks(5, "mau"), NOW)
    try:
        rows = publish(ledger, "stream", "other", plan, first_ticks(9, "mau"), NOW)
    except LedgerError:
        return
    assert {json.loads(row)["budget"] for row in rows} == {"team"}


# --- Simulating ------------------------------------------------------------------------------------------------------


def test_simulated_rows_are_reproducible_and_say_that_they_are_not_secure():
    plan = plan_release(request())
    rows = simulate_rows(plan, first_ticks(HORIZON), seed=7)
    assert rows == simulate_rows(plan, first_ticks(HORIZON), seed=7)
    assert rows != simulate_rows(plan, first_ticks(HORIZON), seed=8)
    assert len(rows) == 2 * HORIZON
    for row in rows:
        assert row.keys() >= FIELDS
        assert row["secure"] is False
        assert row["budget_remaining"] is None
    assert json.loads(json.dumps(rows)) == rows


def test_another_metric_changes_no_noise():
    # Beside others dau has a smaller share of the budget, so that its errors are compared in standard deviations.
    def errors(*metrics: str) -> np.ndarray:
        rows = simulate_rows(plan_release(request(*metrics)), first_ticks(HORIZON, *metrics), seed=7)
        return np.array(
            [
                (row["estimate"] - COUNTS["dau"][tick % HORIZON]) / row["std"]
                for tick, row in enumerate(row for row in rows if row["metric"] == "dau")
            ]
        )

    np.testing.assert_allclose(errors("dau"), errors("mau", "dau", "wau"), atol=1e-6)
    np.testing.assert_allclose(errors("dau"), errors("dau", "wau"), atol=1e-6)


def test_metrics_have_different_noise():
    rows = simulate_rows(
        plan_release(request("dau", "wau", mechanism="gaussian", windows={"dau": 1, "wau": 1})),
        {"dau": COUNTS["dau"], "wau": COUNTS["dau"]},
        seed=7,
    )
    assert not {row["estimate"] for row in rows[:HORIZON]} & {row["estimate"] for row in rows[HORIZON:]}


@each("name", MECHANISM_NAMES)
def test_simulate_has_the_mean_and_deviation_it_states(name):
    mechanism = plan_release(request("mau", mechanism=name)).series[0].mechanism
    trials = 20_000
    estimates = mechanism.simulate(COUNTS["mau"], trials, np.random.default_rng(11))
    assert estimates.shape == (trials, HORIZON)
    deviation = mechanism.standard_deviation(HORIZON)
    scores = (estimates.mean(axis=0) - COUNTS["mau"]) / (deviation / math.sqrt(trials))
    assert np.abs(scores).max() < 4.5
    # The relative error of a standard deviation is √((κ − 1)/4n) with κ ≤ 6 (Laplace): 0.8 %, so 3 % is almost 4.
    np.testing.assert_allclose(estimates.std(axis=0), deviation, rtol=0.03)


def test_the_simulation_and_the_release_run_the_same_mechanism(ledger):
    """200 published ticks of independent noise have the deviation of the simulation (a factor 1.5 is caught surely)."""
    plan = plan_release(request("dau", mechanism="gaussian", horizon=200))
    rows = [json.loads(row) for row in publish(ledger, "stream", "team", plan, {"dau": np.zeros(200, dtype=int)}, NOW)]
    simulated = plan.series[0].mechanism.simulate(np.zeros(200, dtype=np.int64), 50, np.random.default_rng(12))
    ratio = np.std([row["estimate"] for row in rows]) / simulated.std()
    # Relative standard error 1/√400 = 5 %: the band is six of them, a wrong run once in 10⁸.
    assert 0.7 < ratio < 1.3


@each("changes", [
    {}, {"mechanism": "gaussian"}, {"unit": "user", "w_bound": 8}, {"horizon": None, "mechanism": "damped-square-root"},
    {"mechanism": "laplace", "guarantee": Guarantee(1.0, 0.0)}, {"shares": {"dau": 1.0, "mau": 3.0}, "ci_level": 0.5},
    {"unit": "user", "on_time": Exceptions(2, 1)}, {"sketch": "bitmap"}, {"mechanism": "sparse-vector"},
    {"sketch": "fixed-rate", "sample": Sample(0.25, "abcd")},
])  # fmt: skip
def test_a_request_comes_back_from_its_specification(changes):
    made = request(**changes)
    specification = json.loads(json.dumps(made.specification()))
    assert request_of(specification).specification() == made.specification()
    assert request_of(specification).flip_bound == made.flip_bound


@each(("name", "dated"), [
    ("events-2024-05-01", "2024-05-01"), ("logs/events_20240501", "20240501"), ("events.2024.05.01", "2024.05.01"),
    ("2024-05-01/events", "2024-05-01"), ("2024/05/01/events", "2024/05/01"), ("day=2024-05-01/several", "2024-05-01"),
    ("year=2024/month=05/day=31/several", "2024/05/31"), ("events-01.05.2024", "01.05.2024"),
    ("events-05-31-2024", "05-31-2024"), ("events-2024-05", "2024-05"), ("events 2024_12", "2024_12"),
    ("events-2024-W18", "2024-W18"), ("20240501T0000-events", "20240501"), ("dump-20240501235959", "20240501"),
    ("s3://bucket/2024-05-01.parquet", "2024-05-01"), ("events-2024-5-1", None), ("events", None), ("log.2024", None),
    ("events-2024-13-01", None), ("events-2024-00", None), ("run-120240501", None), ("top-2000", None),
    ("events-v1.20.30", None), ("order-2024-99", None), ("id-202405011", None),
])  # fmt: skip
def test_a_date_in_the_name_of_a_log_is_found(name: str, dated: str | None) -> None:
    assert date_in(name) == dated
