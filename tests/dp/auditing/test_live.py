"""Audits of real releases, with OpenDP's noise and a ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from dp.accounting.composition import Guarantee
from dp.auditing.live import LedgerBudget, audit_live
from dp.auditing.options import AuditOptions
from dp.ledger import BudgetExhausted, open_ledger
from dp.mechanisms import MECHANISMS
from dp.release import Request
from tests.dp.auditing.audits import USUAL

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def a_request(name: str, claim: Guarantee, unit: str = "user-day", ticks: int = 8) -> Request:
    guarantee = Guarantee(claim.epsilon, 0.0) if MECHANISMS[name].delta == "none" else claim
    return Request({"wau": 7}, unit, 2, guarantee, name, date(2026, 1, 1), ticks, {"wau": 1.0})


@pytest.fixture
def account(tmp_path):
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.create_budget("b", Guarantee(1e5, 0.9), date(2026, 1, 1), None)
        yield LedgerBudget(ledger, "b", NOW)


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_real_releases_keep_what_they_promise(name, account):
    """With OpenDP's noise, which has no seed, the flag's level is a millionth."""
    unit = "user" if name == "adaptive-flippancy" else "user-day"
    request = a_request(name, Guarantee(4.0, 1e-4), unit)
    audits = audit_live(request, 400, np.random.default_rng(1), account, AuditOptions(flag_level=1e-6))
    assert [one.view for one in audits] == ["releases"] * (name != "sparse-vector") + ["histogram"]
    assert not any(one.flagged for one in audits)
    assert len(account.ledger.charges()) == 400
    assert account.ledger.budget("b").spent.epsilon == pytest.approx(400 * 4.0)


@pytest.mark.slow
def test_real_releases_that_are_sold_for_less_are_flagged(account, monkeypatch):
    """μ = 2.9 sold as 0.6: of 300 releases the bound at a millionth lies at 1.6 ± 0.25."""
    request = a_request("damped-square-root", Guarantee(16.0, 1e-4))
    monkeypatch.setattr("dp.auditing.live.charged", lambda request: Guarantee(2.0, 1e-4))
    audit, _ = audit_live(request, 300, np.random.default_rng(1), account, AuditOptions(flag_level=1e-6))
    assert audit.flagged
    assert audit.ratio > 2


def test_live_audits_that_cannot_be_made_are_refused(account):
    several = replace(a_request("gaussian", USUAL), windows={"dau": 1, "wau": 7}, shares={"dau": 1.0, "wau": 1.0})
    endless = replace(a_request("gaussian", USUAL), horizon=None)
    for request in (several, endless):
        with pytest.raises(ValueError, match="one metric and a number of ticks"):
            audit_live(request, 100, np.random.default_rng(0), account)
    account.ledger.create_budget("small", Guarantee(50.0, 0.1), date(2026, 1, 1), None)
    with pytest.raises(BudgetExhausted):
        audit_live(a_request("gaussian", USUAL), 100, np.random.default_rng(0), replace(account, budget="small"))
    assert not account.ledger.charges()
