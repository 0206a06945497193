from __future__ import annotations

from skips import summary


def test_reasons_are_counted_and_the_most_frequent_comes_first():
    assert summary(["Skipped: no GPU. Buy one", "no browser", "no browser"]) == [
        "2 skipped: no browser",
        "1 skipped: no GPU",
    ]
    assert summary([]) == []


def test_more_reasons_than_lines_share_the_last():
    lines = summary([reason for reason in "abcdefg" for _ in range(8 - ord(reason) % 8)], most=3)
    assert len(lines) == 3
    assert sum(int(line.split()[0]) for line in lines) == sum(8 - ord(reason) % 8 for reason in "abcdefg")
    assert lines[-1].endswith("for 5 other reasons: c; d; e; f; g")
    assert summary("aabb", most=2) == ["2 skipped: a", "2 skipped: b"], "none is left over"
