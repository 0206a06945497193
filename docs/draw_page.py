"""Takes page.png, the picture of the page in the README: python docs/draw_page.py ADDRESS.

The server at the address has the demo shop as its catalogue: onyxrank serve BUNDLE --items items.parquet.
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

EVENTS = ("dome tent", "sleeping bag", "trail shoes")
_PATIENCE_MS = 60_000
_PICTURE = Path(__file__).with_name("page.png")


def main(address: str) -> None:
    """Build a history, item by item, and keep what the page shows."""
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": 1280, "height": 1010}, device_scale_factor=1.5)
        page.goto(address)
        for number, event in enumerate(EVENTS, 1):
            expect(page.locator("#chart-rows tr")).to_have_count(number)
            page.get_by_role("combobox", name="What the shopper").fill(event)
            page.locator("#add-options [role=option]").first.click()
        expect(page.locator("#chart-rows tr")).to_have_count(len(EVENTS) + 1)
        page.locator("#ranking").evaluate("ranking => ranking.focus({ preventScroll: true })")
        page.wait_for_timeout(1000)  # the rows arrive
        shot = Image.open(BytesIO(page.screenshot()))
        browser.close()
    shot.convert("RGB").quantize(256, kmeans=8, dither=Image.Dither.NONE).save(_PICTURE, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
