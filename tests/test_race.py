"""The race's own parts, with a peer that needs nothing: the real peers have environments of their own."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from onyxrank import Item, Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.measure.requests import Request

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import race
import race_field
import race_turns
from peers import process as peer_process
from peers.checkpoint import peer_checkpoint
from peers.process import PeerFailed, PeerProcess
from race_field import Runner
from race_page import write_page
from race_quality import held_out, quality_of
from race_usage import Usage

MACHINE = {"cpu_model": "CPU", "machine_family": "avx2", "cpus_usable": 2}
RECORD = {"commit": "0123456789", "dirty": False, "date": "now", "machine": MACHINE, "command": "make peers"}
REQUEST = Request(("steel tent",), (Item("a", "stove", "gas"), Item("b", "lamp"), Item("c", "tent pegs")))


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a worker on a module of this test's own."""
    (tmp_path / "fake_peer.py").write_text(
        "print('noise on standard output')\n"
        "class Fake:\n"
        "    choices = (1, 2)\n"
        "    def __init__(self, folder, threads):\n"
        "        self.settings = {'folder': folder, 'threads': threads}\n"
        "    def use(self, choice):\n"
        "        self.choice = choice\n"
        "    def score(self, query, texts, request):\n"
        "        print('more noise')\n"
        "        if len(texts) == 1:\n"
        "            raise RuntimeError('too few')\n"
        "        return [len(query) / 100 + len(text) for text in texts]\n"
        "def broken(folder, threads):\n"
        "    raise OSError('no such model')\n"
        "WAYS = {'fake': Fake, 'broken': broken}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    opened = []

    def start(way):
        opened.append(PeerProcess(Path(sys.executable), "fake_peer", way, tmp_path, 2, tmp_path / f"{way}.log"))
        return opened[-1]

    yield start
    for process in opened:
        process.close()


def test_bf16_is_left_out_where_it_would_be_emulated(tmp_path, monkeypatch):
    monkeypatch.setattr(race_field, "STARTERS", (("", "pytorch_peer", "PyTorch bf16", "cross", "PyTorch bf16"),))
    monkeypatch.setattr(race_field, "has_bf16", lambda: False)
    with ExitStack() as closing:
        runners, failures = race_field.start(tmp_path, {}, 1, (), closing)
    assert runners == []
    assert failures == {"PyTorch bf16": "this CPU has no bf16: emulated, it is slower than fp32"}


def test_a_worker_ranks_scores_and_chooses_whatever_its_library_prints(start, tmp_path):
    peer = start("fake")
    assert peer.settings == {"folder": str(tmp_path), "threads": 2}
    assert not peer.use_best_of("page")
    peer.tune("page", REQUEST)
    best = peer.settings["batch"]
    assert best in (1, 2)
    peer._best["widget"] = 3 - best
    assert peer.use_best_of("widget")
    assert peer.settings["batch"] == 3 - best
    assert peer.rank(REQUEST) > 0
    assert peer.score(REQUEST) == pytest.approx([0.1 + 9, 0.1 + 4, 0.1 + 9])
    taken, elapsed = peer.busy({"widget": REQUEST}, ["widget"], callers=3, seconds=0.2)
    assert len(taken["widget"]) >= 3
    assert elapsed >= 0.2


def test_what_fails_is_told_and_the_worker_lives_on(start):
    with pytest.raises(PeerFailed, match="OSError: no such model"):
        start("broken")
    peer = start("fake")
    with pytest.raises(PeerFailed, match="RuntimeError: too few"):
        peer.rank(REQUEST.first(1))
    assert peer.rank(REQUEST) > 0


def test_a_worker_that_is_gone_is_told(start):
    peer = start("fake")
    peer._process.kill()
    peer._process.wait()
    with pytest.raises(PeerFailed, match=r"is gone|without an answer") as caught:
        peer.rank(REQUEST)
    assert "fake.log" in str(caught.value)


def test_what_is_published_names_no_folder_above_the_project(tmp_path, monkeypatch):
    pages = []
    monkeypatch.setattr(race, "write_page", lambda content, folder, name: pages.append(content))
    failures = {"one": f"ended; see {race_field.PEERS / 'one.log'}"}
    race.write(RECORD, {"failures": failures}, tmp_path, "race")
    told = json.loads((tmp_path / "race.json").read_text())
    assert told == pages[0] == {"record": RECORD, "failures": {"one": "ended; see .bench/peers/one.log"}}


def test_the_time_of_a_worker_that_was_closed_stays_ours(start):
    before = Usage.now()
    peer = start("fake")  # starting takes a tenth of a second of a CPU at least
    with_it = Usage.now()
    peer.close()
    after = Usage.now()
    of_worker = with_it.ours_s - before.ours_s
    assert of_worker > 0
    # Times are sums of rounded floats, so equal ones may differ; a worker whose time were lost would take all of it.
    assert after.ours_s > with_it.ours_s - of_worker / 2


def test_a_worker_that_is_closed_is_gone_and_may_be_closed_again(start):
    peer = start("fake")
    peer.close()
    peer.close()
    with pytest.raises(PeerFailed):
        peer.rank(REQUEST)


def test_a_worker_that_hangs_is_ended(start, monkeypatch):
    peer = start("fake")
    monkeypatch.setattr(peer_process, "_LONGEST_S", 0.2)
    with pytest.raises(PeerFailed, match="without an answer"):
        peer.busy({"widget": REQUEST}, ["widget"], callers=1, seconds=30)


def test_one_that_fails_is_out_and_the_others_are_compared(start):
    runners = [Runner("PyTorch fp32", "cross", start("fake")), Runner("other", "cross", start("fake"))]
    race_turns.measure("tiny", REQUEST, runners, 3)
    for runner in runners:
        assert runner.results["tiny"]["runs"] == 3
        assert runner.results["tiny"]["score_difference"] == 0
        assert runner.results["tiny"]["top_10_kept"] == 1
    race_turns.attempt(runners[1], lambda: runners[1].process.rank(REQUEST.first(1)))
    assert "too few" in runners[1].failure
    race_turns.attempt(runners[1], pytest.fail)


def test_bulk_is_for_the_fast_and_their_reference():
    names = [name for *_, name in race_field.STARTERS]
    part = [name for name in names if race_field.takes_part(SimpleNamespace(name=name), "bulk")]
    assert {"PyTorch fp32", race_field.SHARED_REFERENCE, "onyxrank cross, tuned"} <= set(part)
    assert "onnxruntime, one batch" not in part
    assert len(part) < len(names) / 2
    assert all(race_field.takes_part(SimpleNamespace(name=name), "page") for name in names)


def test_what_was_measured_is_written_for_each_peer(start):
    runner = Runner("PyTorch fp32", "cross", start("fake"))
    race_turns.measure("tiny", REQUEST, [runner], 2)
    written = json.loads(json.dumps(runner.to_json()))
    assert written["results"]["tiny"]["runs"] == 2
    assert written["settings"]["threads"] == 2


def test_the_peers_checkpoint_has_one_logit_and_the_same_probabilities(trained_bundle, tmp_path):
    import onnxruntime
    from transformers import AutoTokenizer

    folder = peer_checkpoint(trained_bundle, tmp_path / "checkpoint", [("tent", "stove")])
    assert json.loads((folder / "calibration.json").read_text()) == [["tent", "stove"]]
    assert json.loads((folder / "tokenizer_config.json").read_text())["max_length"] == 512
    assert json.loads((folder / "tokenizer.json").read_text())["truncation"] is None
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    texts = [f"{item.title} {item.description}".strip() for item in REQUEST.items]
    encoded = AutoTokenizer.from_pretrained(folder)(
        [" ; ".join(REQUEST.history)] * len(texts), texts, padding=True, return_tensors="np"
    )
    names = [node.name for node in session.get_inputs()]
    [logits] = session.run(["logits"], {name: encoded[name].astype(np.int64) for name in names})
    assert logits.shape == (3, 1)
    with Ranker.load(trained_bundle, variant="fp32", threads=1) as ranker:
        margins = {hit.index: hit.margin for hit in ranker.rank(REQUEST.history, REQUEST.items)}
    assert logits[:, 0] == pytest.approx([margins[index] for index in range(3)], abs=1e-4)


def test_held_out_lists_are_read_whole_and_measured(trained_bundle, aisle_data):
    bundle = open_bundle(trained_bundle)
    lists = held_out(aisle_data, bundle, 4)
    encoder = load_encoder(bundle)
    for request, labels in zip(lists.requests, lists.labels, strict=True):
        assert len(request.items) == len(labels)
        assert labels.sum() == 1
        encoded = encoder.encode(request.history, request.items)
        assert not encoded.cuts

    class Ranking:
        def score(self, request):
            return [float(item.id == request.items[0].id) for item in request.items]

    found = quality_of(Ranking(), lists)
    positives_first = np.mean([row[0] == 1 for row in lists.labels])
    assert found["auc"] >= positives_first
    assert 0 <= found["ndcg_at_10"] <= 1


def test_the_page_marks_what_is_fast_and_wrong_and_names_what_is_absent(tmp_path):
    def result(milliseconds, difference, precision):
        return race_turns.figures([milliseconds / 1000] * 3) | {
            "score_difference": difference,
            "top_10_kept": 1.0,
            "settings": {"batch": 8} | precision,
        }

    def peer(name, milliseconds, difference=0.0, failure="", **precision):
        results = {"page": result(milliseconds, difference, precision)}
        results["quality"] = {"auc": 0.75, "ndcg_at_10": 0.5}
        results["busy"] = {"page": race_turns.figures([0.1, milliseconds / 250]), "items_per_s": 100.0}
        settings = {"versions": "a 1", "batch": 8}
        return {"name": name, "architecture": "cross", "settings": settings, "results": results, "failure": failure}

    content = {
        "record": RECORD,
        "texts": "demo shop",
        "bundles": {"cross": "a", "shared-history": "b"},
        "workloads": {
            "page": {"history_tokens": 192, "items": 100, "item_tokens_mean": 60.0, "rounds": 3, "left_out": ["x"]}
        },
        "busy": {"callers": 8, "order": ["widget"], "seconds": 20.0},
        "quality": {"lists": 60, "items": 25},
        "crowded": True,
        "peers": [
            peer("PyTorch fp32", 1000.0),
            peer("wrong", 100.0, 0.4),
            peer("exact no more", 100.0, 0.04, precision="fp32"),
            peer("half", 100.0, 0.03, precision="bfloat16"),
            peer("onyxrank cross", 250.0, 1e-2, variant="int8_static_avx2"),
        ],
        "failures": {"absent": "no\nwheel"},
    }
    write_page(content, tmp_path, "race-small")
    page = (tmp_path / "race-small.md").read_text()
    assert "# The race on cpu-avx2: small" in page
    assert "- measured: now, at commit 0123456, by `make peers`\n" in page
    assert "**Not valid.**" in page
    assert "| PyTorch fp32 | 1,000 | 1,000–1,000 | 1,000 | 1.00 | 0.0e+00 | 100% | 8 | 3 |" in page
    assert "| **onyxrank cross** | 250 | 250–250 | 250 | 4.00 | 1.0e-02 | 100% | 8 | 3 |" in page
    assert "**4.0e-01**" in page
    assert "**4.0e-02**" in page
    assert "| 3.0e-02 |" in page
    assert "| **onyxrank cross** | 100 |  |  |  | 550 | 1,000 | 4.0 |" in page
    assert "Without x: they would take an hour" in page
    assert "| wrong | 0.750 | 0.500 | 100 |" in page
    assert "- absent: no wheel" in page
    assert "text-embeddings-inference" in page
    with Image.open(tmp_path / "race-small.png") as picture:
        assert picture.width > 1000


def test_the_page_of_a_race_in_which_not_all_took_part_in_all(tmp_path):
    timed = race_turns.figures([0.1]) | {"settings": {"precision": "fp32"}}
    size = {"history_tokens": 192, "items": 1000, "item_tokens_mean": 60.0, "rounds": 1, "left_out": []}
    quality = {"auc": 0.75, "ndcg_at_10": 0.5}
    peers = [("in both", {"bulk": timed, "widget": timed}), ("not in bulk", {"widget": timed}), ("fails", {})]
    content = {
        "record": RECORD,
        "texts": "demo shop",
        "bundles": {},
        "workloads": {"bulk": size, "widget": size},
        "quality": {"lists": 60, "items": 25},
        "crowded": False,
        "peers": [
            {"name": name, "settings": {}, "results": results | {"quality": quality}, "failure": ""}
            for name, results in peers
        ],
        "failures": {},
    }
    write_page(content, tmp_path, "race")
    page = (tmp_path / "race.md").read_text()
    assert "| AUC | NDCG@10 | bulk p50 ms |" in page
    assert "| in both | 0.750 | 0.500 | 100 |" in page
    assert "| not in bulk | 0.750 | 0.500 |  |" in page
    assert (tmp_path / "race.png").is_file()
    write_page(content | {"peers": []}, tmp_path, "nobody")
    assert not (tmp_path / "nobody.png").exists()
