"""What holds for every page in a real browser: nothing is cut, nobody is shut out, and an address can be passed on."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.workbench.browser.look import PATIENCE_MS, faults_in_windows, watched
from workbench.app import APP_PAGES
from workbench.maintenance.screenshots import browser_path, settle
from workbench.views.bundle import COMMAND

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser_path() is None, reason="there is no Chromium"),
]

CHOICE = {"metric": ["WAU"], "epsilon": ["2"]}
QUERY = "metric=WAU&epsilon=2"
ADDRESSES = [page.address for page in APP_PAGES]


def opened(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/ui/{name}?{QUERY}")
    settle(page)


def strip_holds(page: Page) -> None:
    """The strip and the address say what was chosen."""
    chosen = page.locator(".st-key-metric [data-selected=true], .st-key-metric [aria-checked=true]")
    expect(chosen.first).to_have_text("WAU")
    expect(page.locator(".st-key-epsilon [data-testid=stSliderThumbValue]")).to_have_text("2")
    found = parse_qs(urlparse(page.url).query)
    assert {name: found.get(name) for name in CHOICE} == CHOICE


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_page_is_whole_in_every_window_and_after_a_reload(browser: Browser, address: str, name: str) -> None:
    with watched(browser, address) as page:
        opened(page, address, name)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_text("Spent so far").first).to_be_visible()
        strip_holds(page)
        assert faults_in_windows(page) == []
        page.reload()
        settle(page)
        strip_holds(page)
        assert urlparse(page.url).path == f"/ui/{name}"


def test_the_choice_goes_with_the_visitor_from_page_to_page(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        opened(page, address, "")
        assert urlparse(page.url).path == f"/ui/{ADDRESSES[0]}"
        for other in APP_PAGES[1:]:
            page.get_by_test_id("stTopNav").get_by_role("link", name=other.title, exact=True).click()
            settle(page)
            strip_holds(page)


def test_a_zip_that_was_downloaded_makes_the_same_figure(browser: Browser, address: str, tmp_path: Path) -> None:
    with watched(browser, address) as page:
        opened(page, address, "tradeoff")
        with page.expect_download(timeout=PATIENCE_MS) as download:
            page.get_by_role("button", name="Reproduce: download a zip").click()
        download.value.save_as(tmp_path / "figure.zip")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "figure.zip").read_bytes())) as archive:
        (tmp_path / "figure.toml").write_bytes(archive.read("figure.toml"))
        command = [sys.executable, "-m", "workbench.cli.main", *COMMAND.split()[1:]]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        names = [name for name in archive.namelist() if name != "README.md"]
        assert any(name.endswith(".vl.json") for name in names)
        assert [name for name in names if archive.read(name) != (tmp_path / name).read_bytes()] == []


def test_a_click_on_the_frontier_draws_the_releases_of_that_mechanism(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        page.goto(f"{address}/ui/mechanisms?metric=DAU&mechanisms_days=30")
        settle(page)
        page.locator("[aria-label*='Mechanism: binary-tree;']").last.click(force=True)
        expect(page.get_by_role("heading", name="binary-tree", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        expect(page).to_have_url(re.compile("mechanism=binary-tree"))


def test_a_dashboard_is_planned_and_whole_in_every_window(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        page.goto(f"{address}/ui/plan?plan_days=30&plan_cells=flows+of+MAU&plan_cells=week")
        settle(page)
        page.get_by_role("textbox", name="Breakdown 1", exact=True).fill("platform")
        page.get_by_role("textbox", name="Values of breakdown 1", exact=True).fill("ios, android, web")
        page.keyboard.press("Enter")
        expect(page.get_by_text("One release of all 10 questions with 35 series")).to_be_visible(timeout=PATIENCE_MS)
        expect(page).to_have_url(re.compile("plan_by_1=platform"))
        assert faults_in_windows(page) == []


def test_an_attack_climbs_over_the_claim_of_a_broken_subject(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        page.goto(f"{address}/ui/attacks?subject=broken")
        expect(page.get_by_text(re.compile(r"from [\d,]+ trials"))).to_be_visible(timeout=PATIENCE_MS)
        settle(page)
        said = page.get_by_role("alert").first
        expect(said).to_contain_text("Broken:")
        proved = float(re.search(r"ε ([\d.]+)", said.inner_text())[1])  # type: ignore[index]
        assert proved > 1.0
        points = page.locator("[aria-label*='proved']")
        assert points.count() > 5


def test_hostile_text_is_shown_and_not_run(browser: Browser, address: str) -> None:
    text = "**bold** <img src=x onerror=alert(1)> :smile: [a](https://example.org) www.example.org ada@example.org"
    with watched(browser, address) as page:
        page.goto(f"{address}/ui/operate")
        settle(page)
        field = page.get_by_role("combobox", name="User to erase", exact=True)
        field.fill(text)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Erase all of this user").click()
        said = page.get_by_role("status").filter(has_text="is erased")
        expect(said).to_be_visible(timeout=PATIENCE_MS)
        assert text in said.inner_text().replace("\u2060", "")
        assert said.locator("a, img, strong").count() == 0
