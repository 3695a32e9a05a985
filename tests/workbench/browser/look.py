"""What a page in a browser must be: measured, not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.patience import PATIENCE_SECONDS
from workbench.maintenance.screenshots import settle

PATIENCE_MS = 1000 * PATIENCE_SECONDS


@dataclass(frozen=True)
class Window:
    """How large a page is shown, in its own pixels: half a window is a zoom of 200 %."""

    name: str
    width: int
    height: int
    scheme: str = "light"


DESKTOP = Window("desktop", 1440, 1000)
DARK = Window("dark", 1440, 1000, scheme="dark")
PHONE = Window("phone", 390, 844)
ZOOMED = Window("zoom 200 %", 640, 400)
WINDOWS = (DESKTOP, DARK, PHONE, ZOOMED)

# Every element that shows text of its own and hides what does not fit into it; every text of a chart that reaches
# beyond its chart or was shortened; and a page that is wider than its window.
CUT_TEXT = """
() => {
  const cut = [];
  const OTHERS = "[data-testid=stDataFrame], [data-testid=stIconMaterial], [data-testid=stSidebar], code";
  const GLYPHS = 4;  // the box of a text reaches that much beyond its letters
  const shown = element => element.checkVisibility({opacityProperty: true, visibilityProperty: true});
  const ownText = element => [...element.childNodes].some(
    node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  for (const element of document.querySelectorAll("[data-testid=stApp] *")) {
    if (element instanceof SVGElement || !ownText(element) || !shown(element)) continue;
    if (element.closest(OTHERS)) continue;
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    for (let holder = element; holder && holder.dataset?.testid !== "stMain"; holder = holder.parentElement) {
      const style = getComputedStyle(holder);
      if (style.overflowX === "visible" || style.position === "fixed") continue;
      const room = holder.getBoundingClientRect();
      if (["auto", "scroll"].includes(style.overflowX) && holder !== element) break;
      if (box.right > room.right + 1 || box.left < room.left - 1 || element.scrollWidth > element.clientWidth + 1
          && getComputedStyle(element).display !== "inline") {
        cut.push(element.textContent.trim().slice(0, 80));
        break;
      }
    }
  }
  for (const chart of document.querySelectorAll("[data-testid=stVegaLiteChart] svg.marks")) {
    const room = chart.getBoundingClientRect();
    for (const text of chart.querySelectorAll("text")) {
      if (!text.textContent.trim() || getComputedStyle(text).opacity === "0" || text.getAttribute("opacity") === "0")
        continue;
      const box = text.getBoundingClientRect();
      if (text.textContent.endsWith("…") || box.right > room.right + GLYPHS
          || box.left < room.left - GLYPHS || box.bottom > room.bottom + GLYPHS || box.top < room.top - GLYPHS)
        cut.push("chart: " + text.textContent);
    }
  }
  const main = document.querySelector("[data-testid=stMain]");
  if (main.scrollWidth > main.clientWidth + 1) cut.push("the page is wider than the window");
  return [...new Set(cut)];
}
"""


@contextmanager
def watched(browser: Browser, address: str) -> Iterator[Page]:
    """A page that must not complain and must not ask anybody but the service."""
    context = browser.new_context(
        viewport={"width": DESKTOP.width, "height": DESKTOP.height}, color_scheme="light", reduced_motion="reduce"
    )
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
    try:
        yield page
    finally:
        context.close()
    assert not complaints, complaints
    assert not abroad, abroad


def show_in(page: Page, window: Window) -> None:
    """Show a page in another window."""
    page.emulate_media(color_scheme="dark" if window.scheme == "dark" else "light")
    page.set_viewport_size({"width": window.width, "height": window.height})


def cut_texts(page: Page) -> list[str]:
    """The texts that a page cuts off."""
    found: list[str] = page.evaluate(CUT_TEXT)
    return found


def faults_in_windows(page: Page) -> list[str]:
    """What is cut or shut out in any window; the page is then in the last one."""
    found = []
    for window in WINDOWS:
        show_in(page, window)
        settle(page)
        found += [f"{window.name}: {one}" for one in cut_texts(page) + accessibility_faults(page)]
    return found


def accessibility_faults(page: Page) -> list[str]:
    """What axe-core finds, a line an element: rule, element, what would be right."""
    violations: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
        for violation in violations
        for node in violation["nodes"]
    ]
