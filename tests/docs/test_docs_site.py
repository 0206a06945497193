"""The pages and the site that is built of them: no warning, no dead link, nothing fetched from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from doc_pages import PAGES, ROOT, anchors_of, links_of

MOST_README_LINES = 120
GENERATED = "cli.md#onyxrank-"
"""Anchors of these begin so; they are in the built site only."""


def is_outside(link):
    return re.match(r"[a-z]+:", link) is not None


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_resolve_where_it_is_read_as_a_file(page):
    for link in links_of(page):
        if is_outside(link):
            continue
        path, anchor = urldefrag(link)
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor and not link.startswith(GENERATED):
            assert anchor in anchors_of(target.resolve().relative_to(ROOT).as_posix()), f"{page}: {link}"


def test_the_readme_is_short_and_leads_to_every_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_README_LINES
    pages = {page for page in PAGES if re.fullmatch(r"docs/[a-z-]+\.md", page)}
    assert pages - set(links_of("README.md")) == {"docs/index.md"}


class Links(HTMLParser):
    """What an HTML page names and what it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe") and given.get("src"):
            self.loaded.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon"):
            self.loaded.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """As `make docs` builds it."""
    target = tmp_path_factory.mktemp("site")
    recipe = re.search(r"-m (sphinx .*) docs docs/_build", (ROOT / "Makefile").read_text(encoding="utf-8"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            *recipe[1].split(),
            "-d",
            str(target / "trees"),
            str(ROOT / "docs"),
            str(target / "html"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {path: Links(path) for path in (target / "html").rglob("*.html")}


@pytest.mark.slow
def test_links_of_the_site_resolve(site):
    assert len(site) > 15
    dead = []
    for path, page in site.items():
        for link in page.links:
            name, anchor = urldefrag(link)
            target = (path.parent / unquote(name)).resolve() if name else path
            if is_outside(link) or link == "#":
                continue
            if not target.exists() or (anchor and target in site and unquote(anchor) not in site[target].anchors):
                dead.append(f"{path.name}: {link}")
    assert dead == []


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    for path, page in site.items():
        assert [link for link in page.loaded if is_outside(link) or link.startswith("//")] == [], path.name


@pytest.mark.slow
def test_the_site_has_the_whole_public_api_and_every_command(site):
    import onyxrank
    from onyxrank.cli.app import app

    pages = {path.name: page for path, page in site.items()}
    public = {name for name in onyxrank.__all__ if not name.startswith("__")}
    assert public <= {anchor.removeprefix("onyxrank.") for anchor in pages["api.html"].anchors}
    assert {f"onyxrank-{command.name}" for command in app.registered_commands} <= pages["cli.html"].anchors
