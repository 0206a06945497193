"""The blocks of docs/integrations.md that need a library run where that library is."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
LIBRARIES = {"langchain": "langchain_core", "llama_index": "llama_index", "haystack": "haystack"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_block_of_a_library_runs(name, bundle, tmp_path, monkeypatch, capsys):
    if find_spec(LIBRARIES[name]) is None:
        pytest.skip("make test-all has it in an environment of its own")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [block] = [block for block in blocks if f"onyxrank.integrations.{name} " in block]
    (tmp_path / "bundle").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(PAGE), "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 2
