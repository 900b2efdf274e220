"""Recipes: those that come with rille are sound, and mistakes are refused with a hint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from rille.errors import ConfigError
from rille.schema import to_toml
from rille_train.recipe import Recipe, read_recipe, recipe_names


def test_every_shipped_recipe_reads_and_survives_a_round_trip(tmp_path: Path) -> None:
    assert set(recipe_names()) >= {"mars-msl24", "moon-craters"}
    for name in recipe_names():
        recipe = read_recipe(name)
        assert recipe.name == name
        (tmp_path / "r.toml").write_text(to_toml(asdict(recipe)))
        assert read_recipe(str(tmp_path / "r.toml")) == recipe


def test_settings_change_a_recipe() -> None:
    recipe = read_recipe("mars-msl24", ["fit.epochs=3", 'model.backbone=""'])
    assert (recipe.fit.epochs, recipe.model.backbone) == (3, "")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fit.epoch=3", "no key 'epoch'; did you mean 'epochs'"),
        ("fit.epochs=0", "must be at least 1"),
        ("fit.learning_rate=0", "learning_rate must be above 0"),
        ("fit.precision=float8", "precision must be"),
        ("model.kind=mobilenet", "is not known; did you mean 'mobilenet-v2'"),
        ("model.kind=crater-unet", "does not do classification"),
        ("model.dropout=1", "dropout must be"),
        ("augment.crop=0", "crop must be above 0"),
        ("data.sun=top", "sun must be"),
        ("model.canonical_light=true", "needs data.sun"),
        ("task=guessing", "task 'guessing' is not known"),
    ],
)
def test_what_does_not_fit_is_refused(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_recipe("mars-msl24", [setting])


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mars-msl24'"):
        read_recipe("mars-msl")


def test_both_recipes_fly_what_they_train_on() -> None:
    """The preprocessing in the recipe is the preprocessing in the bundle that comes with rille."""
    from rille.bundle import load_bundle
    from rille.preprocess import parse_ops

    for name in ("mars-msl24", "moon-craters"):
        recipe: Recipe = read_recipe(name)
        assert load_bundle(name).manifest.ops == parse_ops(recipe.preprocess)
