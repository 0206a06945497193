"""What the page says in a real Chromium when the server refuses, and what the browser refuses the page.

Skips where there is no Chromium; `make page-browser` installs one.
"""

from __future__ import annotations

import re

import pytest
from serving import API_KEY, serving

from onyxrank import DeadlineExceeded, Overloaded
from onyxrank.serve.service import Service

browsing = pytest.importorskip("browsing", reason="playwright or axe is not installed")
expect = browsing.expect


def test_a_server_that_stopped(visit, trained_bundle, aisle_data):
    with serving(bundle=str(trained_bundle), items_file=str(aisle_data / "items.parquet")) as url:
        visiting = visit(url, refused=True)
        page = visiting.__enter__()
        expect(page.locator(".hit")).to_have_count(20)
    page.get_by_role("button", name=re.compile("^In the history: ")).first.click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(page.locator(".hit")).to_have_count(20)
    browsing.no_faults(page)
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
def test_refusals_in_plain_words_and_on_again(visit, shop_url, monkeypatch, error, says):
    async def refuse(*_, **__):
        raise error

    with visit(shop_url, refused=True) as page:
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
        browsing.no_faults(page)
        field.fill("a-wrong-key-of-the-shop")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("This key does not open the server.")
        field.fill(API_KEY)
        field.press("Enter")
        expect(page.locator(".hit")).to_have_count(20)
        expect(field).to_be_hidden()
        page.reload()
        expect(field).to_be_visible()


@pytest.mark.parametrize(
    ("directive", "breach"),
    [
        ("require-trusted-types-for", "document.body.innerHTML = '<b>x</b>'"),
        ("require-trusted-types-for", "document.createElement('script').src = 'http://127.0.0.2:9/x.js'"),
        ("style-src-attr", "document.body.setAttribute('style', 'color: red')"),
        ("connect-src", "fetch('http://127.0.0.2:9/')"),
        ("img-src", "new Image().src = 'http://127.0.0.2:9/x.png'"),
    ],
    ids=["markup", "script", "style", "another host", "image"],
)
def test_the_policy_holds(chromium, shop_url, directive, breach):
    page = chromium.new_page()
    page.goto(shop_url)
    page.evaluate(
        "addEventListener('securitypolicyviolation', (event) => (window.broken = event.effectiveDirective))"
    )
    page.evaluate(f"(() => {{ try {{ {breach} }} catch {{}} }})()")
    page.wait_for_timeout(300)
    assert page.evaluate("window.broken") == directive
    page.close()
