"""Pictures of the pages in light, dark and as on a phone: `python -m workbench.maintenance.screenshots FOLDER`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.app import APP_PAGES
from workbench.maintenance.server import run_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]

HEIGHT = 1000
LOOKS: dict[str, tuple[int, Scheme]] = {"light": (1440, "light"), "dark": (1440, "dark"), "phone": (390, "light")}
"""Look → width of the window and colour scheme."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = tuple(page.address for page in APP_PAGES)
PATIENCE_MS = 600_000
SETTLING_MS = 1_000
QUIET_MS = 400
"""A page in which nothing has changed for so long is not waited for any longer: what it puts off, it puts off less."""
_WATCH = """() => {
  window.lastChange = window.watchedSince = performance.now();
  window.watching ??= new MutationObserver(() => { window.lastChange = performance.now(); });
  window.watching.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
}"""
_QUIET = f"""() => performance.now() - window.lastChange > {QUIET_MS}
  || performance.now() - window.watchedSince > {SETTLING_MS}"""
_STILL = """() => {
  // Those in a tab that is not shown are not drawn.
  const charts = [...document.querySelectorAll("[data-testid=stVegaLiteChart]")].filter(chart => chart.offsetParent);
  return document.querySelector("[data-testid=stApp][data-test-script-state=notRunning]")
    && !document.querySelector(".st-key-cancel, [data-testid=stSkeleton]")
    && charts.every(chart => chart.querySelector(".marks"));
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """This machine's Chromium, without a window.

    Raises:
        RuntimeError: there is none.
    """
    from playwright.sync_api import sync_playwright

    path = browser_path()
    if path is None:
        raise RuntimeError(f"none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def browser_path() -> str | None:
    """The Chromium of this machine, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def take(browser: Browser, address: str, folder: Path, pages: Sequence[str] = PAGES) -> list[Path]:
    """Write a picture of every page in every look, full length; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in pages:
        for look, (width, scheme) in LOOKS.items():
            context = browser.new_context(
                color_scheme=scheme,
                viewport={"width": width, "height": HEIGHT},
                locale="en-GB",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(f"{address}/ui/{name}")
            settle(page)
            length = page.locator("[data-testid=stMain]").evaluate("main => main.scrollHeight")
            page.set_viewport_size({"width": width, "height": int(length)})
            page.wait_for_timeout(SETTLING_MS)
            files.append(folder / f"{name}-{look}.png")
            page.screenshot(path=files[-1])
            context.close()
    return files


def settle(page: Page) -> None:
    """Wait until a page has drawn all that it will draw by itself: no script runs and nothing is computed."""
    wait_until_still(page)
    page.evaluate(_WATCH)
    # The pages of the live service change again and again, and are not waited for without end.
    page.wait_for_function(_QUIET, timeout=PATIENCE_MS)


def wait_until_still(page: Page) -> None:
    """Wait until a page has a heading, and nothing of it is under way at this moment."""
    page.locator("[data-testid=stMain] h1").first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_function(_STILL, timeout=PATIENCE_MS)


def main() -> None:
    """Start a demonstration in a folder of its own and take the pictures."""
    pictures = Path(sys.argv[1]).resolve()
    with (
        tempfile.TemporaryDirectory() as folder,
        run_server(
            ["demo", "--folder", folder, "--port", "0"], Path(folder), ready="days filled and closed,"
        ) as address,
        chromium() as browser,
    ):
        for file in take(browser, address, pictures):
            print(file)


if __name__ == "__main__":
    main()
