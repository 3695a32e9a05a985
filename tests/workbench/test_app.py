"""The app as a whole, without a browser: where its settings come from, what is on every page, what it refuses."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from dp.accounting.composition import Guarantee
from dp.ledger import Budget
from tests.patience import PATIENCE_SECONDS
from tests.places import ROOT
from tests.workbench.pages import APP, FIRST, feed, opened_page, settings_of, texts, tidy
from workbench.app import APP_PAGES
from workbench.service import Settings, open_service
from workbench.service.question_settings import QuestionSettings
from workbench.views.standing import spent_words, standing

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]


@pytest.mark.parametrize("address", [page.address for page in APP_PAGES])
def test_every_page_says_who_is_protected_and_what_is_spent_also_when_all_is(address: str, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(settings_of(tmp_path), budget_epsilon=1.2)
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        page = opened_page(settings, address)
        said = texts(page)
        assert (
            "Protected: **what one user does on one day** (DAU by gaussian, WAU and MAU by damped-square-root)" in said
        )
        assert "Spent so far: **ε 0 of 1.2**, δ 0 of 10⁻⁵; ε 1.2 and δ 10⁻⁵ left." in said
        feed(service, FIRST)
        service.close(FIRST)
    assert "Spent so far: **ε 1.2 of 1.2**, δ 3 × 10⁻⁶ of 10⁻⁵; nothing is left." in texts(tidy(page.run()))


def test_the_line_names_both_budgets_and_groups_the_series() -> None:
    cap, spent = Guarantee(3.0, 1e-5), Guarantee(1.25, 2e-6)
    main = Budget("a*b", date(2026, 1, 1), None, cap, spent, Guarantee(1.75, 8e-6))
    other = Budget("fresh", date(2026, 1, 1), None, cap, cap, Guarantee(0.0, 0.0))
    assert spent_words([main, other]) == (
        "Spent so far: **ε 1.25 of 3**, δ 2 × 10⁻⁶ of 10⁻⁵; ε 1.75 and δ 8 × 10⁻⁶ left (budget a\\*b); and "
        "**ε 3 of 3**, δ 10⁻⁵ of 10⁻⁵; nothing is left (budget fresh)."
    )
    mixed = Settings()
    mixed = msgspec.structs.replace(mixed, mau=msgspec.structs.replace(mixed.mau, unit="user"))
    said = standing(mixed, [main])
    assert "**what one user does on one day** (DAU by gaussian, WAU by damped-square-root)" in said
    assert "**everything that a user ever does** (MAU by damped-square-root)" in said


def test_the_line_names_other_questions_too() -> None:
    budget = Budget("live", date(2026, 1, 1), None, Guarantee(3.0, 1e-5), Guarantee(0.0, 0.0), Guarantee(3.0, 1e-5))
    asked = {"week": QuestionSettings(epsilon=0.2), "mau/flows": QuestionSettings(epsilon=0.2, unit="user")}
    said = standing(Settings(questions=asked), [budget])
    assert "(DAU by gaussian, WAU, MAU and week by damped-square-root)" in said
    assert "**everything that a user ever does** (MAU/flows by damped-square-root)" in said


def test_settings_that_cannot_be_used_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DPDAU_TIMEZONE", "Nowhere/Town")
    page = tidy(AppTest.from_file(APP, default_timeout=PATIENCE_SECONDS).run())
    assert "timezone is 'Nowhere/Town'" in page.error[0].value


def test_a_store_without_its_ledger_is_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        feed(service, FIRST)
        service.close(FIRST)
    page = opened_page(msgspec.structs.replace(settings, ledger=settings.ledger + "-of-another"), "live")
    assert "is missing or has another name" in page.error[0].value


@pytest.mark.parametrize("address", ["live", "operate"])
@pytest.mark.parametrize("file", ["store", "ledger"])
def test_a_page_says_that_a_file_was_taken_away_and_comes_back(address: str, file: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        feed(service, FIRST)
        service.close(FIRST)
    page = tidy(opened_page(settings, address))
    path = Path(getattr(settings, file))
    path.rename(tmp_path / "elsewhere")
    page.run()
    assert "The service cannot work now" in page.error[0].value
    assert not page.exception
    assert not path.exists()
    (tmp_path / "elsewhere").rename(path)
    assert not tidy(page.run()).error


def test_alone_the_settings_come_from_the_file_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "my.toml"
    file.write_text(f'store = "{tmp_path}/s"\nledger = "{tmp_path}/l"\nmau.epsilon = 0.77\n', encoding="utf-8")
    monkeypatch.setenv("DPDAU_CONFIG", str(file))
    page = tidy(AppTest.from_file(APP, default_timeout=PATIENCE_SECONDS).run())
    assert not page.error
    assert "MAU (trailing 30 days) by damped-square-root, ε 0.77" in texts(page)


def test_alone_the_pages_are_for_this_machine() -> None:
    config = tomllib.loads((Path(APP).parent / ".streamlit" / "config.toml").read_text("utf-8"))
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False


def test_the_documentation_names_every_page_in_order() -> None:
    rows = [line.split("|")[1].strip() for line in (ROOT / "docs" / "app.md").read_text().splitlines() if "|" in line]
    assert rows[2:] == [page.title for page in APP_PAGES]
