"""How long a person waits for the app: a real Chromium on a demonstration that listens."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np

from dp.progress import Progress
from workbench.maintenance.screenshots import PATIENCE_MS, chromium, wait_until_still
from workbench.maintenance.server import run_server
from workbench.rows import TableRow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ASKED_EVERY_SECONDS = 0.05
IDLE_SECONDS = 10.0
WATCH = """() => {
  window.dimmed = false;
  window.isDimmed = () => getComputedStyle(document.querySelector(".st-key-answer")).opacity < 1;
  const look = () => { window.dimmed ||= window.isDimmed(); requestAnimationFrame(look); };
  look();
}"""


def bench_app(repeats: int, report: Progress) -> list[TableRow]:
    """Rows of (what, median, most): of `repeats`, of which there are at most 4; of the API, the median and p95.

    Raises:
        RuntimeError: there is no Chromium.
    """
    rows: list[TableRow] = []

    def found(what: str, work: Callable[[int], float]) -> None:
        report(what, None)
        values = [work(number) for number in range(repeats)]
        rows.append({"what": what, "median": round(statistics.median(values), 2), "most": round(max(values), 2)})

    with tempfile.TemporaryDirectory() as folder, _demonstration(Path(folder)) as address, chromium() as browser:
        found("first page, usable [s]", lambda _: _first_page(browser, address))
        with _window(browser) as page:
            page.goto(f"{address}/ui/live")
            wait_until_still(page)
            found("another metric on Live [s]", lambda number: _choose_metric(page, ("DAU", "WAU")[number % 2]))
        with _window(browser) as page:
            page.goto(f"{address}/ui/tradeoff")
            wait_until_still(page)
            found(
                "first new curve after another choice, 5,000 users × 180 days [s]",
                lambda _: _new_curve(page, "w_bound"),
            )
        found("whole sweep from nothing, 20,000 users × 365 days [s]", lambda number: _sweep(browser, address, number))
        rows += _api(browser, address, repeats, report)
    return rows


def _first_page(browser: Browser, address: str) -> float:
    with _window(browser) as page:
        started = time.perf_counter()
        page.goto(f"{address}/ui/live")
        wait_until_still(page)
        return time.perf_counter() - started


def _choose_metric(page: Page, metric: str) -> float:
    started = time.perf_counter()
    page.locator(".st-key-metric").get_by_text(metric, exact=True).click()
    page.wait_for_function("metric => location.search.includes('metric=' + metric)", arg=metric)
    wait_until_still(page)
    return time.perf_counter() - started


def _new_curve(page: Page, slider: str) -> float:
    """Seconds from another choice, for which the older curves are dimmed, to the first that are not."""
    page.locator(f".st-key-{slider} input").focus()
    page.evaluate(WATCH)
    started = time.perf_counter()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => window.dimmed && !window.isDimmed()", timeout=PATIENCE_MS)
    seconds = time.perf_counter() - started
    wait_until_still(page)
    return seconds


def _sweep(browser: Browser, address: str, number: int) -> float:
    """Seconds until all is drawn of a sweep that no cache holds."""
    with _window(browser) as page:
        started = time.perf_counter()
        page.goto(f"{address}/ui/tradeoff?users=20000&days=365&epsilon={(0.5, 2, 4, 0.2, 8)[number % 5]}")
        wait_until_still(page)
        return time.perf_counter() - started


def _api(browser: Browser, address: str, repeats: int, report: Progress) -> Iterator[TableRow]:
    """How fast a release is read, idle and while sweeps are computed."""
    report("API", None)
    idle = _asked(address, lambda: time.sleep(IDLE_SECONDS))
    with _window(browser) as page:
        page.goto(f"{address}/ui/tradeoff?users=20000&days=365")
        wait_until_still(page)
        busy = _asked(address, lambda: [_new_curve(page, "w_bound") for _ in range(repeats)])
    for when, seconds in (("idle", idle), ("during a sweep", busy)):
        p50, p95 = (round(1000 * float(value), 2) for value in np.quantile(seconds, (0.5, 0.95)))
        yield {"what": f"API {when}: median and p95 [ms]", "median": p50, "most": p95}


def _asked(address: str, meanwhile: Callable[[], object]) -> list[float]:
    """Seconds of each answer, asked at a steady pace until `meanwhile` returns."""
    over, seconds = threading.Event(), []

    def ask() -> None:
        with httpx2.Client(base_url=address, timeout=60) as client:
            while not over.wait(ASKED_EVERY_SECONDS):
                started = time.perf_counter()
                client.get("/releases/dau").raise_for_status()
                seconds.append(time.perf_counter() - started)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        meanwhile()
    finally:
        over.set()
        asking.join()
    return seconds


@contextmanager
def _demonstration(folder: Path) -> Iterator[str]:
    with run_server(["demo", "--folder", str(folder), "--port", "0"], folder, ready="days filled and closed,") as found:
        yield found


@contextmanager
def _window(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce")
    yield context.new_page()
    context.close()
