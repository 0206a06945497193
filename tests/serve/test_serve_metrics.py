from __future__ import annotations

from onyxrank import Item
from onyxrank.request.ranking import Hit, Ranking
from onyxrank.request.truncation import Cuts
from onyxrank.serve.metrics import Metrics


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
