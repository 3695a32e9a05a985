"""A plan takes counts that were counted as it says, and refuses all others before anything is charged or drawn."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dp.accounting.composition import Guarantee
from dp.counts import Counts, Sample
from dp.ledger import open_ledger
from dp.log import read_log
from dp.mechanisms import MECHANISMS
from dp.mechanisms.joint import Exceptions
from dp.presence import DuckDBEngine
from dp.release import (
    Plan,
    Request,
    count_log,
    engine_counts,
    own_counts,
    plan_release,
    publish,
    simulate_rows,
    stated_counts,
)
from dp.sketches.salts import Salt, Salts
from dp.sketches.sampling import sample_in_force

NOW = datetime(2026, 6, 1)
FIRST = date(2026, 1, 1)
TICKS = 24
LAST = FIRST + timedelta(days=TICKS - 1)
SALTS = Salts(((date.min, Salt(bytes(range(16)))), (FIRST + timedelta(days=9), Salt(bytes(range(16, 32))))))


def plan_of(**changes) -> Plan:
    usual = Request(
        {"mau": 30}, "user", 8, Guarantee(1.0, 1e-6), "damped-square-root", FIRST, TICKS, {"mau": 1.0}
    )  # fmt: skip
    return plan_release(replace(usual, **changes))


CHANGES = {
    "user": {},
    "user, another bound": dict(w_bound=2),
    "user-day": dict(unit="user-day", w_bound=2),
    "another window": dict(windows={"mau": 28}),
    "another first tick": dict(first=FIRST + timedelta(days=1), horizon=TICKS - 1),
    "adaptive-flippancy": dict(mechanism="adaptive-flippancy"),
    "sparse-vector": dict(mechanism="sparse-vector"),
    "on time": dict(on_time=Exceptions(1, 0)),
    "a sample": dict(sketch="fixed-rate", sample=sample_in_force(0.5, SALTS, FIRST, TICKS)),
    "a smaller sample": dict(sketch="fixed-rate", sample=sample_in_force(0.25, SALTS, FIRST, TICKS)),
    "a sample by another salt": dict(sketch="fixed-rate", sample=Sample(0.5, "00000000")),
    "a sample that rotates elsewhere": dict(
        sketch="fixed-rate",
        sample=replace(sample_in_force(0.5, SALTS, FIRST, TICKS), rotations=((5, "00000000"),)),
    ),
}
ALIKE = [{"user-day", "sparse-vector", "on time"}]
"""Plans for which the same counts are right: nobody is frozen."""


@cache
def plan_called(name: str) -> Plan:
    return plan_of(**CHANGES[name])


@pytest.fixture(scope="module")
def log_file(tmp_path_factory) -> Path:
    """Users who come and go every day: the more flips are counted, the fewer users stay frozen."""
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    rows = [
        f"u{user},{FIRST + timedelta(days=tick)},{op},{FIRST + timedelta(days=tick + lag)}"
        for user in range(40)
        for tick in range(user % 3, TICKS, 2)
        for lag, op in ((0, "+"), (1, "-"))
    ]
    path.write_text("user,day,op,at\n" + "\n".join(rows))
    return path


@pytest.fixture(scope="module")
def counted(log_file: Path) -> dict[str, dict[str, Counts]]:
    with read_log(log_file) as log:
        known = {}
        for name in CHANGES:
            if "salt" not in name and "elsewhere" not in name:
                known[name] = count_log(log, plan_called(name), LAST, salts=SALTS)
    return known


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_takes_its_own_counts_and_no_others(name: str, counted: dict[str, dict[str, Counts]], tmp_path) -> None:
    plan = plan_called(name)
    right = {other for alike in ALIKE if name in alike for other in alike} | {name}
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.create_budget("team", Guarantee(1000.0, 0.5), FIRST, None)
        for other, counts in counted.items():
            if other in right:
                assert len(simulate_rows(plan, counts, 1)) == len(counts["mau"])
                assert publish(ledger, other, "team", plan, counts, NOW)
            else:
                for release in (
                    lambda counts=counts: publish(ledger, "refused", "team", plan, counts, NOW),
                    lambda counts=counts: simulate_rows(plan, counts, 1),
                ):
                    with pytest.raises(ValueError, match="counts of mau are not this plan's"):
                        release()
        assert "refused" not in [charge.stream for charge in ledger.charges()]


def test_counts_that_froze_nobody_are_refused_in_words(counted: dict[str, dict[str, Counts]]) -> None:
    free, frozen = counted["user-day"]["mau"], counted["user"]["mau"]
    # What a reader would have been told is another number.
    assert free.values.max() > 1.5 * frozen.values[-1]
    with pytest.raises(ValueError, match=r"nobody is frozen, but what is promised needs counts in which users are fro"):
        own_counts(plan_called("user"), {"mau": free})
    with pytest.raises(ValueError, match="users are frozen after 8 changes of presence, but what"):
        own_counts(plan_called("user, another bound"), {"mau": frozen})
    with pytest.raises(ValueError, match=r"after 2, 8, 32 changes of presence, column by column"):
        own_counts(plan_called("adaptive-flippancy"), {"mau": frozen})
    with pytest.raises(ValueError, match="they count all users, but the request is for a sample"):
        own_counts(plan_called("a sample"), {"mau": frozen})


def test_a_bare_array_is_refused_until_somebody_states_how_it_was_counted() -> None:
    values = {"mau": np.full(TICKS, 40)}
    with pytest.raises(ValueError, match="bare ndarray, which does not say how they were counted"):
        publish(None, "s", "team", plan_called("user"), values, NOW)  # type: ignore[arg-type]
    stated = stated_counts(plan_called("user"), values)
    assert (stated["mau"].freeze, stated["mau"].window, stated["mau"].first) == (8, 30, FIRST)
    assert len(simulate_rows(plan_called("user"), stated, 1)) == TICKS


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_every_mechanism_is_counted_as_it_needs(name: str, unit: str, log_file: Path) -> None:
    if (name, unit) == ("adaptive-flippancy", "user-day"):
        pytest.skip("it serves the unit user only")
    pure = MECHANISMS[name].delta == "none"
    plan = plan_of(mechanism=name, unit=unit, w_bound=4, guarantee=Guarantee(1.0, 0.0 if pure else 1e-6))
    with read_log(log_file) as log:
        counts = count_log(log, plan, LAST)
        other = engine_counts(DuckDBEngine(log.connection), plan.request.windows, FIRST, LAST, 6)
    assert counts["mau"].freeze == plan.freeze
    assert own_counts(plan, counts)["mau"].shape[0] == TICKS
    with pytest.raises(ValueError, match="not this plan's"):
        own_counts(plan, other)


def test_what_a_service_publishes_says_how_it_was_counted() -> None:
    """Over one tick a user flips at most once, so that a fresh release may say any bound."""
    plan = plan_of(horizon=1)
    assert own_counts(plan, {"mau": Counts(np.array([7]), 30, FIRST, plan.freeze)})["mau"].tolist() == [7]
