"""The pages of the live service: what somebody does in one of them is done, and is seen in the others."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.workbench.browser.look import PATIENCE_MS, WINDOWS, faults_in_windows, show_in, watched
from tests.workbench.patient_http import get, post
from workbench.maintenance.screenshots import LOOKS, browser_path, settle, take
from workbench.maintenance.server import run_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser_path() is None, reason="there is no Chromium"),
]

LIVE_CHARTS = 5
"""DAU, WAU, MAU, stickiness, and MAU by platform."""


def opened(page: Page, address: str) -> Page:
    page.goto(f"{address}/ui/")
    expect(page.get_by_test_id("stMetric")).to_have_count(3, timeout=PATIENCE_MS)
    expect(charts(page)).to_have_count(LIVE_CHARTS, timeout=PATIENCE_MS)
    return page


def operated(page: Page, address: str) -> Page:
    page.goto(f"{address}/ui/operate")
    expect(page.get_by_role("button", name="Fresh release")).to_be_visible(timeout=PATIENCE_MS)
    expect(charts(page).first).to_be_visible(timeout=PATIENCE_MS)
    return page


def write(page: Page, label: str, text: str) -> None:
    """Write into a field that offers users and takes others too."""
    field = page.get_by_role("combobox", name=label, exact=True)
    field.fill(text)
    page.keyboard.press("Enter")
    expect(field).to_have_value(text)


def charts(page: Page) -> Locator:
    return page.locator("[data-testid=stVegaLiteChart] .marks")


def truths(page: Page) -> list[int]:
    """True DAU, WAU and MAU as the cards show them."""
    shown = page.get_by_text(re.compile(r"^Truth: [\d,]+ — NOT PRIVATE$"))
    expect(shown).to_have_count(3, timeout=PATIENCE_MS)
    return [int(re.sub(r"\D", "", text)) for text in shown.all_inner_texts()]


def close_day(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=f"Close {name}")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"{name} is closed and published")).to_be_visible(timeout=PATIENCE_MS)
    # What stands below is drawn later.
    settle(page)


def test_the_pages_open_without_complaint_and_ask_nobody_else(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        assert page.url == f"{address}/ui/live"
        page.get_by_text("What is promised").click()
        expect(page.get_by_text("differential privacy of everything published")).to_be_visible()
        page.get_by_role("link", name="Operate").click()
        expect(page.get_by_role("heading", name="Report and erase")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_test_id("stMetric")).to_have_count(0)
        page.get_by_role("link", name="ε × W_BOUND").click()
        expect(page.get_by_role("heading", name="Error against W_BOUND")).to_be_visible(timeout=PATIENCE_MS)
        expect(charts(page)).to_have_count(2, timeout=PATIENCE_MS)
        expect(page.get_by_test_id("stMetric")).to_have_count(3)
        assert page.url == f"{address}/ui/tradeoff"


def test_what_is_chosen_stays_on_other_pages_and_after_a_reload(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        first = page.get_by_test_id("stMetric").first
        expect(first).to_contain_text("MAU")
        page.get_by_test_id("stButtonGroup").get_by_text("WAU", exact=True).click()
        expect(first).to_contain_text("WAU", timeout=PATIENCE_MS)
        page.get_by_text("all days", exact=True).click()
        expect(page).to_have_url(re.compile("band=all"), timeout=PATIENCE_MS)
        page.get_by_role("link", name="Operate").click()
        expect(page.get_by_role("heading", name="Report and erase")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("link", name="Live").click()
        for _ in range(2):
            expect(first).to_contain_text("WAU", timeout=PATIENCE_MS)
            chosen = page.get_by_role("radio", name="all days")
            expect(chosen).to_have_attribute("aria-checked", "true", timeout=PATIENCE_MS)
            page.reload()


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_question_is_chosen_drawn_and_stays_after_a_reload(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        expect(page.get_by_text(re.compile(r"2026: ios [\d,]+ · android [\d,]+ · web [\d,]+ · other"))).to_be_visible()
        faults = {"stacked": looked_at(page)}
        page.get_by_text("One chart a segment").click()
        expect(charts(page)).to_have_count(LIVE_CHARTS + 3, timeout=PATIENCE_MS)
        expect(page).to_have_url(re.compile("multiples=true"))
        faults["multiples"] = looked_at(page)
        choose(page, "Question", "MAU flows")
        expect(page).to_have_url(re.compile(r"question=MAU(\+|%20)flows"), timeout=PATIENCE_MS)
        for _ in range(2):
            expect(page.get_by_text(re.compile(r"new \(.*returning \(.*gone \("))).to_be_visible(timeout=PATIENCE_MS)
            expect(charts(page)).to_have_count(LIVE_CHARTS, timeout=PATIENCE_MS)
            page.reload()
        settle(page)
        faults["flows"] = looked_at(page)
        assert faults == {shown: [] for shown in faults}
        bar = page.locator("[aria-label*='Users: new']").first
        bar.hover(force=True)
        tip = page.locator("#vg-tooltip-element.visible")
        for part in ("Published estimate [users]", "95% interval, each day by itself", "MAU changes by"):
            expect(tip).to_contain_text(part, timeout=PATIENCE_MS)


def looked_at(page: Page) -> list[str]:
    """What is cut or shut out in any window."""
    found = faults_in_windows(page)
    show_in(page, WINDOWS[0])
    return found


def test_an_erasure_moves_truth_and_release_of_the_next_day(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        operated(page, address)
        page.get_by_text("Show the truth — NOT PRIVATE").click()
        truths(page)
        write(page, "User", "ada")
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_text("ada is reported as active on Sun 4 January 2026")).to_be_visible(timeout=PATIENCE_MS)
        before = preview(page)
        close_day(page, "Sun 4 January 2026")
        # The demonstration's operations of that day arrive before it is closed.
        dau, _, mau = truths(page)
        assert dau > 100
        assert before[0] == 1
        write(page, "User to erase", "ada")
        counted = preview(page)
        page.get_by_role("button", name="Erase all of this user").click()
        expect(page.get_by_text("ada is erased.")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text(re.compile(f"now would count .* MAU {counted[2] - 1:,} "))).to_be_visible(
            timeout=PATIENCE_MS
        )
        assert counted[2] == mau


def preview(page: Page) -> list[int]:
    """DAU, WAU and MAU that closing the open day would count."""
    said = page.get_by_text(re.compile("now would count"))
    expect(said).to_be_visible(timeout=PATIENCE_MS)
    return [int(number.replace(",", "")) for number in re.findall(r"[DWM]AU ([\d,]*\d)", said.inner_text())]


def test_what_comes_by_http_appears_by_itself(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        marked = "charts => charts.forEach(chart => chart.dataset.kept = 'yes')"
        charts(page).evaluate_all(marked)
        before = get(f"{address}/config").json()["open_day"]
        post(f"{address}/days/{before}/close").raise_for_status()
        name = date.fromisoformat(before)
        expect(page.get_by_text(f"Last closed day: {name:%a} {name.day} {name:%B %Y}")).to_be_visible(
            timeout=PATIENCE_MS
        )
        # Nothing jumps: the charts are the ones that were there.
        page.wait_for_timeout(2_000)
        kept = charts(page).evaluate_all("charts => charts.filter(chart => chart.dataset.kept === 'yes').length")
        assert kept == LIVE_CHARTS


def test_what_is_typed_stays_when_something_happens(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        operated(page, address)
        write(page, "User", "half typed")
        before = get(f"{address}/config").json()["open_day"]
        post(f"{address}/days/{before}/close").raise_for_status()
        after = date.fromisoformat(get(f"{address}/config").json()["open_day"])
        expect(page.get_by_role("button", name=f"Close {after:%a} {after.day} {after:%B %Y}")).to_be_visible(
            timeout=PATIENCE_MS
        )
        expect(page.get_by_role("combobox", name="User", exact=True)).to_have_value("half typed")


def test_a_row_of_the_feed_is_picked_and_its_user_erased(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        operated(page, address)
        stored = post(f"{address}/event", json={"user": "eve", "day": "2026-01-02"}).raise_for_status().json()
        expect(page.get_by_text(f"{stored['seq']:,} operations have arrived")).to_be_visible(timeout=PATIENCE_MS)
        settle(page)
        table = page.get_by_test_id("stDataFrame").first
        table.scroll_into_view_if_needed()
        # The table is a canvas: the box that ticks its first row lies below the one of the header.
        table.click(position={"x": 16, "y": 52})
        erase = page.get_by_role("button", name=re.compile(r"Erase all of user [0-9a-f]{8} "))
        expect(erase).to_be_visible(timeout=PATIENCE_MS)
        erase.click()
        expect(page.get_by_text(re.compile(r"User [0-9a-f]{8} is erased\."))).to_be_visible(timeout=PATIENCE_MS)


def test_an_exhausted_budget_says_what_was_spent_asked_and_is_left(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        operated(page, address)
        page.get_by_role("button", name="Fresh release").click()
        expect(page.get_by_text("It cost ε 0.3.")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Fresh release").click()
        said = page.get_by_text("is exhausted, so nothing was released")
        expect(said).to_be_visible(timeout=PATIENCE_MS)
        for part in ("Asked: ε 0.3", "Spent: ε 2.7 of 2.8", "Left: ε 0.1"):
            expect(said).to_contain_text(part)
        assert len(get(f"{address}/budget").json()["charges"]) == 7
        for name in ("Live", "ε × W_BOUND", "Operate"):
            page.get_by_role("link", name=name).click()
            expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible(timeout=PATIENCE_MS)
            expect(page.get_by_text("Spent so far: ε 2.7 of 2.8").first).to_be_visible(timeout=PATIENCE_MS)


def test_the_zip_of_published_numbers_draws_them_again(browser: Browser, address: str, tmp_path: Path) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        with page.expect_download() as download:
            page.get_by_role("button", name="Reproduce").click()
        with zipfile.ZipFile(download.value.path()) as archive:
            for name in ("figure.toml", "published.csv", "answers.csv", "plans.csv"):
                archive.extract(name, tmp_path)
            packed = {name: archive.read(name) for name in archive.namelist()}
    command = [sys.executable, "-m", "workbench.cli.main", "figure", "figure.toml"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert {
        "counts.csv",
        "agreed.csv",
        "stickiness.csv",
        "mau.vl.json",
        "question.vl.json",
        "README.md",
    } <= packed.keys()
    assert all((tmp_path / name).read_bytes() == text for name, text in packed.items() if name != "README.md")


def test_with_a_key_the_page_works_after_the_login_only(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "a key of this test")
    with run_server(["serve", "--port", "0"], tmp_path) as guarded, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{guarded}/ui/")
        expect(page.get_by_role("heading", name="dpdau")).to_be_visible()
        expect(page.get_by_role("heading", name="Live")).to_have_count(0)
        page.get_by_label("Key of this service").fill("a key of this test")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Nothing is published yet")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text(f"{guarded}/event")).to_be_visible()


def test_pictures_are_taken_in_every_look(browser: Browser, address: str, tmp_path: Path) -> None:
    files = take(browser, address, tmp_path, ["operate"])
    assert [file.name for file in files] == [f"operate-{look}.png" for look in LOOKS]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
