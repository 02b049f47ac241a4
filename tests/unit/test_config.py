"""Recipes: every mistake has a message that names the key and the way out."""

import json
from pathlib import Path

import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import dump_recipe, load_recipe, recipe_schema
from mlpf_stream.errors import ConfigError

LSH = str(Path(__file__).parents[2] / "recipes" / "clic-lsh-cpu.yaml")
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_for_detector_model_and_hardware(path):
    detector, *mode, model, hardware = path.stem.split("-")
    assert detector in DETECTORS
    assert mode in ([], ["hits"])
    assert load_recipe(str(path)).model.kind.split("_")[0] == model
    assert hardware == "cpu"


def test_overrides_reach_nested_keys_and_keep_types(tmp_path):
    recipe = load_recipe(LSH, ["train.steps=7", "train.learning_rate=3e-4", "data.url=x"])
    assert (recipe.train.steps, recipe.train.learning_rate, recipe.data.url) == (7, 3e-4, "x")
    again = tmp_path / "again.yaml"
    again.write_text(dump_recipe(recipe))
    assert load_recipe(str(again)) == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepps=7", "train.stepps: no such key"),
        ("model.blok=7", "model.blok: no such key"),
        ("train.steps=0", "train.steps: .*greater than or equal to 1"),
        ("train.steps", "expected an override like"),
        ("run.dir.x=1", "is a value, not a section"),
        ("model.heads=3", "width 128 is not a multiple of heads 3"),
    ],
)
def test_a_wrong_key_or_value_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(LSH, [override])


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="found none at"):
        load_recipe(str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigError, match="expected YAML"):
        load_recipe(str(broken))
    broken.write_text("- a")
    with pytest.raises(ConfigError, match="expected sections"):
        load_recipe(str(broken))


def test_the_schema_describes_every_key():
    schema = json.loads(recipe_schema())
    assert schema["$defs"]["TrainConfig"]["additionalProperties"] is False
    assert "description" in schema["$defs"]["TrainConfig"]["properties"]["steps"]
