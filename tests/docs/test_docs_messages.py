"""Whatever the code may say to a user, the troubleshooting page explains."""

from __future__ import annotations

from doc_messages import messages
from doc_pages import ROOT

PAGE = "docs/troubleshooting.md"
UNMET = {
    "a pool needs events and items": "of measurements, for who writes one",
    "name at least one variant to measure": "the command line gives one or none at all",
    "two ways have the same name": "of measurements, for who writes one",
    "nothing was measured": "of measurements, for who writes one",
}
"""Messages that no user meets."""


def plain(text):
    return " ".join(text.replace("`", "").split())


def test_every_message_is_explained():
    page = plain((ROOT / PAGE).read_text(encoding="utf-8"))
    missing = [f"{each.place}: {each.text}" for each in messages() if plain(each.core) not in page]
    assert [each for each in missing if each.partition(": ")[2] not in UNMET] == [], f"explain them in {PAGE}"


def test_messages_are_found():
    found = {message.text for message in messages()}
    assert len(found) > 150
    assert found >= set(UNMET)
