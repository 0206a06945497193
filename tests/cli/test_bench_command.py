from __future__ import annotations

import importlib.util
import json


def test_bench_prints_a_report(call, tiny_bundle):
    small = ["--items", 4, "--history-tokens", 10, "--item-tokens", 6, "--repeats", 2, "--no-eager"]
    status, out, _ = call("bench", tiny_bundle, *small, "--json")
    assert status == 0
    assert json.loads(out)
    status, out, _ = call("bench", tiny_bundle, *small)
    assert "fp32 " in out
    assert "onyxrank: runs of up to " in out
    assert "of fewer than 100 runs" in out
    assert "a probability differs from fp32's by at most: less than 1e-05" in " ".join(out.split())
    assert "callers at once: fp32 " in out


def test_a_report_that_cannot_be_written_is_told_before_anything_is_measured(call, tiny_bundle, tmp_path):
    status, out, errors = call("bench", tiny_bundle, "--html", tmp_path)
    assert (status, out, len(errors)) == (1, "", 1)
    assert "cannot be written; name another file with --html" in " ".join(errors[0].split())


def test_bench_says_what_it_leaves_out_and_goes_on(call, tiny_bundle, monkeypatch):
    small = ["--items", 4, "--history-tokens", 10, "--item-tokens", 6, "--repeats", 1]
    status, _, errors = call("bench", tiny_bundle, *small)
    assert status == 0, "a folder without weights, as deployment folders are"
    assert "has no model.safetensors" in " ".join("".join(errors).split())
    honest = importlib.util.find_spec
    for name, message in (("transformers", "no eager PyTorch"), ("onnx", "no share of the machine's")):

        def find_spec(asked, *more, absent=name):
            return None if asked == absent else honest(asked, *more)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        status, _, errors = call("bench", tiny_bundle, *small)
        assert status == 0
        assert f"{name} is not installed: {message}" in " ".join(" ".join(errors).split())
