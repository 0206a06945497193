"""Each command, run in this process: its output, its exit status, and one clear line for what is wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import onyxrank
from aisles import write_aisles
from onyxrank import Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.cli import app as app_module
from onyxrank.cli import bench, demo, evaluate, export, inspect, rank, train, tune
from onyxrank.cli.app import run
from onyxrank_export.data.pairs import Sampling
from onyxrank_export.evaluation.scores import read_scores
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.recipe import recipe_of

HISTORY = ["zebrafish under a violet umbrella", "quokka"]  # words that no error may repeat
ITEMS = [
    onyxrank.Item("a", "steel tent pegs", "for camping"),
    onyxrank.Item("b", "desk lamp"),
    onyxrank.Item("c", "dog leash [bold]red[/bold]"),
]
RANKING = ["auc", "ndcg_at_10", "mrr", "hit_rate_at_10", "hit_rate_at_100"]
READ = ["unknown_tokens", "unreadable_titles", "identical_titles"]
BASELINES = ["popularity", "rarity", "bm25", "encoder", "co_purchase", "item_knn", "ease", "logit"]


@pytest.fixture
def items(tmp_path):
    path = tmp_path / "items.jsonl"
    rows = [{"item_id": item.id, "item_title": item.title, "item_description": item.description} for item in ITEMS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(result, message, status=1):
    """One line on standard error, nothing on standard output, no text of a history."""
    found, out, lines = result
    lines = [line for line in lines if not line.startswith("·")]  # what was being done until then
    assert (found, out) == (status, "")
    assert len(lines) == 1
    assert lines[0].startswith("onyxrank: ")
    assert message in lines[0]
    assert not [word for event in HISTORY for word in event.split() if len(word) > 5 and word in lines[0]]


def asked(bundle, items, *more):
    return ["rank", bundle, *(part for event in HISTORY for part in ("--history", event)), "--items", items, *more]


# The program


def test_version_and_help(call):
    assert call("--version") == (0, f"onyxrank {onyxrank.__version__}\n", [])
    status, out, _ = call("--help")
    assert status == 0
    for module in (demo, train, export, evaluate, rank, inspect, tune, bench):
        assert module.__name__.rpartition(".")[2] in out


@pytest.mark.parametrize("command", ["demo", "train", "export", "evaluate", "rank", "inspect", "tune", "bench"])
def test_every_command_explains_itself(call, command):
    status, out, errors = call(command, "--help")
    assert (status, errors) == (0, [])
    assert "--" in out
    assert "Usage" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["rank"], "Missing argument"),
        (["rank", "bundle"], "Missing option '--items'"),
        (["rank", "bundle", "--items", "x", "--top-k", "many"], "--top-k"),
        (["train", "--data", "x"], "Missing option '--out'"),
        (["inspect", "bundle", "--loud"], "No such option"),
    ],
    ids=["command", "argument", "option", "type", "train", "unknown"],
)
def test_wrong_usage_is_status_2(call, arguments, message):
    status, out, errors = call(*arguments)
    assert (status, out) == (2, "")
    assert message in "\n".join(errors)
    assert "Traceback" not in "\n".join(errors)


def test_an_interruption_is_status_130(call, monkeypatch, tiny_bundle, items):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(rank.Ranker, "load", interrupt)
    status, out, lines = call(*asked(tiny_bundle, items))
    assert (status, out) == (130, "")
    assert lines[-1] == "onyxrank: interrupted"


def test_a_fault_of_the_program_is_not_hidden(monkeypatch, tiny_bundle):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(inspect, "open_bundle", fail)
    with pytest.raises(ZeroDivisionError):
        run(["inspect", str(tiny_bundle)])


def test_main_exits_with_the_status(monkeypatch):
    from onyxrank.cli import main

    monkeypatch.setattr(app_module, "run", lambda: 3)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3


# rank


def test_rank_gives_the_rankers_ranking_as_json(call, tiny_bundle, items):
    status, out, _ = call(*asked(tiny_bundle, items, "--json"))
    assert status == 0
    rows = json.loads(out)
    assert [list(row) for row in rows] == [["rank", "index", "item_id", "score"]] * 3
    with Ranker.load(tiny_bundle) as ranker:
        expected = ranker.rank(HISTORY, ITEMS)
    assert rows == expected.as_records()


def test_rank_shows_the_best_k(call, tiny_bundle, items):
    status, out, _ = call(*asked(tiny_bundle, items, "--top-k", 2))
    assert status == 0
    assert len([line for line in out.splitlines() if line.strip()]) == 3
    assert json.loads(call(*asked(tiny_bundle, items, "--top-k", 2, "--json"))[1])[1]["rank"] == 2


def test_rank_shows_titles_as_they_are(call, tiny_bundle, items):
    assert "dog leash [bold]red[/bold]" in call(*asked(tiny_bundle, items))[1]


def test_rank_says_that_it_is_a_cold_start(call, tiny_bundle, items):
    items.write_text(items.read_text() + items.read_text().splitlines()[0] + "\n")
    status, _, lines = call("rank", tiny_bundle, "--items", items)
    assert [line for line in lines if "1 of 4 rows have the id of an earlier one" in line]
    assert status == 0
    assert "no history" in lines[-1]


def test_rank_says_what_did_not_fit(call, tiny_bundle, items):
    _, _, lines = call("rank", tiny_bundle, "--items", items, "--history", "tent " * 100, "--history", "tent " * 40)
    assert "1 history events, 0 titles, 0 descriptions" in lines[-1]


@pytest.mark.parametrize("option", [("--top-k", "0"), ("--threads", "0")], ids=["top-k", "threads"])
def test_rank_refuses_numbers_that_mean_nothing(call, tiny_bundle, items, option):
    refused(call(*asked(tiny_bundle, items, *option)), option[0].lstrip("-").replace("-", "_"))


def test_rank_refuses_a_blank_event_without_repeating_the_others(call, tiny_bundle, items):
    refused(call(*asked(tiny_bundle, items), "--history", " "), "history[2] is empty")


@pytest.mark.parametrize(
    ("command", "name"),
    [("rank", "nowhere"), ("inspect", "nowhere"), ("evaluate", "nowhere"), ("tune", "nowhere"), ("bench", "nowhere")],
)
def test_no_such_bundle(call, tmp_path, items, command, name):
    more = {"rank": ["--items", items, "--history", HISTORY[0]], "evaluate": ["--data", tmp_path]}.get(command, [])
    refused(call(command, tmp_path / name, *more), f"there is no folder {tmp_path / name}")


@pytest.mark.parametrize("command", ["rank", "inspect"])
def test_an_altered_bundle_is_refused(call, tiny_bundle, tmp_path, items, command):
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    content = bytearray((bundle / "onnx" / "model.onnx").read_bytes())
    content[-1] ^= 1
    (bundle / "onnx" / "model.onnx").write_bytes(content)
    result = call(*asked(bundle, items)) if command == "rank" else call("inspect", bundle)
    refused(result, "onnx/model.onnx: altered")


def test_an_unknown_variant_or_provider_is_refused(call, tiny_bundle, items):
    refused(call(*asked(tiny_bundle, items, "--variant", "int4")), "no variant 'int4'")
    refused(call(*asked(tiny_bundle, items, "--provider", "abacus")), "abacus")


def test_a_provider_that_does_not_run_is_refused(call, tiny_bundle, items):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    refused(call(*asked(tiny_bundle, items, "--provider", "cuda")), "cuda")


# evaluate


def test_evaluate_gives_the_figures_of_the_contract_as_json(call, trained_bundle, aisle_data):
    status, out, _ = call("evaluate", trained_bundle, "--data", aisle_data, "--lists", 20, "--json")
    assert status == 0
    figures = json.loads(out)
    assert list(figures) == ["model", *BASELINES]
    of_model = [*RANKING, "accuracy", "log_loss", "constant_log_loss", "calibration_error", *READ]
    assert list(figures["model"]) == of_model
    assert all(list(figures[name]) == RANKING for name in BASELINES)
    assert all(isinstance(value, float) for name in ("model", *BASELINES) for value in figures[name].values())


def test_evaluate_shows_a_table(call, trained_bundle, aisle_data, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    asked = ("--lists", 20, "--variant", "fp32", "--baselines", "bm25, popularity")
    asked += ("--reliability", tmp_path / "diagram.png")
    status, out, _ = call("evaluate", trained_bundle, "--data", aisle_data, *asked)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["model", "popularity", "BM25"]
    text = " ".join(out.split())
    assert "20 lists of 40 candidates (protocol sampled, split last), variant fp32; 95 % intervals: AUC" in text
    assert "Probabilities: log loss" in text
    assert "the best baseline, " in text
    assert (tmp_path / "diagram.png").stat().st_size > 1000


def test_evaluate_keeps_scores(call, trained_bundle, aisle_data, tmp_path):
    asked = ("--lists", 5, "--protocol", "full", "--baselines", "bm25", "--scores", tmp_path / "kept.npz")
    status, out, _ = call("evaluate", trained_bundle, "--data", aisle_data, *asked)
    assert (status, "protocol full" in out) == (0, True)
    kept = read_scores(tmp_path / "kept.npz")
    assert (len(kept.sizes), set(kept.scores)) == (5, {"model", "bm25"})


def test_evaluate_refuses_a_split_that_was_learnt_from(call, trained_bundle, aisle_data):
    refused(call("evaluate", trained_bundle, "--data", aisle_data, "--split", "time"), "train with --split time")
    refused(call("evaluate", trained_bundle, "--data", aisle_data, "--protocol", "half"), "full, sampled, sampled-v1")


def test_evaluate_refuses_no_lists_and_no_data(call, trained_bundle, aisle_data, tmp_path):
    refused(call("evaluate", trained_bundle, "--data", aisle_data, "--lists", 0), "at least 1 list")
    refused(call("evaluate", trained_bundle, "--data", tmp_path / "no.csv"), "no such file or folder")


# inspect


def test_inspect_tells_what_is_in_a_bundle(call, trained_bundle, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = call("inspect", trained_bundle)
    assert status == 0
    for variant in open_bundle(trained_bundle).manifest.variants:
        assert variant.name in out
    for text in (
        "cross, softmax head",
        "12 history + 6 item tokens",
        "held-out lists",
        "model.safetensors",
        "loads ",
    ):
        assert text in out


def test_inspect_gives_everything_as_json(call, trained_bundle):
    status, out, _ = call("inspect", trained_bundle, "--json")
    assert status == 0
    told = json.loads(out)
    assert list(told) == ["manifest", "machine", "loads"]
    assert told["manifest"] == json.loads((trained_bundle / "onyxrank.json").read_text())
    assert "CPUExecutionProvider" in told["machine"]["providers"]
    assert told["loads"]["variant"] in [variant["name"] for variant in told["manifest"]["variants"]]


def test_inspect_of_a_bundle_that_says_little_about_itself(call, tiny_bundle):
    status, out, _ = call("inspect", tiny_bundle)
    assert status == 0
    assert "elsewhere" in out
    assert "not recorded" in out


# train and export


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return write_aisles(tmp_path_factory.mktemp("few") / "data", shoppers=30)


def trained(few, out, *more):
    small = ["--base", "tiny", "--max-steps", 2, "--history-tokens", 12, "--item-tokens", 6, "--validation-lists", 5]
    plain = ["--arch", "cross", "--contrastive-steps", 0, "--contrastive-weight", 0]
    return ["train", "--data", few, "--out", out, *plain, *small, *more]


def test_train_then_export(call, few, tmp_path):
    status, out, lines = call(*trained(few, tmp_path / "run"))
    assert status == 0
    assert "Next: onyxrank export" in out
    assert [line for line in lines if "step 2 of 2: validation loss" in line and "NDCG@10" in line]
    assert [line for line in lines if line.endswith("training, 2 steps")]
    status, out, lines = call("export", tmp_path / "run", "--out", tmp_path / "bundle", "--precision", "fp32")
    assert status == 0
    assert "fp32_fused" in out
    assert [line for line in lines if "checking parity" in line]
    assert [variant.name for variant in open_bundle(tmp_path / "bundle").manifest.variants] == ["fp32_fused", "fp32"]
    refused(call("export", tmp_path / "run", "--out", tmp_path / "bundle"), "replace it with --overwrite")
    refused(call(*trained(few, tmp_path / "run")), "exists and is not empty")
    refused(call(*trained(few, tmp_path / "run", "--resume")), "nothing to resume")


def test_train_names_every_fault_of_the_data(call, tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("user_id,item_id,behavior,item_title,item_description\nu,a,7,tent,\nu,,1,lamp,\nu,b,1,,\n")
    status, out, lines = call(*trained(data, tmp_path / "run"))
    assert (status, out) == (1, "")
    assert lines[0].startswith("onyxrank: data.csv, ")
    assert [line.removeprefix("onyxrank: ") for line in lines] == [
        "data.csv, row 2, column item_id: is missing",
        "data.csv, row 1, column behavior: is 7; write 1 (bought) or 0 (not)",
        "data.csv, row 3, column item_title: is empty; it needs some text to rank by",
    ]
    assert not (tmp_path / "run").exists()


def test_train_without_a_data_file_says_so(call, tmp_path):
    refused(call(*trained(tmp_path / "none.parquet", tmp_path / "run")), "none.parquet: no such file or folder")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--base", "/no/base"), "cannot load a sequence classifier from '/no/base'"),
        (("--arch", "colbert"), "arch must be one of"),
        (("--negatives", "-1"), "negatives must be at least 0"),
        (("--popular", "2"), "popular must be from 0 to 1"),
        (("--seed", "-1"), "seed must be at least 0"),
        (("--item-tokens", "0"), "item_tokens must be"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_train_refuses_settings_in_one_line(call, few, tmp_path, option, message):
    refused(call(*trained(few, tmp_path / "run", *option)), message)
    assert not (tmp_path / "run").exists()


def test_a_recipe_fills_in_what_is_not_given(call, few, tmp_path, monkeypatch):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"batch_size": 64, "head_rate": 5, "own_zeros": False, "negatives": 7}))
    asked = []
    monkeypatch.setattr(train, "train_run", lambda data, out, config, **options: asked.append(config))
    given = ["train", "--data", few, "--out", tmp_path / "run", "--negatives", 2]
    for order in (["--arch", "cross", "--recipe", recipe], ["--recipe", recipe, "--arch", "cross"]):
        assert call(*given, *order)[0] == 0
    sampling = Sampling(negatives=2, own_zeros=False)
    assert asked == [TrainingConfig(batch_size=64, head_rate=5.0, sampling=sampling)] * 2


@pytest.mark.parametrize("arch", ["cross", "shared-history", None])
def test_an_architecture_is_trained_by_its_own_recipe(call, few, tmp_path, monkeypatch, arch):
    asked = []
    monkeypatch.setattr(train, "train_run", lambda data, out, config, **options: asked.append(config))
    status, _, _ = call("train", "--data", few, "--out", tmp_path / "run", *(["--arch", arch] if arch else []))
    assert status == 0
    name = arch or "late-interaction"
    assert asked == [TrainingConfig.from_options(arch=name, **recipe_of(name))]
    assert asked[0].contrastive_steps > 0


def test_a_recipe_names_options_of_train_and_nothing_else(call, few, tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"batch-size": 64, "seed": 1}))
    refused(call(*trained(few, tmp_path / "run", "--recipe", recipe)), "names batch-size: no option of train")
    refused(call(*trained(few, tmp_path / "run", "--recipe", "no")), "there is no recipe 'no'")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--precision", "fp8"), "no precision fp8; choose of fp32"),
        (("--gate-lists", "0"), "gate_lists"),
        (("--history-tokens", "0"), "history_tokens must be"),
        (("--data", "/no/data"), "no such file or folder"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_export_refuses_settings_in_one_line(call, trained_run, tmp_path, option, message):
    refused(call("export", trained_run, "--out", tmp_path / "bundle", *option), message)
    assert not (tmp_path / "bundle").exists()


def test_export_of_what_is_no_run(call, tmp_path):
    refused(call("export", tmp_path, "--out", tmp_path / "bundle"), "not a run or model folder")


# demo


@pytest.mark.slow
def test_the_demo_goes_the_whole_way(call, monkeypatch, tmp_path, trained_run, trained_bundle, aisle_data):
    """With its long parts replaced by what the fixtures made."""
    seen = {}

    def train_run(data, out, config):
        seen.setdefault("configs", []).append(config)
        shutil.copytree(trained_run, out)

    def export_run(run_folder, out, config):
        seen["export"] = config
        shutil.copytree(trained_bundle, out)

    def measure(bundle, **request):
        seen["race"] = request

    monkeypatch.setattr(demo, "train_run", train_run)
    monkeypatch.setattr(demo, "export_run", export_run)
    monkeypatch.setattr(demo.bench, "measure", measure)
    monkeypatch.setattr(demo.bench, "show", lambda report: None)
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = call("demo", "--out", tmp_path / "demo", "--base", "tiny", "--steps", 7, "--seed", 3)
    assert status == 0
    cross, shared = seen["configs"]
    assert (cross.arch, cross.base, cross.max_steps, cross.seed) == ("cross", "tiny", 7, 3)
    assert (shared.arch, shared.base) == ("shared-history", str(tmp_path / "demo" / "cross" / "run"))
    assert (shared.max_steps, shared.seed) == (7, 3)
    assert seen["export"].force is False
    assert seen["race"]["items"] == 100
    assert seen["race"]["beside"] == [tmp_path / "demo" / "shared-history" / "bundle"]
    for text in ("The demo shop", "One shopper bought", "Really bought next", "popularity", "onyxrank rank bundle"):
        assert text in out
    assert (tmp_path / "demo" / "shop" / "items.parquet").is_file()
    refused(call("demo", "--out", tmp_path / "demo"), "exists and is not empty")


def test_scores_of_the_command_line_are_plain_numbers(call, tiny_bundle, items):
    [first, *_] = json.loads(call(*asked(tiny_bundle, items, "--json"))[1])
    assert isinstance(first["score"], float)
    assert np.float32(first["score"]) == first["score"]
