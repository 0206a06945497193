from __future__ import annotations

import pytest

from onyxrank_export.training.labels import relevant_class


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (("LABEL_0", "LABEL_1"), 1),
        (("irrelevant", "relevant"), 1),
        (("relevant", "irrelevant"), 0),
        (("not_relevant", "relevant"), 1),
        (("RELEVANT", "non-relevant"), 0),
        (("NEGATIVE", "POSITIVE"), 1),
        (("POSITIVE", "NEGATIVE"), 0),
        (("yes", "no"), 0),
        (("0", "1"), 1),
        (("1", "0"), 0),
        (("purchase", "other"), 0),
        (("other", "no click"), 0),
        (("cat", "dog"), None),
        (("relevant", "positive"), None),
        (("no", "not relevant"), None),
        (("LABEL_0", "relevant"), 1),
    ],
    ids=str,
)
def test_names_tell_the_class_or_do_not(labels, found):
    assert relevant_class(labels) == found
