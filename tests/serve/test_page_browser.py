"""The page in a real Chromium, driven as a person would: typing, keys, a phone.

Skips where there is no Chromium; `make page-browser` installs one.
"""

from __future__ import annotations

import re

import pytest
from serving import serving

from aisles import items_table

browsing = pytest.importorskip("browsing", reason="playwright or axe is not installed")
expect = browsing.expect
TITLES = items_table()["item_title"].to_list()
RANKED = re.compile(r"^\d+ items ranked in [\d.,]+ ms; first: .+")


def test_a_query_ranks_the_catalogue_as_it_is_typed(visit, shop_url):
    with visit(shop_url) as page:
        page.get_by_role("radio", name="Search query").check()
        expect(page.get_by_text("Type what the shopper searches for.")).to_be_visible()
        page.get_by_role("searchbox", name="What the shopper searches for").press_sequentially(
            "green camping", delay=20
        )
        expect(browsing.announced(page)).to_have_text(RANKED)
        expect(page.locator("#summary")).to_have_text(re.compile(r"^96 items ranked in "))
        expect(page.locator("#note")).to_contain_text("All 96 items are ranked.")
        expect(page.get_by_role("list", name="Ranking").get_by_role("listitem").first).to_contain_text(
            browsing.best(shop_url, query="green camping")
        )
        scores = [
            float(text) for text in re.findall(r"\d\.\d{3}", " ".join(page.locator(".number").all_inner_texts()))
        ]
        assert len(scores) == 20
        assert scores == sorted(scores, reverse=True)
        page.get_by_role("button", name="Show 20 more of 76 items").click()
        expect(page.locator(".hit")).to_have_count(40)
        expect(page.locator(".hit").nth(20)).to_be_focused()
        before = browsing.titles(page)
        page.get_by_role("searchbox").fill("blue office")
        expect(page.locator(".hit").first).to_contain_text(browsing.best(shop_url, query="blue office"))
        assert browsing.titles(page) != before
        expect(page.locator(".moved.up").first).to_have_text(re.compile("up .* place"))
        expect(page.get_by_role("img", name=re.compile("Time of the last . requests: median"))).to_be_visible()


def test_a_history_is_built_and_taken_apart_by_keyboard_alone(visit, shop_url):
    with visit(shop_url) as page:
        expect(browsing.announced(page)).to_have_text(RANKED)
        expect(page.locator("#note")).to_contain_text("No history yet")
        cold = browsing.titles(page)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the ranking")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        field = page.get_by_role("combobox", name="What the shopper bought or looked at")
        expect(field).to_be_focused()
        page.keyboard.type("kitchen red", delay=20)
        options = browsing.choices(page)
        expect(options).to_have_count(7)  # six nouns, and the text as typed
        expect(browsing.choices(page, selected=True)).to_have_text("red kitchen grinder")
        page.keyboard.press("ArrowDown")
        active = browsing.choices(page, selected=True)
        expect(active).to_have_text("red kitchen kettle")
        assert field.get_attribute("aria-activedescendant") == active.get_attribute("id")
        page.keyboard.press("Enter")
        events = page.get_by_role("list", name="History, oldest first").get_by_role("listitem")
        expect(events).to_have_text([re.compile("red kitchen kettle")])
        expect(field).to_have_attribute("aria-expanded", "false")
        expect(page.locator("#note")).not_to_contain_text("No history yet")
        expect(browsing.announced(page)).to_have_text(RANKED)
        warm = browsing.titles(page)
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


def test_a_ranked_item_joins_the_history_and_keeps_the_focus(visit, shop_url):
    with visit(shop_url) as page:
        toggle = page.get_by_role("button", name=re.compile("^In the history: ")).nth(3)
        name = toggle.inner_text()
        toggle.focus()
        toggle.press("Enter")
        expect(page.locator("#history li")).to_have_count(1)
        expect(browsing.announced(page)).to_have_text(RANKED)
        same = page.get_by_role("button", name=name, exact=True)
        expect(same).to_have_attribute("aria-pressed", "true")
        expect(same).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#history li")).to_have_count(0)


def test_options_come_in_pages(visit, shop_url):
    with visit(shop_url) as page:
        field = page.get_by_role("combobox")
        field.press("ArrowDown")
        expect(browsing.choices(page)).to_have_count(20)
        for _ in range(21):
            field.press("ArrowDown")
            page.wait_for_timeout(30)
        expect(browsing.choices(page, selected=True)).to_have_text(TITLES[20])
        expect(page.locator("#add-count")).to_have_text("40 of 96 items listed")
        field.press("Escape")
        expect(browsing.choices(page)).to_have_count(0)


def test_a_filter_and_items_of_ones_own(visit, shop_url):
    with visit(shop_url) as page:
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
        assert sorted(browsing.titles(page))[0] == "<img src=x onerror=alert(1)>"


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
        browsing.no_faults(page)


PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize(
    "options",
    [{}, PHONE, {"color_scheme": "dark"}, {"reduced_motion": "reduce"}],
    ids=["desktop", "phone", "dark", "still"],
)
def test_it_is_accessible_and_fits(visit, shop_url, options):
    with visit(shop_url, **options) as page:
        expect(page.locator(".hit")).to_have_count(20)
        browsing.no_faults(page)
        for text in ("grinder", "stove"):
            page.get_by_role("combobox").press_sequentially(text)
            browsing.choices(page).first.click()
        expect(page.locator("#history li")).to_have_count(2)
        for summary in page.locator("summary").all():
            summary.click()
        browsing.no_faults(page)
        page.get_by_role("combobox", name="What the shopper").press_sequentially("lamp")
        expect(browsing.choices(page).first).to_be_visible()
        browsing.no_faults(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 16, 20)"
        assert dark is (options.get("color_scheme") == "dark")
