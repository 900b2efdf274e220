"""Every recipe of a reference project trains, small: two epochs on tiny data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="the train extra is not installed")

import keras

from rille.errors import ConfigError
from rille_train.loop import train
from rille_train.models import build_model, input_shape
from rille_train.recipe import read_recipe
from rille_train.trials import Material
from rille_train.trials.cross_validation import cross_validate

WITHIN = '{op="gray"},{op="resize",width=32,height=32},{op="clahe"}'
SMALL = ["fit.head_epochs=1", "fit.epochs=1", "fit.batch=8", "fit.precision=float32"]
MOBILE = [
    "model.base=MobileNet",
    f'preprocess=[{WITHIN},{{op="normalize",mean=[127.5],std=[127.5]}}]',
    *SMALL,
]
PARAMETERS = {
    "craters-resunet": 2_232_497,
    "lunar-rocks-unet": 1_946_705,
    "lunar-scene": 4_383_655,
    "moon-scene": 2_592_068,
    "msl24-efficientnetb7": 64_159_151,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_networks_are_as_large_as_stated(name: str) -> None:
    """These numbers stand in train/README.md."""
    keras.config.set_dtype_policy("float32")
    recipe = read_recipe(name)
    classes = {"lunar-scene": 4, "moon-scene": 4, "msl24-efficientnetb7": 24}.get(name, 1)
    model = build_model(recipe, classes)
    assert model.count_params() == PARAMETERS[name]
    assert model.input_shape[1:] == input_shape(recipe)
    if recipe.model.freeze_below and recipe.model.base:
        names = [layer.name for layer in model.get_layer("base").layers]
        assert names.index(recipe.model.freeze_below) == 500
    readme = Path(__file__).parents[2] / "train" / "README.md"
    assert f"{PARAMETERS[name]:,}" in readme.read_text()


@pytest.mark.slow
def test_lunar_scene_on_the_network_it_names(change_scenes: Path, tmp_path: Path) -> None:
    """EfficientNetB0 fed grey pictures, four yes/no labels."""
    within = f'preprocess=[{WITHIN},{{op="normalize",mean=[0.0],std=[1.0]}}]'
    recipe = read_recipe("lunar-scene", [within, *SMALL])
    result = train(recipe, change_scenes, tmp_path / "run")
    assert np.isfinite(list(result.scores.values())).all()
    stored = json.loads((tmp_path / "run" / "validation.json").read_text())
    assert stored["phases"]["metric"] == "macro_ap"
    record = json.loads((tmp_path / "run" / "contract.json").read_text())
    assert sum("is in both splits" in leak for leak in record["provenance"]["leaks"]) == 2
    # The saved network answers as the one that was scored.
    again = train(recipe, change_scenes, tmp_path / "run")
    assert again.scores == pytest.approx(result.scores, abs=1e-5)


@pytest.mark.slow
def test_lunar_scene_by_folds(change_scenes: Path, tmp_path: Path) -> None:
    recipe = read_recipe("lunar-scene", MOBILE)
    table = cross_validate(recipe, Material(change_scenes), tmp_path / "folds", count=2)
    assert len(table["folds"]) == 2
    assert all("uneven" in row for row in table["folds"])
    for number in (1, 2):
        file = tmp_path / "folds" / f"fold-{number:02d}" / "contract.json"
        assert json.loads(file.read_text())["provenance"]["leaks"] == []


@pytest.mark.slow
def test_lunar_scene_with_one_class_a_picture(msl_set: Path, tmp_path: Path) -> None:
    recipe = read_recipe("lunar-scene", [*MOBILE, "task=classification"])
    result = train(recipe, msl_set, tmp_path / "run")
    assert set(result.scores) == {"accuracy", "macro_f1"}
    other = read_recipe("lunar-scene", [*MOBILE, "task=classification", "fit.seed=2"])
    with pytest.raises(ConfigError, match="holds a run of another recipe"):
        train(other, msl_set, tmp_path / "run")


@pytest.mark.slow
def test_msl24_by_a_smaller_efficientnet(msl_set: Path, tmp_path: Path) -> None:
    within = '{op="rgb"},{op="resize",width=48,height=33},{op="normalize",mean=[0.0],std=[1.0]}'
    settings = [f"preprocess=[{within}]", "model.base=EfficientNetB0", *SMALL]
    recipe = read_recipe(
        "msl24-efficientnetb7", [*settings, "model.freeze_below=block6a_expand_conv"]
    )
    result = train(recipe, msl_set, tmp_path / "run")
    assert set(result.scores) == {"accuracy", "macro_f1"}
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(history["head_loss"]) == len(history["loss"]) == 1
    with pytest.raises(ConfigError, match="the base has no layer 'block5g_expand_activation'"):
        train(read_recipe("msl24-efficientnetb7", settings), msl_set, tmp_path / "other")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_both_new_kinds_become_bundles(change_scenes: Path, yolo_set: Path, tmp_path: Path) -> None:
    """A base inside a network fed one channel, and a network with one mask, in int8."""
    pytest.importorskip("tensorflow", reason="the export extra is not installed")
    from rille_export.assemble import ExportOptions, export

    said: list[str] = []
    options = ExportOptions(calibration_images=8, force=True, tune_steps=0)
    train(read_recipe("lunar-scene", MOBILE), change_scenes, tmp_path / "scene")
    bundle, _ = export(tmp_path / "scene", change_scenes, tmp_path / "a", options, said.append)
    assert bundle.manifest.provenance["phases"]["kept"] in ("head", "tune")
    assert bundle.manifest.provenance["largest_gap_keras_fp32"] < 1e-3
    tiny = [
        'preprocess=[{op="gray"},{op="letterbox",width=64,height=64},{op="standardize"}]',
        "model.widths=[4,8]",
        "augment.window_px=32",
        "fit.epochs=1",
        "fit.precision=float32",
    ]
    train(read_recipe("craters-resunet", tiny), yolo_set, tmp_path / "craters")
    bundle, _ = export(tmp_path / "craters", yolo_set, tmp_path / "b", options, said.append)
    assert set(bundle.manifest.variants["tflite-int8"].outputs) == {"mask"}
