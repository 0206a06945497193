"""The JDK's own client, which asks to upgrade to HTTP/2 with every first request unless told otherwise."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from asked import KEY, QUERY, TEXTS, TOLERANCE, expected

JAVA = shutil.which("java")
PROGRAM = Path(__file__).with_name("Rerank.java")
PATIENCE = 120


def compiles() -> bool:
    """Whether there is a JDK, which runs a program from its source, and not only what runs compiled ones."""
    if JAVA is None:
        return False
    modules = subprocess.run([JAVA, "--list-modules"], capture_output=True, text=True, timeout=PATIENCE)
    return "jdk.compiler" in modules.stdout


@pytest.mark.slow
@pytest.mark.parametrize("version", ["HTTP_2", "HTTP_1_1"])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS * 800], ids=["small", "large"])
def test_rerank(url, ranker, tmp_path, version, texts):
    if not compiles():
        pytest.skip("no JDK, whose client this asks with")
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"query": QUERY, "texts": texts}), encoding="utf-8")
    command = [JAVA, str(PROGRAM), version, f"{url}/rerank", KEY, str(body)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    order, scores = expected(ranker, texts)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        status, answer = line.split(" ", 1)
        assert status == "200", line[:400]
        rows = json.loads(answer)
        assert [row["index"] for row in rows] == order
        assert [row["score"] for row in rows] == pytest.approx(scores, abs=TOLERANCE)
