"""Pictures of a report for the documentation, taken in a headless Chromium.

    python scripts/shoot_report.py out/report docs/images/report-gallery.png
    python scripts/shoot_report.py out/report a.png --route '#/sweep' \
        --hide '.grid tr:nth-child(n+5)'

Needs playwright and a chromium on the path. With Pillow, pictures are reduced to 256 colours.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
READY = "performance.getEntriesByName('videogen-ready').length > 0"
SETTLE_S = 2.0


def shoot(page: Page, options: argparse.Namespace) -> None:
    """Open the report at its route, wait until it is drawn, and store what is to be seen."""
    page.goto((options.report / "index.html").resolve().as_uri() + options.route)
    while not page.evaluate(READY):
        time.sleep(0.05)
    for hidden in options.hide:
        page.evaluate("s => document.querySelectorAll(s).forEach(e => e.remove())", hidden)
    if options.selector:
        page.locator(options.selector).first.scroll_into_view_if_needed()
        time.sleep(SETTLE_S)
        page.locator(options.selector).first.screenshot(path=options.out)
        return
    time.sleep(SETTLE_S)
    page.screenshot(path=options.out, full_page=options.full)


def shrink(path: Path) -> None:
    """Reduce a picture to 256 colours, where Pillow is installed."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--route", default="", help="such as '#/sweep?x=sampler'")
    parser.add_argument("--selector", help="a part of the page only")
    parser.add_argument("--hide", nargs="*", default=[], help="selectors to leave out")
    parser.add_argument("--width", type=int, default=1180)
    parser.add_argument("--height", type=int, default=760)
    parser.add_argument("--full", action="store_true", help="the page to its end")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        page = browser.new_page(viewport={"width": options.width, "height": options.height})
        shoot(page, options)
        browser.close()
    shrink(options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
