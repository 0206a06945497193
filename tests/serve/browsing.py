"""What tests of the page do with a browser, and see in it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

__all__ = [
    "announced",
    "best",
    "choices",
    "expect",
    "found_chromium",
    "no_faults",
    "sync_playwright",
    "titles",
    "visiting",
]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def found_chromium(playwright):
    """Path of the browser to drive; skips the test where there is none."""
    own = playwright.chromium.executable_path
    named = os.environ.get("ONYXRANK_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, PROGRAMS)), own if Path(own).exists() else None)
    if found is None:
        pytest.skip("no Chromium on this machine: make page-browser")
    return found


@contextmanager
def visiting(browser, url, refused=False, **options):
    """Open the page; in the end nothing went to another host, or into an address, a store or the console.

    Args:
        refused: whether the server refuses something, which the browser itself notes in the console.

    """
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}} | options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    yield page
    assert {address.split("/")[2] for address in asked} == {url.split("/")[2]}
    assert not [address for address in asked if "?" in address]
    assert not [text for text in said if not (refused and text.startswith("Failed to load resource"))]
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    context.close()


def best(url, **asked):
    """Title of the item that the server ranks first."""
    return httpx.post(f"{url}/page/rank", json=asked).json()["results"][0]["title"]


def titles(page):
    return page.locator("#hits .title").all_inner_texts()


def announced(page):
    return page.locator("#announcement")


def choices(page, **which):
    return page.locator("#add-options").get_by_role("option", **which)


def settled(page):
    """Wait until the ranking is there and still."""
    for _ in range(200):
        page.wait_for_timeout(100)
        busy = page.locator("#hits").get_attribute("aria-busy") == "true"
        if not busy and page.evaluate("document.getAnimations().length") == 0:
            return
    pytest.fail("the page does not come to rest")


def no_faults(page):
    """axe finds nothing that breaks WCAG 2 A or AA."""
    settled(page)  # rows that fade in have less contrast for a moment
    tags = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}
    found = Axe().run(page, options=tags).response["violations"]
    assert not [(fault["id"], [node["html"] for node in fault["nodes"]][:3]) for fault in found]
