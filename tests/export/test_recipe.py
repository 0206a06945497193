from __future__ import annotations

import json

import pytest

from onyxrank import InvalidInput, Limits
from onyxrank_export.data.pairs import Sampling
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.recipe import built_in_recipes, read_recipe


@pytest.mark.parametrize("name", built_in_recipes())
def test_a_built_in_recipe_is_one_that_can_be_trained(name):
    config = TrainingConfig.from_options(**read_recipe(name))
    assert config != TrainingConfig(), "a recipe of defaults says nothing"


def test_a_recipe_is_read_from_a_file(tmp_path):
    options = {"learning_rate": 1e-4, "negatives": 7, "own_zeros": False, "item_tokens": 16, "seed": 3}
    (tmp_path / "mine.json").write_text(json.dumps(options))
    assert TrainingConfig.from_options(**read_recipe(str(tmp_path / "mine.json"))) == TrainingConfig(
        learning_rate=1e-4,
        sampling=Sampling(negatives=7, own_zeros=False, seed=3),
        limits=Limits(item_tokens=16),
        seed=3,
    )


def test_no_options_are_the_defaults():
    assert TrainingConfig.from_options() == TrainingConfig()


def test_an_unknown_recipe_is_refused_with_the_names_there_are(tmp_path):
    names = "late-interaction, quality"
    with pytest.raises(InvalidInput, match=f"no recipe 'speed'; name a JSON file, or one of {names}") as caught:
        read_recipe("speed")
    assert caught.value.field == "recipe"


@pytest.mark.parametrize("text", ["{", "[1]", '{"seed": [1]}', '{"seed": null}', "\xff"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    (tmp_path / "mine.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidInput, match="is not a JSON object of options and their values"):
        read_recipe(str(tmp_path / "mine.json"))
