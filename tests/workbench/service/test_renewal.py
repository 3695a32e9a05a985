"""The end of the horizon, and the next period: what it charges, what goes on, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dp.accounting.composition import Guarantee
from dp.ledger import BudgetExhausted, LedgerError, open_ledger
from dp.release import plan_release
from tests.oracles.service_model import FIRST, NOW, add, day, nearly_exact, settings_in
from tests.workbench.service.common import METRICS, opened, standing
from workbench.service import Refused, Service, Settings, horizon_advice
from workbench.service.doctor import examine
from workbench.service.opening import open_service
from workbench.service.settings import SettingsError

on_both = pytest.mark.usefixtures("database")
HORIZON = 3
USERS = [f"u{index}" for index in range(40)]


def over(folder: Path, **changes: Any) -> Settings:
    """A service whose horizon is over; the last thing that happened is that its third day was closed."""
    settings = nearly_exact(folder, first_day=FIRST, horizon=HORIZON, **changes)
    with opened(settings) as service:
        for index in range(HORIZON):
            service.ingest([add(user, index) for user in USERS[index::HORIZON]])
        service.close_through(day(HORIZON - 1))
    return settings


def changed(settings: Settings, **changes: Any) -> Settings:
    """The same files, set otherwise."""
    return nearly_exact(settings.key_path.parent, **{"first_day": FIRST, "horizon": HORIZON} | changes)


def estimates(service: Service, metric: str) -> list[tuple[str, float]]:
    rows = [json.loads(row) for row in service.releases(metric)]
    return [(row["day"], row["estimate"]) for row in rows]


def near(count: int) -> Any:
    """What an estimate of a count is like, whose deviation is below 0.2."""
    return pytest.approx(count, abs=1.5)


@on_both
@pytest.mark.slow
def test_days_join_without_a_gap_and_windows_look_back_over_the_border(tmp_path: Path) -> None:
    settings = over(tmp_path)
    with opened(settings) as service:
        service.renewal.renew(confirmed=True)
        service.ingest([add("new", HORIZON)])
        service.close_through(day(2 * HORIZON - 1))
        days = [day(index).isoformat() for index in range(2 * HORIZON)]
        assert estimates(service, "dau") == list(zip(days, map(near, [14, 13, 13, 1, 0, 0]), strict=True))
        # Everybody of the first period is counted in the second.
        assert estimates(service, "mau") == list(zip(days, map(near, [14, 27, 40, 41, 41, 41]), strict=True))
        assert [count.truth for count in service.truth("mau").counts] == [14, 27, 40, 41, 41, 41]
        for index, text in enumerate(days):
            assert json.loads(service.release("wau", day(index)))["day"] == text
        assert service.status().last == day(2 * HORIZON - 1)
        assert json.loads(service.fresh("mau", day(1), "x"))["estimate"] == pytest.approx(27, abs=1)
        standing_before = standing(service)
    # Another process sees the same.
    with opened(settings) as service:
        assert standing(service) == standing_before
        assert [json.loads(row)["day"] for row in service.close(day(1))] == [days[1]] * 3


def test_a_close_behind_the_horizon_names_the_renewal_and_changes_nothing(tmp_path: Path) -> None:
    with opened(over(tmp_path)) as service:
        before = standing(service)
        with pytest.raises(Refused, match="dpdau renew") as refused:
            service.close(day(HORIZON))
        assert refused.value.kind == "horizon-over"
        assert standing(service) == before


def test_a_renewal_says_what_it_charges_and_waits_for_a_confirmation(tmp_path: Path) -> None:
    settings = over(tmp_path)
    with opened(settings) as service:
        before = standing(service)
        proposal = service.renewal.propose()
        for part in ("begins on 2026-01-04", "horizon of 3 days to 2026-01-06", "ε 300 and δ 0.003", "budget 'live'"):
            assert part in proposal.text
        assert "(500, 0.005)" in proposal.text, "DAU once, WAU and MAU twice, for a user-day at the border"
        with pytest.raises(Refused, match="Nothing was charged") as refused:
            service.renewal.renew(confirmed=False)
        assert refused.value.kind == "unconfirmed-renewal"
        assert standing(service) == before
        service.renewal.renew(confirmed=True)
        assert len(service.charges()) == 6
        assert service.budget().spent == pytest.approx((600, 6e-3))
        assert "(500, 0.005)" in service.promise
        assert "2 periods together" in service.promise
        assert "2026-01-04 to 2026-01-06" in service.promises["mau"]


@on_both
@pytest.mark.parametrize("named", [None, day(HORIZON)])
def test_a_renewal_that_is_repeated_charges_once(named: date | None, tmp_path: Path) -> None:
    settings = over(tmp_path)
    for _ in range(3):
        with opened(settings) as service:
            assert service.renewal.renew(named, confirmed=True).period.first == day(HORIZON)
            assert len(service.charges()) == 6
    with opened(settings) as service:
        service.close(day(HORIZON))
        # By its day a period is known also when it has begun.
        service.renewal.renew(day(HORIZON), confirmed=True)
        with pytest.raises(Refused, match="2 of 3 days") as refused:
            service.renewal.renew(confirmed=True)
        assert refused.value.kind == "not-over"
        assert len(service.charges()) == 6


@on_both
def test_a_period_can_be_charged_before_the_one_that_runs_is_over(tmp_path: Path) -> None:
    settings = nearly_exact(tmp_path, first_day=FIRST, horizon=HORIZON)
    with opened(settings) as service:
        service.ingest([add(user, 0) for user in USERS])
        with pytest.raises(Refused, match="nothing to renew"):
            service.renewal.renew(day(HORIZON), confirmed=True)
        service.close(day(0))
        with pytest.raises(Refused, match=r"2 of 3 days .* dpdau renew --from 2026-01-04"):
            service.renewal.renew(confirmed=True)
        for wrong in (1, 2, 4):
            with pytest.raises(Refused, match="next one begins on 2026-01-04"):
                service.renewal.renew(day(wrong), confirmed=True)
        assert len(service.charges()) == 3
        for _ in range(2):
            service.renewal.renew(day(HORIZON), confirmed=True)
        with pytest.raises(Refused, match="has not begun"):
            service.renewal.renew(day(2 * HORIZON), confirmed=True)
        assert len(service.charges()) == 6
        service.close_through(day(2 * HORIZON - 1))
        assert estimates(service, "mau")[-1] == (day(2 * HORIZON - 1).isoformat(), near(len(USERS)))


@on_both
def test_a_period_that_is_charged_ahead_leaves_the_one_that_runs_as_it_is(tmp_path: Path) -> None:
    units = {f"{metric}__unit": "user" for metric in METRICS}
    settings = nearly_exact(tmp_path, first_day=FIRST, horizon=4, **units)
    after = changed(settings, horizon=5, mau__epsilon=50, dau__w_bound=4, **units)
    with opened(settings) as service:
        service.ingest([add("ann", 0), add("ann", 2)])
        service.close(day(0))
    with open_service(after, lambda: NOW, finish=False) as service:
        service.renewal.renew(day(4), confirmed=True)
    with pytest.raises(Refused, match=r"w_bound is 2 now and was 4.*last renewal") as refused, opened(settings):
        pass
    assert refused.value.kind == "other-settings"
    with opened(after) as service:
        service.ingest([add("ann", index) for index in (4, 6, 8)])
        service.close_through(day(8))
        rows = [json.loads(row) for row in service.releases("mau")]
        assert [(row["epsilon"], row["horizon"]) for row in rows] == [(100, 4)] * 4 + [(50, 5)] * 5
        # Frozen after two flips in the first period, after four in the second.
        assert [count.bounded for count in service.truth("dau").counts] == [1, 0, 0, 0, 1, 0, 1, 0, 0]


@on_both
def test_flips_are_counted_anew_and_leave_nothing_of_who_left(tmp_path: Path) -> None:
    units = {f"{metric}__unit": "user" for metric in METRICS}
    settings = nearly_exact(tmp_path, first_day=FIRST, horizon=4, fresh_days=0, **units)
    with opened(settings) as service:
        service.ingest([add("ann", 0), add("ann", 2), add("bob", 0)])
        service.close_through(day(1))
        service.erase("bob")
        service.close_through(day(3))
        with service.access.reading() as store:
            assert store.users_known() == 2, "bob's flips are known"
        service.renewal.renew(confirmed=True)
        service.ingest([add("ann", 4), add("bob", 5)])
        assert service.preview(day(4))["dau"].bounded == 1
        service.close(day(4))
        with service.access.reading() as store:
            assert store.users_known() == 1
        service.close_through(day(6))
        assert [count.bounded for count in service.truth("dau").counts] == [2, 0, 0, 0, 1, 1, 0]


CHANGES: list[dict[str, Any]] = [
    {"mau__epsilon": 7}, {"wau__delta": 1e-4}, {"dau__mechanism": "laplace"}, {"mau__w_bound": 4}, {"horizon": 9},
    {"horizon": "unlimited"}, {"mau__mechanism": "damped-square-root", "mau__epsilon": 50, "horizon": 30},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_what_a_renewal_may_change(change: dict[str, Any], tmp_path: Path) -> None:
    settings = changed(over(tmp_path), **change)
    with opened(settings) as service:
        period = service.renewal.renew(confirmed=True).period
        service.close(day(HORIZON))
        row = json.loads(service.release("mau", day(HORIZON)))
        assert (row["horizon"], row["mechanism"]) == (settings.horizon, settings.mau.mechanism)
        assert row["epsilon_total"] == settings.mau.epsilon
        assert period.last == (None if settings.horizon is None else day(HORIZON + settings.horizon - 1))
    with opened(settings) as service:
        service.close(day(HORIZON + 1))
        if settings.horizon is None:
            with pytest.raises(Refused, match="no end"):
                service.renewal.renew(confirmed=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mau__window": 28}, "mau.window is 28 now and was 30"),
        ({"wau__unit": "user"}, "wau.unit is 'user' now and was 'user-day'"),
        ({"timezone": "Asia/Tokyo"}, "timezone is 'Asia/Tokyo' now and was 'UTC'"),
        ({"ci_level": 0.9}, "ci_level is 0.9 now and was 0.95"),
    ],
)
def test_what_a_renewal_may_not_change_is_refused_by_name(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    settings = over(tmp_path)
    with open_service(changed(settings, **change), lambda: NOW, finish=False) as service:
        for refusing in (service.renewal.propose, lambda: service.renewal.renew(confirmed=True)):
            with pytest.raises(Refused) as refused:
                refusing()
            assert refused.value.kind == "other-settings"
            assert named in str(refused.value)
        assert len(service.charges()) == 3
    with pytest.raises(Refused, match="now and was"), opened(changed(settings, **change)):
        pass


def test_a_period_that_no_mechanism_serves_is_refused(tmp_path: Path) -> None:
    settings = changed(over(tmp_path), horizon="unlimited", mau__mechanism="binary-tree")
    with open_service(settings, lambda: NOW, finish=False) as service:
        with pytest.raises(Refused, match="a tree needs a horizon") as refused:
            service.renewal.renew(confirmed=True)
        assert refused.value.kind == "other-settings"
        assert len(service.charges()) == 3


def test_a_period_that_runs_cannot_be_changed_by_settings(tmp_path: Path) -> None:
    settings = over(tmp_path)
    with opened(settings) as service:
        service.renewal.renew(confirmed=True)
    for change in CHANGES:
        fixed = pytest.raises(Refused, match="fixed by the first close, or by the last renewal")
        with fixed, opened(changed(settings, **change)):
            pass


@on_both
def test_a_budget_without_room_charges_nothing_and_another_one_may_pay(tmp_path: Path) -> None:
    settings = over(tmp_path, budget_epsilon=500)
    with opened(settings) as service:
        before = standing(service)
        for _ in range(2):
            with pytest.raises(BudgetExhausted) as refused:
                service.renewal.renew(confirmed=True)
            assert refused.value.requested.epsilon == 300
        assert standing(service) == before
    other = changed(settings, budget="next")
    with opened(other) as service, pytest.raises(LedgerError, match="budget 'next' does not exist"):
        service.renewal.renew(confirmed=True)
    with open_ledger(settings.ledger_place) as ledger:
        ledger.create_budget("next", Guarantee(301, 0.1), date(2026, 1, 1), None)
    with opened(other) as service:
        assert "budget 'next'" in service.renewal.propose().text
        service.renewal.renew(confirmed=True)
        service.close_through(day(2 * HORIZON - 1))
        assert service.budget().spent.epsilon == 300
        rows = [json.loads(row) for row in service.releases("mau")]
        assert [row["budget"] for row in rows] == ["live"] * 3 + ["next"] * 3
        assert len(service.charges()) == 6
    with open_ledger(settings.ledger_place) as ledger:
        assert [ledger.budget(name).spent.epsilon for name in ("live", "next")] == [300, 300]


@on_both
@pytest.mark.slow
def test_many_periods(tmp_path: Path) -> None:
    settings = nearly_exact(tmp_path, first_day=FIRST, horizon=1)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        service.close(day(0))
        for index in range(1, 12):
            with pytest.raises(Refused, match="dpdau renew"):
                service.close(day(index))
            service.renewal.renew(day(index), confirmed=True)
            service.close(day(index))
        assert estimates(service, "mau") == [(day(index).isoformat(), near(1)) for index in range(12)]
        assert len(service.charges()) == 36
        # A week is in seven periods, and a month in all twelve.
        assert "(2000, 0.02)" in service.promise


@pytest.mark.slow
def test_the_doctor_and_the_gauge_say_how_many_days_are_left(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, horizon=40, future_days="true")
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def said() -> tuple[str, str]:
        (one,) = [found for found in examine(settings, lambda: now) if found.check == "horizon"]
        return one.level, one.text

    with opened(settings, now) as service:
        assert service.vitals().days_left == 40
        assert said()[0] == "ok"
        assert 'horizon = "unlimited"' in said()[1]
        for last, level in ((8, "ok"), (9, "warning"), (39, "error")):
            if service.status().last is None:
                service.close(FIRST)
            service.close_through(day(last))
            assert service.vitals().days_left == 39 - last
            assert said()[0] == level
            assert "no room" not in said()[1]
        assert "dpdau renew" in said()[1]
        service.renewal.renew(confirmed=True)
        assert service.vitals().days_left == 40
        assert said() == ("ok", "40 of 40 days are left")
        service.close_through(day(49))
        assert said()[0] == "warning"
        assert "dpdau renew --from 2026-03-22; the budget 'live' has no room for it" in said()[1]


def test_where_a_horizon_is_not_needed_that_is_said(tmp_path: Path) -> None:
    assert horizon_advice(settings_in(tmp_path))
    for change in ({"horizon": "unlimited"}, {"mau__unit": "user"}, {"wau__mechanism": "binary-tree"}):
        assert not horizon_advice(settings_in(tmp_path, **change))


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian", "damped-square-root", "buffered-toeplitz", "optimal"])
@pytest.mark.parametrize("metric", METRICS)
def test_without_a_horizon_noise_is_next_to_the_same(mechanism: str, metric: str, tmp_path: Path) -> None:
    settings = [
        settings_in(tmp_path, **{f"{metric}__mechanism": mechanism, "horizon": end}) for end in (365, "unlimited")
    ]
    deviations = []
    for one in settings:
        (series,) = plan_release(one.request(metric, FIRST)).series
        deviations.append(series.mechanism.standard_deviation(365)[-1])  # type: ignore[attr-defined]
    assert deviations[1] <= 1.01 * deviations[0]


def test_nothing_of_a_refused_renewal_says_anything_about_the_data(tmp_path: Path) -> None:
    said = []
    for number, users in enumerate((0, 50)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with opened(settings_in(folder, first_day=FIRST, horizon=2)) as service:
            service.ingest([add(f"u{index}", 0) for index in range(users)])
            service.close(day(0))
            texts = []
            for asked in (None, day(1), day(2)):
                try:
                    texts.append(service.renewal.propose(asked).text)
                except Refused as error:
                    texts.append(str(error))
            said.append(texts)
    assert said[0] == said[1]


def test_an_older_ledger_is_refused_after_a_renewal(tmp_path: Path) -> None:
    settings = over(tmp_path)
    copy = settings.ledger_path.read_bytes()
    with opened(settings) as service:
        service.renewal.renew(confirmed=True)
    for path in tmp_path.glob("ledger.db*"):
        path.unlink()
    settings.ledger_path.write_bytes(copy)
    settings.ledger_path.chmod(0o600)
    with pytest.raises(Refused, match="old copy") as refused, opened(settings):
        pass
    assert refused.value.kind == "other-store"


def test_a_user_with_a_horizon_is_what_the_unit_needs(tmp_path: Path) -> None:
    units = {f"{metric}__unit": "user" for metric in METRICS}
    settings = over(tmp_path, **units)
    with pytest.raises(SettingsError, match="needs a horizon"):
        changed(settings, horizon="unlimited", **units)
    with opened(settings) as service:
        service.renewal.renew(confirmed=True)
        assert "(600, 0.006)" in service.promise
        assert "a user costs the charges of all periods" in service.promise


def test_time_goes_on_over_the_border_for_the_scheduler(tmp_path: Path) -> None:
    from workbench.service.scheduler import Scheduler

    settings = settings_in(tmp_path, first_day=FIRST, horizon=2, auto_close="02:00", budget_epsilon=9)
    now = datetime(2026, 1, 6, 12, tzinfo=UTC)
    with opened(settings, now) as service:
        scheduler = Scheduler(service, lambda: now, service.close, lambda seconds: False)
        with pytest.raises(Refused, match="dpdau renew"):
            scheduler.close_due()
        service.renewal.renew(confirmed=True)
        with pytest.raises(Refused, match="dpdau renew"):
            scheduler.close_due()
        service.renewal.renew(confirmed=True)
        assert scheduler.close_due() == 1
        assert service.status().last == now.date() - timedelta(days=1)
