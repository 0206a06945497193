"""What the adapters are tested with.

`make test-integrations` runs these tests once per library, in an environment of that library alone, on a bundle that
the project's own environment made and whose path is in ONYXRANK_BUNDLE. In the ordinary suite the tests whose library
is not installed are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onyxrank import Ranker


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Path:
    named = os.environ.get("ONYXRANK_BUNDLE")
    return Path(named) if named else request.getfixturevalue("tiny_bundle")


@pytest.fixture
def ranker(bundle):
    with Ranker.load(bundle, threads=1) as ranker:
        yield ranker
