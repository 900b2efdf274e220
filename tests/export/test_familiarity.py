"""From a Keras classifier to a bundle that knows what pictures it is for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the export extra is not installed")
pytest.importorskip("onnx", reason="the export extra is not installed")

import keras
from tests.export.tiny_run import quiet, write_run

from rille.bundle import Bundle, load_bundle
from rille.bundle.manifest import FEATURES
from rille.datasets import MslDataset
from rille.errors import DatasetError, DigestError
from rille.images import read_image
from rille.network import Network
from rille.result import Classification
from rille_export.assemble import ExportOptions, export
from rille_export.extra import further_samples
from rille_export.features import with_features
from rille_export.run_folder import read_run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
TARGETS = ("tflite-int8", "tflite-fp32", "onnx-int8", "onnx-fp16")


def small_network() -> Any:
    """A random convolution, pooled, under dropout, a hidden layer and the logits."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(3)
    image = keras.Input((32, 32, 3), name="input")
    maps = keras.layers.Conv2D(24, 3, strides=2, activation="relu6", name="maps")(image)
    x = keras.layers.GlobalAveragePooling2D(name="anything")(maps)
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(6, activation="relu", name="hidden")(x)
    return keras.Model(image, {"logits": keras.layers.Dense(3, name="logits")(x)}, name="tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("trained") / "run", small_network())


@pytest.fixture(scope="module")
def bundle(run: Path, msl_set: Path) -> Bundle:
    """Its weights are random: nothing is asked of its answers."""
    options = ExportOptions(targets=TARGETS, force=True, tune_steps=0)
    return export(run, msl_set, run.parent / "bundle", options, quiet)[0]


def pictures(msl_set: Path) -> list[Any]:
    return [read_image(sample.path) for sample in MslDataset(msl_set).samples("val")]


def score(network: Network, pixels: Any) -> float:
    answer, _ = network.run(pixels)
    assert isinstance(answer, Classification) and answer.ood_score is not None
    return answer.ood_score


@pytest.mark.parametrize("form", TARGETS)
def test_every_form_tells_its_own_pictures_from_others(
    bundle: Bundle, msl_set: Path, form: str
) -> None:
    known = bundle.manifest.familiarity
    assert known is not None and known.numbers == 24 and 1 <= len(known.steps) - 1 <= 6
    network = Network.load(replace_doubt(bundle), variant=form)
    assert network.variant.outputs[FEATURES].tensor.shape == (1, 24)
    assert network.golden_count and network.self_test() <= bundle.manifest.golden_tolerance
    own = [score(network, pixels) for pixels in pictures(msl_set)]
    assert np.median(own) < 1
    stripes = np.zeros((96, 128, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = 255
    assert score(network, stripes) > max(own) and score(network, stripes) > 1


def replace_doubt(bundle: Bundle) -> Bundle:
    """Leave the features alone to tell: a network of random weights doubts everything alike."""
    known = bundle.manifest.familiarity
    assert known is not None
    return replace(
        bundle, manifest=replace(bundle.manifest, familiarity=replace(known, doubt=None))
    )


def test_the_manifest_and_the_card_say_what_was_fitted(bundle: Bundle) -> None:
    record = bundle.manifest.metrics["out_of_distribution"]
    assert record["fitted_on_images"] == 24 and record["validation_images"] == 9
    assert record["doubt_from"] == "this network on split val"
    known = bundle.manifest.familiarity
    assert known is not None and known.doubt is not None
    assert "out-of-distribution score" in bundle.files["MODEL_CARD.md"].decode()


def test_one_thread_and_two_give_the_same_bits(bundle: Bundle, msl_set: Path) -> None:
    one, two = (Network.load(bundle, threads=count) for count in (1, 2))
    for pixels in pictures(msl_set):
        assert score(one, pixels) == score(two, pixels)


def test_built_anew_it_scores_the_same_and_flipped_rows_are_noticed(
    bundle: Bundle, msl_set: Path
) -> None:
    network = Network.load(bundle)
    (first, *_) = pictures(msl_set)
    before = score(network, first)
    network.reload()
    assert score(network, first) == before
    spoilt = bytearray(bundle.files["familiarity.bin"])
    spoilt[7] ^= 64
    files = {**bundle.files, "familiarity.bin": bytes(spoilt)}
    with pytest.raises(DigestError, match=r"familiarity\.bin changed in memory"):
        network.again(replace(bundle, files=files))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "familiarity.bin is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), "familiarity.bin has"),
        (lambda path: path.write_bytes(b"\1" * path.stat().st_size), "familiarity.bin is not"),
    ],
)
def test_a_damaged_file_is_refused(
    bundle: Bundle, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(bundle.where, folder)
    change(folder / "familiarity.bin")
    with pytest.raises(DigestError, match=words) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)


def test_the_command_measures_unfamiliar_pictures(
    bundle: Bundle,
    msl_set: Path,
    tmp_path: Path,
    image_folder: Path,
    rille: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (image_folder / "damaged.png").write_bytes(b"no picture")
    words = ("eval", bundle.where, msl_set, "--split", "val", "--unfamiliar", image_folder)
    assert rille(*words) == 0
    said = capsys.readouterr().out
    assert "of these images are flagged" in said
    assert f"unfamiliar {image_folder}: " in said and "of 6 pictures flagged" in said
    shown = ("eval", "moon-craters", msl_set, "--split", "val", "--unfamiliar", image_folder)
    assert rille(*shown) == 4
    assert "has no out-of-distribution score" in capsys.readouterr().err


def test_features_are_found_by_structure() -> None:
    model = small_network()
    twice = with_features(with_features(model))
    assert set(twice.output) == {"logits", FEATURES}
    x = np.random.default_rng(1).normal(size=(1, 32, 32, 3)).astype(np.float32)
    assert np.array_equal(twice.predict_on_batch(x)["logits"], model.predict_on_batch(x)["logits"])
    image = keras.Input((32, 32, 3))
    inner = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(5, 3)(inner)
    base = keras.Model(inner, keras.layers.GlobalMaxPooling2D()(maps))
    nested = keras.Model(image, {"logits": keras.layers.Dense(3)(base(image))})
    assert with_features(nested).output[FEATURES].shape == (None, 5)
    flat = keras.layers.Dense(3)(keras.layers.Flatten()(image))
    bare = keras.Model(image, {"logits": flat})
    assert with_features(bare) is bare


def test_further_images_are_those_that_training_took(
    run: Path, msl_set: Path, tmp_path: Path
) -> None:
    trained = read_run(run)
    with pytest.raises(DatasetError, match="was not trained on the 24 images here"):
        further_samples(trained, [msl_set], quiet)
    said: list[str] = []
    entry = {"dataset": "drives", "images": 600, "listing_sha256": "0" * 64}
    more = replace(trained, provenance={**trained.provenance, "extra": [entry]})
    assert further_samples(more, [], said.append) == []
    assert said == [
        "note: it was also trained on 600 images of drives, which its out-of-distribution score "
        "will not know; --extra FOLDER gives them"
    ]
