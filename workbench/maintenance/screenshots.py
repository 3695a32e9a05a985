"""Pictures of the pages: `python -m workbench.maintenance.screenshots FOLDER` writes each in light and dark."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.maintenance.server import run_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTH, HEIGHT = 1440, 1000
SCHEMES = ("light", "dark")
# Page → its path, and how many charts it has when it is complete.
PAGES = {"live": ("/ui/", 4), "operate": ("/ui/operate", 1), "tradeoff": ("/ui/tradeoff", 2)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 90_000
SETTLING_MS = 1_500


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


def take(browser: Browser, address: str, folder: Path) -> list[Path]:
    """Write a picture of every page in every scheme, full length; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for scheme in SCHEMES:
        for name, (url, charts) in PAGES.items():
            context = browser.new_context(
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": WIDTH, "height": HEIGHT},
                locale="en-GB",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(address + url)
            _settle(page, charts)
            files.append(folder / f"{name}-{scheme}.png")
            page.screenshot(path=files[-1])
            context.close()
    return files


def _settle(page: Page, charts: int) -> None:
    """Wait until the page is complete, then give it a window as long as it is."""
    page.locator("[data-testid=stVegaLiteChart] .marks").nth(charts - 1).wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(SETTLING_MS)
    length = page.locator("[data-testid=stMain]").evaluate("main => main.scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": int(length)})
    page.wait_for_timeout(SETTLING_MS)


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
