from __future__ import annotations

import json

from onyxrank.machine.fingerprint import accelerators, differences, digest, machine_fingerprint


def test_it_is_data_and_the_same_every_time():
    here = machine_fingerprint()
    assert json.loads(json.dumps(here)) == here == machine_fingerprint()
    assert here["cpus"] >= 1
    assert "onnxruntime" in here["runtimes"]
    assert len(digest(here)) == 16


def test_what_differs_is_said_in_words():
    here = {"cpu": "A", "cpus": 2, "instruction_sets": ["avx2"], "accelerators": [], "runtimes": {"onnxruntime": "1"}}
    there = here | {"cpus": 4, "instruction_sets": [], "runtimes": {"onnxruntime": "2"}}
    assert differences(here, here) == ""
    assert differences(there, here) == (
        "cpus 4 there, 2 here; instruction_sets none there, avx2 here; "
        "runtimes onnxruntime 2 there, onnxruntime 1 here"
    )
    assert differences({}, {"cpu": "A"}) == "cpu none there, A here"
    assert digest(there) != digest(here)


def test_nvidia_cards_are_read_from_the_driver(tmp_path):
    for number, model in enumerate(["NVIDIA H100", "NVIDIA H200"]):
        folder = tmp_path / f"0000:0{number}:00.0"
        folder.mkdir()
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ: 12\n")
    assert accelerators(tmp_path) == ["NVIDIA H100", "NVIDIA H200"]
    assert accelerators(tmp_path / "absent") == []
