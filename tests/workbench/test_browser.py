"""The pages in a real browser, served by a real process on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from workbench.maintenance.screenshots import browser_path, chromium, take
from workbench.maintenance.server import run_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser_path() is None, reason="there is no Chromium"),
]

PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A demonstration of three days whose budget has room for one fresh DAU."""
    folder = tmp_path_factory.mktemp("demo")
    command = ["demo", "--folder", str(folder), "--days", "3", "--port", "0", "--set", "budget_epsilon=1.6"]
    with run_server(command, folder, ready="days filled and closed") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@contextmanager
def watched(browser: Browser, address: str) -> Iterator[Page]:
    """A page that must not complain and must not ask anybody but the service."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    abroad: list[str] = []
    host = address.removeprefix("http://")
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def note(url: str) -> None:
        if not url.startswith((f"http://{host}/", f"ws://{host}/", "data:", "blob:")):
            abroad.append(url)

    page.on("request", lambda request: note(request.url))
    page.on("websocket", lambda socket: note(socket.url))
    yield page
    context.close()
    assert complaints == []
    assert abroad == []


def opened(page: Page, address: str) -> Page:
    page.goto(f"{address}/ui/")
    expect(page.get_by_test_id("stMetric")).to_have_count(3, timeout=PATIENCE_MS)
    expect(charts(page)).to_have_count(4, timeout=PATIENCE_MS)
    return page


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


def test_both_pages_open_without_complaint_and_ask_nobody_else(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        expect(page.get_by_text("differential privacy of everything published")).to_be_visible()
        page.get_by_role("link", name="ε × W_BOUND").click()
        expect(page.get_by_role("heading", name="Error against W_BOUND")).to_be_visible(timeout=PATIENCE_MS)
        expect(charts(page)).to_have_count(2, timeout=PATIENCE_MS)
        expect(page.get_by_test_id("stMetric")).to_have_count(3)
        assert page.url == f"{address}/ui/tradeoff"


def test_the_second_page_opens_by_its_address_too(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/ui/tradeoff")
    expect(page.get_by_role("heading", name="Error against W_BOUND")).to_be_visible(timeout=PATIENCE_MS)
    context.close()


def test_an_erasure_moves_truth_and_release_of_the_next_day(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        page.get_by_text("Show the truth — NOT PRIVATE").click()
        _, _, mau = truths(page)
        page.get_by_label("User", exact=True).fill("ada")
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_text("ada is reported as active on Sun 4 January 2026")).to_be_visible(timeout=PATIENCE_MS)
        close_day(page, "Sun 4 January 2026")
        # Nobody but ada came on that day; those of the days before are in the longer windows.
        assert truths(page)[0] == 1
        assert truths(page)[2] == mau + 1
        page.get_by_label("User to erase").fill("ada")
        page.get_by_role("button", name="Erase all of this user").click()
        expect(page.get_by_text("ada is erased: 1 row removed.")).to_be_visible(timeout=PATIENCE_MS)
        close_day(page, "Mon 5 January 2026")
        assert truths(page)[0] == 0
        assert truths(page)[2] == mau
        published = httpx2.get(f"{address}/mau/2026-01-05").json()
        value = page.get_by_test_id("stMetricValue").nth(2)
        expect(value).to_have_text(f"{round(published['estimate']):,}", timeout=PATIENCE_MS)


def test_what_comes_by_http_appears_by_itself(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        marked = "charts => charts.forEach(chart => chart.dataset.kept = 'yes')"
        charts(page).evaluate_all(marked)
        page.get_by_label("User", exact=True).fill("half typed")
        before = httpx2.get(f"{address}/config").json()["open_day"]
        httpx2.post(f"{address}/days/{before}/close").raise_for_status()
        published = httpx2.get(f"{address}/wau").json()
        value = page.get_by_test_id("stMetricValue").nth(1)
        expect(value).to_have_text(f"{round(published['estimate']):,}", timeout=PATIENCE_MS)
        # Nothing jumps: the charts are the ones that were there, and so is what was typed.
        page.wait_for_timeout(2_000)
        kept = charts(page).evaluate_all("charts => charts.filter(chart => chart.dataset.kept === 'yes').length")
        assert kept == 4
        expect(page.get_by_label("User", exact=True)).to_have_value("half typed")


def test_an_exhausted_budget_says_what_was_spent_asked_and_is_left(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address)
        page.get_by_role("button", name="Fresh release").click()
        expect(page.get_by_text("It cost ε 0.3.")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Fresh release").click()
        said = page.get_by_text("is exhausted, so nothing was released")
        expect(said).to_be_visible(timeout=PATIENCE_MS)
        for part in ("Asked: ε 0.3", "Spent: ε 1.5 of 1.6", "Left: ε 0.1"):
            expect(said).to_contain_text(part)
        assert len(httpx2.get(f"{address}/budget").json()["charges"]) == 4


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


def test_pictures_are_taken_in_light_and_dark(browser: Browser, address: str, tmp_path: Path) -> None:
    files = take(browser, address, tmp_path)
    wanted = [f"{name}-{scheme}.png" for name in ("live", "tradeoff") for scheme in ("dark", "light")]
    assert sorted(file.name for file in files) == wanted
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
