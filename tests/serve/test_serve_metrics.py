from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from onyxrank import Item
from onyxrank.request.ranking import Hit, Ranking
from onyxrank.request.truncation import Cuts
from onyxrank.serve import service
from onyxrank.serve.metrics import SHARED_FOLDER, Metrics


def test_scores_and_unknown_tokens_of_answers_are_counted():
    metrics = Metrics()
    scores = (0.91, 0.04, 0.03)
    hits = tuple(Hit(n + 1, n, str(n), score, Item(str(n), "zebrasecret")) for n, score in enumerate(scores))
    metrics.ranking(Ranking(hits=hits, total=3, cuts=Cuts(), cold_start=False, tokens=12, unknown_tokens=5))
    page = metrics.page().decode()
    for line in (
        'onyxrank_score_bucket{le="0.05"} 2.0',
        'onyxrank_score_bucket{le="1.0"} 3.0',
        "onyxrank_score_count 3.0",
        "onyxrank_tokens_total 12.0",
        "onyxrank_unknown_tokens_total 5.0",
    ):
        assert line in page, line
    assert "zebrasecret" not in page


@pytest.mark.parametrize("shared", [False, True], ids=["one worker", "several"])
def test_only_the_model_that_is_served_is_in_force(tmp_path, shared):
    program = """
from onyxrank.serve.metrics import Metrics
metrics = Metrics()
info = {"architecture": "cross", "variant": "fp32", "provider": "cpu"}
for name in ("old", "new", "old", "newest"):
    metrics.model(name, info)
print(metrics.page().decode())
"""
    environment = {**os.environ, **({SHARED_FOLDER: str(tmp_path)} if shared else {})}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("onyxrank_model{")]
    in_force = [line for line in lines if line.endswith(" 1.0")]
    assert len(in_force) == 1
    assert 'name="newest"' in in_force[0]


def test_figures_are_refreshed_whoever_is_scraped_and_go_on_after_a_failure(monkeypatch, caplog):
    monkeypatch.setattr(service, "_REFRESH_EVERY_S", 0.001)
    seen = []

    def update(info):
        seen.append(info)
        if len(seen) == 1:
            raise OSError(28, "zebrasecret")

    own = service.Service(None, SimpleNamespace(update=update), SimpleNamespace(info=lambda: {"queue": 1}))

    async def scrape_nothing():
        refreshing = asyncio.create_task(own.refresh())
        while len(seen) < 3:
            await asyncio.sleep(0.001)
        refreshing.cancel()

    asyncio.run(asyncio.wait_for(scrape_nothing(), 60))
    assert [record.message for record in caplog.records] == ["metrics failed"]
    assert "zebrasecret" not in caplog.text
