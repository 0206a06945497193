"""The page in a real Chromium, driven as a person would: typing, keys, a phone, what goes wrong.

Skips where there is no Chromium; `make page-browser` installs one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from serving import API_KEY, serving

from aisles import items_table
from onyxrank import DeadlineExceeded, Overloaded
from onyxrank.serve.service import Service

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make page-browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: make page-browser")
expect = api.expect
TITLES = items_table()["item_title"].to_list()
RANKED = re.compile(r"^\d+ items ranked in [\d.,]+ ms; first: .+")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def chromium():
    with api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        named = os.environ.get("ONYXRANK_CHROMIUM")
        found = named or next(filter(None, map(shutil.which, PROGRAMS)), own if Path(own).exists() else None)
        if found is None:
            pytest.skip("no Chromium on this machine: make page-browser")
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shop(trained_bundle, aisle_data) -> Iterator[str]:
    with serving(bundle=str(trained_bundle), items_file=str(aisle_data / "items.parquet")) as url:
        yield url


@pytest.fixture
def visit(chromium):
    """Open the page; in the end nothing went to another host, and nothing was said in the console."""

    @contextmanager
    def visiting(url, refused=False, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 860}} | options)
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
        # The browser itself notes a refused request; scripts and the policy have nothing to say.
        assert not [text for text in said if not (refused and text.startswith("Failed to load resource"))]
        assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
        context.close()

    return visiting


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
    found = axe.Axe().run(page, options=tags).response["violations"]
    assert not [(fault["id"], [node["html"] for node in fault["nodes"]][:3]) for fault in found]


def test_a_query_ranks_the_catalogue_as_it_is_typed(visit, shop):
    with visit(shop) as page:
        page.get_by_role("radio", name="Search query").check()
        expect(page.get_by_text("Type what the shopper searches for.")).to_be_visible()
        page.get_by_role("searchbox", name="What the shopper searches for").press_sequentially(
            "green camping", delay=20
        )
        expect(announced(page)).to_have_text(RANKED)
        expect(page.locator("#summary")).to_have_text(re.compile(r"^96 items ranked in "))
        expect(page.locator("#note")).to_contain_text("All 96 items are ranked.")
        expect(page.get_by_role("list", name="Ranking").get_by_role("listitem").first).to_contain_text(
            best(shop, query="green camping")
        )
        scores = [
            float(text) for text in re.findall(r"\d\.\d{3}", " ".join(page.locator(".number").all_inner_texts()))
        ]
        assert len(scores) == 20
        assert scores == sorted(scores, reverse=True)
        page.get_by_role("button", name="Show 20 more of 76 items").click()
        expect(page.locator(".hit")).to_have_count(40)
        expect(page.locator(".hit").nth(20)).to_be_focused()
        before = titles(page)
        page.get_by_role("searchbox").fill("blue office")
        expect(page.locator(".hit").first).to_contain_text(best(shop, query="blue office"))
        assert titles(page) != before
        expect(page.locator(".moved.up").first).to_have_text(re.compile("up .* place"))
        expect(page.get_by_role("img", name=re.compile("Time of the last . requests: median"))).to_be_visible()


def test_a_history_is_built_and_taken_apart_by_keyboard_alone(visit, shop):
    with visit(shop) as page:
        expect(announced(page)).to_have_text(RANKED)
        expect(page.locator("#note")).to_contain_text("No history yet")
        cold = titles(page)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the ranking")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        field = page.get_by_role("combobox", name="What the shopper bought or looked at")
        expect(field).to_be_focused()
        page.keyboard.type("kitchen red", delay=20)
        options = choices(page)
        expect(options).to_have_count(7)  # six nouns, and the text as typed
        expect(choices(page, selected=True)).to_have_text("red kitchen grinder")
        page.keyboard.press("ArrowDown")
        active = choices(page, selected=True)
        expect(active).to_have_text("red kitchen kettle")
        assert field.get_attribute("aria-activedescendant") == active.get_attribute("id")
        page.keyboard.press("Enter")
        events = page.get_by_role("list", name="History, oldest first").get_by_role("listitem")
        expect(events).to_have_text([re.compile("red kitchen kettle")])
        expect(field).to_have_attribute("aria-expanded", "false")
        expect(page.locator("#note")).not_to_contain_text("No history yet")
        expect(announced(page)).to_have_text(RANKED)
        warm = titles(page)
        assert warm != cold
        expect(page.locator(".moved.up, .moved.down, .moved.new").first).to_be_visible()
        page.keyboard.type("zebra", delay=20)
        page.keyboard.press("Enter")  # at once: before its options are there
        expect(events).to_have_count(2)
        page.keyboard.press("Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Backspace")
        expect(events).to_have_count(1)
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Remove red kitchen kettle")).to_be_focused()
        page.keyboard.press("Delete")
        expect(events).to_have_count(0)
        expect(field).to_be_focused()
        expect(page.locator("#note")).to_contain_text("No history yet")
        expect(page.locator(".hit .title").first).to_have_text(cold[0])


def test_a_ranked_item_joins_the_history_and_keeps_the_focus(visit, shop):
    with visit(shop) as page:
        toggle = page.get_by_role("button", name=re.compile("^In the history: ")).nth(3)
        name = toggle.inner_text()
        toggle.focus()
        toggle.press("Enter")
        expect(page.locator("#history li")).to_have_count(1)
        expect(announced(page)).to_have_text(RANKED)
        same = page.get_by_role("button", name=name, exact=True)
        expect(same).to_have_attribute("aria-pressed", "true")
        expect(same).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#history li")).to_have_count(0)


def test_options_come_in_pages(visit, shop):
    with visit(shop) as page:
        field = page.get_by_role("combobox")
        field.press("ArrowDown")
        expect(choices(page)).to_have_count(20)
        for _ in range(21):
            field.press("ArrowDown")
            page.wait_for_timeout(30)
        expect(choices(page, selected=True)).to_have_text(TITLES[20])
        expect(page.locator("#add-count")).to_have_text("40 of 96 items listed")
        field.press("Escape")
        expect(choices(page)).to_have_count(0)


def test_a_filter_and_items_of_ones_own(visit, shop):
    with visit(shop) as page:
        page.get_by_text("What is ranked").click()
        page.get_by_label("Only titles with these words").fill("green")
        expect(page.locator("#note")).to_contain_text("All 24 items whose titles have these words")
        page.get_by_label("Only titles with these words").fill("zebra")
        expect(page.locator("#empty")).to_contain_text("No title in the catalogue has these words")
        page.get_by_label("Only titles with these words").fill("")
        page.get_by_label("Rank at most").select_option("50")
        expect(page.locator("#note")).to_contain_text(
            "50 of 96 items are ranked: a random sample, the same every time."
        )
        page.get_by_role("radio", name="My own items").check()
        expect(page.locator("#empty")).to_contain_text("Paste the items to rank")
        page.get_by_label("Items, one title a line").fill("red tent\n\n<img src=x onerror=alert(1)>\nred tent")
        expect(page.locator(".hit")).to_have_count(3)
        assert sorted(titles(page))[0] == "<img src=x onerror=alert(1)>"


def test_without_a_catalogue(visit, trained_bundle):
    with serving(bundle=str(trained_bundle)) as url, visit(url) as page:
        expect(page.get_by_text("This server has no catalogue.")).to_be_visible()
        page.get_by_label("Items, one title a line").fill("green camping tent\ngrey desk lamp")
        page.get_by_label("What the shopper searches for").fill("camping")
        expect(page.locator(".hit")).to_have_count(2)
        page.get_by_role("radio", name="Shopping history").check()
        page.get_by_role("combobox").press_sequentially("office chair")
        page.keyboard.press("Enter")
        expect(page.locator("#history li")).to_have_text([re.compile("office chair")])
        no_faults(page)


PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize(
    "options",
    [{}, PHONE, {"color_scheme": "dark"}, {"reduced_motion": "reduce"}],
    ids=["desktop", "phone", "dark", "still"],
)
def test_it_is_accessible_and_fits(visit, shop, options):
    with visit(shop, **options) as page:
        expect(page.locator(".hit")).to_have_count(20)
        no_faults(page)
        for text in ("grinder", "stove"):
            page.get_by_role("combobox").press_sequentially(text)
            choices(page).first.click()
        expect(page.locator("#history li")).to_have_count(2)
        for summary in page.locator("summary").all():
            summary.click()
        no_faults(page)
        page.get_by_role("combobox", name="What the shopper").press_sequentially("lamp")
        expect(choices(page).first).to_be_visible()
        no_faults(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 16, 20)"
        assert dark is (options.get("color_scheme") == "dark")


def test_a_server_that_stopped(visit, trained_bundle, aisle_data):
    with serving(bundle=str(trained_bundle), items_file=str(aisle_data / "items.parquet")) as url:
        visiting = visit(url, refused=True)
        page = visiting.__enter__()
        expect(page.locator(".hit")).to_have_count(20)
    page.get_by_role("button", name=re.compile("^In the history: ")).first.click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(page.locator(".hit")).to_have_count(20)
    no_faults(page)
    visiting.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Overloaded("no", retry_after_s=1.0), "The server is busy with other requests. Trying again in 1 second."),
        (DeadlineExceeded("late"), "The ranking took longer than this server allows."),
        (RuntimeError("bug"), "The server could not rank this (status 500)."),
    ],
    ids=["overloaded", "deadline", "fault"],
)
def test_refusals_in_plain_words_and_on_again(visit, shop, monkeypatch, error, says):
    async def refuse(*_, **__):
        raise error

    with visit(shop, refused=True) as page:
        expect(page.locator(".hit")).to_have_count(20)
        with monkeypatch.context() as patch:
            patch.setattr(Service, "rank", refuse)
            page.get_by_role("button", name=re.compile("^In the history: ")).first.click()
            expect(page.get_by_role("alert")).to_contain_text(says)
        if not isinstance(error, Overloaded):
            page.get_by_role("button", name="Try again").click()
        expect(page.locator("#problem")).to_be_hidden()
        expect(page.locator("#note")).not_to_contain_text("No history yet")


def test_a_key_is_asked_for_and_forgotten(visit, trained_bundle, aisle_data, keys):
    with (
        serving(bundle=str(trained_bundle), items_file=str(aisle_data / "items.parquet"), **keys) as url,
        visit(url, refused=True) as page,
    ):
        field = page.get_by_label("Key", exact=True)
        expect(field).to_be_focused()
        expect(page.get_by_role("heading", name="Ranking")).to_be_hidden()
        no_faults(page)
        field.fill("a-wrong-key-of-the-shop")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("This key does not open the server.")
        field.fill(API_KEY)
        field.press("Enter")
        expect(page.locator(".hit")).to_have_count(20)
        expect(field).to_be_hidden()
        page.reload()
        expect(field).to_be_visible()


BREACHES = {
    "require-trusted-types-for": "document.body.innerHTML = '<b>x</b>'",
    "style-src-attr": "document.body.setAttribute('style', 'color: red')",
    "connect-src": "fetch('http://127.0.0.2:9/')",
    "img-src": "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.2:9/x.png' }))",
    "script-src-elem": "document.head.append(document.createElement('script'))",
}


@pytest.mark.parametrize(("directive", "breach"), BREACHES.items(), ids=BREACHES)
def test_the_policy_holds(chromium, shop, directive, breach):
    page = chromium.new_page()
    page.goto(shop)
    page.evaluate(
        "addEventListener('securitypolicyviolation', (event) => (window.broken = event.effectiveDirective))"
    )
    if directive == "script-src-elem":
        breach = (
            "document.querySelector('h1').append(Object.assign(document.createElement('script'), {src: 'data:,'}))"
        )
    page.evaluate(f"(() => {{ try {{ {breach} }} catch {{}} }})()")
    page.wait_for_timeout(300)
    assert page.evaluate("window.broken") in (directive, "require-trusted-types-for")
    page.close()
