from __future__ import annotations

import numpy as np
import pytest

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.scores import KeptScores, read_scores


def test_scores_come_back_as_they_were(tmp_path):
    lists = [
        CandidateList(("a secret",), np.array([3, 1], np.int32), np.array([0, 1], np.float32)),
        CandidateList((), np.array([2], np.int32), np.array([1], np.float32)),
    ]
    scores = {"model": [np.array([0.25, 0.5]), np.array([1.0])], "ease": [np.array([2.0, 3.0]), np.array([4.0])]}
    kept = KeptScores.of(lists, scores, protocol="full", split="time", fingerprint="f0")
    kept.write(tmp_path / "scores.npz")
    read = read_scores(tmp_path / "scores.npz")
    assert (read.protocol, read.split, read.fingerprint) == ("full", "time", "f0")
    assert [row.tolist() for row in read.by_list(read.scores["ease"])] == [[2, 3], [4]]
    assert [row.tolist() for row in read.by_list(read.labels)] == [[0, 1], [1]]
    assert (read.items.tolist(), read.sizes.tolist()) == ([3, 1, 2], [2, 1])
    assert b"secret" not in (tmp_path / "scores.npz").read_bytes()


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", sizes=np.array([1]))
    with pytest.raises(ValueError, match="no scores of an evaluation"):
        read_scores(tmp_path / "other.npz")
