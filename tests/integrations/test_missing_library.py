"""An adapter whose library is not installed says how to get it."""

from __future__ import annotations

import importlib
import sys

import pytest

from onyxrank import MissingExtra


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("haystack", "haystack", "haystack"),
    ],
)
def test_the_extra_is_named(monkeypatch, module, library, extra):
    for name in [name for name in sys.modules if name == library or name.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"onyxrank.integrations.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra) as caught:
        importlib.import_module(f"onyxrank.integrations.{module}")
    assert caught.value.extra == extra
    assert str(caught.value).endswith(f"pip install 'onyxrank[{extra}]'")
