"""Training end to end, small, on every Keras backend that is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bundle import load_bundle
from rille.errors import ConfigError, DatasetError

pytest.importorskip("keras", reason="the train extra is not installed")
ROOT = Path(__file__).resolve().parents[2]


def child(verb: str, *words: object, backend: str = "tensorflow") -> subprocess.Popen[str]:
    code = f"import sys; from rille_{verb}.cli import main; sys.exit(main(sys.argv[1:]))"
    path = os.pathsep.join(str(ROOT / folder) for folder in ("runtime", "train", "export"))
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": backend},
    )


def finish(run: subprocess.Popen[str]) -> tuple[str, str]:
    said, words = run.communicate(timeout=600)
    assert run.returncode == 0, words
    return said, words


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_craters_from_recipe_to_bundle(
    backend: str, rille: Callable[..., int], tiny_craters: Path, yolo_set: Path, tmp_path: Path
) -> None:
    """Trained on any backend, exported under TensorFlow, loaded by the runtime."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    out = tmp_path / "run"
    said, words = finish(
        child("train", tiny_craters, "--data", yolo_set, "--out", out, backend=backend)
    )
    assert "object_f1" in said
    assert "epoch 2/2" in words and "left" in words
    names = {p.name for p in out.iterdir()}
    assert names == {
        "model.keras",
        "contract.json",
        "recipe.toml",
        "history.json",
        "validation.json",
        "examples",
        "report.html",
    }
    record = json.loads((out / "contract.json").read_text())
    assert backend in record["provenance"]["trained_with"]
    history = json.loads((out / "history.json").read_text())
    assert history["loss"][1] < history["loss"][0]
    bundle = tmp_path / "bundle"
    assert rille("export", out, "--data", yolo_set, "--out", bundle, "--force") == 0
    loaded = load_bundle(bundle)
    assert set(loaded.manifest.variants["tflite-int8"].outputs) == {"mask", "centre", "size"}
    assert loaded.manifest.provenance["largest_gap_keras_fp32"] < 1e-3


@pytest.mark.slow
def test_photographs_from_recipe_to_bundle(
    rille: Callable[..., int],
    tiny_photos: Path,
    msl_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    assert rille("train", tiny_photos, "--data", msl_set, "--out", out) == 0
    assert "accuracy" in capsys.readouterr().out
    bundle = tmp_path / "bundle"
    words = ["--out", bundle, "--target", "tflite-int8", "--target", "tflite-fp32", "--force"]
    # The one export that has a process of its own, as users' have.
    shown, _ = finish(child("export", out, "--data", msl_set, *words))
    assert "same answer" in shown
    loaded = load_bundle(bundle)
    assert [label.id for label in loaded.manifest.labels] == [0, 1, 5]  # no image of "sun"
    assert set(loaded.manifest.variants) == {"tflite-int8", "tflite-fp32"}
    card = loaded.files["MODEL_CARD.md"].decode()
    for heading in ("## Use", "## Scores", "## Made from", "## Licence", "## Recipe"):
        assert heading in card
    assert "| answered | wrong among them |" in card


@pytest.mark.slow
def test_a_network_trained_on_everything_takes_its_decisions_from_one_that_was_not(
    rille: Callable[..., int],
    tiny_photos: Path,
    msl_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Thresholds fitted on images that a network has seen would be too bold."""
    part, whole = tmp_path / "part", tmp_path / "whole"
    words = ["--data", msl_set, "--set", "fit.epochs=1"]
    assert rille("train", tiny_photos, *words, "--out", part) == 0
    every = ["--set", "data.train=train+val", "--set", "data.allow_leaks=true"]
    assert rille("train", tiny_photos, *words, *every, "--out", whole) == 0
    data = ["--data", msl_set, "--force"]
    assert rille("export", part, *data, "--tune", 3, "--out", tmp_path / "a") == 0
    assert "tuning for int8 on 24 images: 3 steps" in capsys.readouterr().err
    source = ["--decision-from", tmp_path / "a"]
    assert rille("export", whole, *data, *source, "--out", tmp_path / "b") == 0
    one, two = (load_bundle(tmp_path / name) for name in ("a", "b"))
    assert two.manifest.decision == one.manifest.decision
    assert two.manifest.provenance["decision_from"] == one.digest
    assert one.manifest.provenance["tuned_for_int8_steps"] == 3
    assert two.manifest.metrics["selected_on_this_split"] == []
    assert "`train+val`, which contains" in two.files["MODEL_CARD.md"].decode()
    for name, split, said in (
        ("a", "val", False), ("a", "train", True), ("b", "val", True),
    ):  # fmt: skip
        capsys.readouterr()
        assert rille("eval", tmp_path / name, msl_set, "--split", split) == 0
        assert ("were trained on" in capsys.readouterr().out) is said
    other = ["--decision-from", "moon-scene", "--out", tmp_path / "c"]
    assert rille("export", whole, *data, *other) == 4
    assert "its task or labels are not those of tiny-photos" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_result(
    rille: Callable[..., int], tiny_craters: Path, yolo_set: Path, tmp_path: Path
) -> None:
    """Killed twice at whatever moment, it ends with the very weights of an undisturbed run."""
    words = [tiny_craters, "--data", yolo_set, "--set", "fit.epochs=12"]
    assert rille("train", *words, "--out", tmp_path / "whole") == 0
    out = tmp_path / "killed"
    for least in (2, 6):
        run = child("train", *words, "--out", out)
        while run.poll() is None:
            names = [p.name for p in (out / "resume").glob("[0-9]*.weights.h5")]
            if any(int(name.split(".")[0]) >= least for name in names):
                run.send_signal(signal.SIGKILL)
            time.sleep(0.02)
        run.communicate()
        assert run.returncode == -signal.SIGKILL
        assert not (out / "model.keras").exists()
    _, said = finish(child("train", *words, "--out", out))
    first = next(line for line in said.splitlines() if line.startswith("epoch "))
    assert int(first.split()[1].split("/")[0]) >= 7
    assert not (out / "resume").exists()
    for name in ("history.json", "validation.json"):
        whole, killed = (json.loads((tmp_path / r / name).read_text()) for r in ("whole", "killed"))
        assert whole == killed


@pytest.mark.slow
def test_damaged_images_stop_training_unless_they_shall_be_left_out(
    rille: Callable[..., int],
    tiny_craters: Path,
    yolo_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(yolo_set, root)
    (root / "train" / "images" / "t3.png").write_bytes(b"no picture")
    whole = root / "valid" / "images" / "v1.png"
    whole.write_bytes(whole.read_bytes()[:200])
    words = ["train", tiny_craters, "--data", root, "--out", out, "--set", "fit.epochs=1"]
    assert rille(*words) == 3
    said = capsys.readouterr().err
    assert "2 of 13 images cannot be read" in said and "t3.png" in said and "v1.png" in said
    assert "--skip-unreadable" in said and not out.exists()
    assert rille(*words, "--skip-unreadable") == 0
    assert "2 damaged images left out" in capsys.readouterr().err
    record = json.loads((out / "contract.json").read_text())
    assert len(record["provenance"]["unreadable"]) == 2
    assert record["provenance"]["train_images"] == 8
    assert json.loads((out / "validation.json").read_text())["images"] == 3


def test_a_folder_of_another_run_is_not_overwritten(
    tiny_craters: Path, tiny_photos: Path, yolo_set: Path, tmp_path: Path
) -> None:
    from rille_train.recipe import read_recipe
    from rille_train.run_folder import claim_run

    claim_run(tmp_path / "run", read_recipe(str(tiny_craters)))
    claim_run(tmp_path / "run", read_recipe(str(tiny_craters)))
    with pytest.raises(ConfigError, match="holds a run of another recipe"):
        claim_run(tmp_path / "run", read_recipe(str(tiny_photos)))


def test_a_data_set_of_another_task_is_refused(
    tiny_photos: Path, yolo_set: Path, tmp_path: Path
) -> None:
    from rille_train.loop import train
    from rille_train.recipe import read_recipe

    with pytest.raises(DatasetError, match="a data set for segmentation"):
        train(read_recipe(str(tiny_photos)), yolo_set, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_backbone_weights_say_where_they_were_looked_for(
    tiny_photos: Path, msl_set: Path, tmp_path: Path
) -> None:
    from rille_train.loop import train
    from rille_train.recipe import read_recipe

    recipe = read_recipe(str(tiny_photos), ["model.backbone=absent.npz"])
    with pytest.raises(ConfigError, match=r"absent\.npz not found in .*--weights PATH"):
        train(recipe, msl_set, tmp_path / "run")


def test_batches_depend_on_seed_epoch_and_index_alone(tiny_craters: Path, yolo_set: Path) -> None:
    from rille.datasets import YoloDataset
    from rille_train.batches.craters import CraterBatches
    from rille_train.recipe import read_recipe

    samples = YoloDataset(yolo_set).samples("train")
    one, two = (CraterBatches(read_recipe(str(tiny_craters)), [samples]) for _ in range(2))
    two[3]  # asked for in another order
    np.testing.assert_array_equal(one[1][0], two[1][0])
    before = one[1][0]
    one.epoch = 1
    assert not np.array_equal(before, one[1][0])
    images, targets = one[0]
    assert images.shape == (4, 64, 64, 1)
    assert {k: v.shape for k, v in targets.items()} == {
        "mask": (4, 64, 64, 1),
        "centre": (4, 32, 32, 1),
        "size": (4, 32, 32, 3),
        "light": (4, 1),
    }


def test_frozen_layers_and_statistics_do_not_move(tiny_photos: Path, msl_set: Path) -> None:
    """Fine-tuning on few images must not drag the batch statistics along."""
    import keras

    from rille.datasets import MslDataset
    from rille_train.batches.photos import PhotoBatches
    from rille_train.losses import balanced_softmax
    from rille_train.models import build_model
    from rille_train.models.classifier import freeze
    from rille_train.recipe import read_recipe

    recipe = read_recipe(str(tiny_photos))
    batches = PhotoBatches(recipe, [MslDataset(msl_set).samples("train")], [0, 1, 5])
    model = build_model(recipe, 3)
    freeze(model, "block_14_expand")
    before = {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}
    model.compile(
        keras.optimizers.AdamW(1e-2),
        loss={"logits": balanced_softmax(batches.shares, 1.0, 0.1)},
    )
    model.fit(batches, epochs=1, verbose=0)
    after = {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert any("block_15" in path for path in moved)
    assert any("logits" in path for path in moved)
    assert not any("moving_" in path or "_BN" in path or "bn_" in path for path in moved)
    assert not any("block_3" in path or "Conv1/" in path for path in moved)


def test_losses_are_what_they_say() -> None:
    from keras import ops

    from rille_train.losses import balanced_softmax, centre_loss, mask_loss, size_loss

    target = np.zeros((1, 4, 4, 1), np.float32)
    target[0, :2] = 1
    perfect = np.where(target > 0, 20.0, -20.0).astype(np.float32)
    assert float(ops.convert_to_numpy(mask_loss(target, perfect))) < 0.01
    assert float(ops.convert_to_numpy(mask_loss(target, -perfect))) > 10
    assert np.isfinite(float(ops.convert_to_numpy(centre_loss(target, perfect * 100))))
    size = np.zeros((1, 2, 2, 3), np.float32)
    size[0, 0, 0] = (1.0, 2.0, 1.0)
    guess = np.full((1, 2, 2, 2), 3.0, np.float32)
    assert float(ops.convert_to_numpy(size_loss(size, guess))) == pytest.approx((2 + 1) / 2)
    logits = np.array([[2.0, 0.0, 0.0]], np.float32)
    one_hot = np.array([[1.0, 0, 0]], np.float32)
    shares = np.array([0.8, 0.1, 0.1])
    plain = balanced_softmax(shares, 0.0, 0.0)(one_hot, logits)
    assert float(ops.convert_to_numpy(plain)) == pytest.approx(-np.log(np.exp(2) / (np.exp(2) + 2)))
    offset = balanced_softmax(shares, 1.0, 0.0)(one_hot, logits)
    weight = 0.8 * np.exp(2)
    expected = -np.log(weight / (weight + 0.2))
    assert float(ops.convert_to_numpy(offset)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.data
def test_the_backbone_is_the_published_network(data_root: Callable[[str], Path]) -> None:
    """Float weights in our graph agree with the published int8 network on its own classes."""
    import keras
    from ai_edge_litert.interpreter import Interpreter

    from rille.images import read_image
    from rille.preprocess import Preprocessor, parse_ops
    from rille.tensor import TensorSpec
    from rille_train.models.classifier import load_mobilenet_v2_backbone, mobilenet_v2_classifier

    keras.config.set_dtype_policy("float32")
    weights = data_root("backbones") / "tf2_mobilenet_v2_1.0_224_ptq_dequant_float32.npz"
    model: Any = mobilenet_v2_classifier((224, 224, 3), 1001, 0.0)
    load_mobilenet_v2_backbone(model, weights)
    with np.load(weights) as arrays:
        head = arrays["52_conv/kernel"].reshape(1280, 1001), arrays["52_conv/bias"]
    model.get_layer("logits").set_weights(list(head))
    file = data_root("tflite_models") / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
    published = Interpreter(model_content=file.read_bytes())
    published.allocate_tensors()
    ops = parse_ops(
        [{"op": "rgb"}, {"op": "resize", "width": 224, "height": 224}, {"op": "normalize"}]
    )
    run = Preprocessor(ops, TensorSpec(shape=(1, 224, 224, 3)))
    paths = sorted((data_root("msl_v1") / "calibrated").glob("*.JPG"))[::700][:6]
    agree = []
    for path in paths:
        tensor, _ = run(read_image(path))
        logits = np.asarray(model.predict_on_batch(tensor)["logits"])[0]
        stored = ((tensor + 1) * 127.5).round().astype(np.uint8)
        published.set_tensor(published.get_input_details()[0]["index"], stored)
        published.invoke()
        expected = published.get_tensor(published.get_output_details()[0]["index"])[0]
        top = np.argsort(-logits)[:5]
        agree.append(int(expected.argmax()) in top)
    assert sum(agree) >= len(agree) - 1


@pytest.mark.data
def test_a_grey_network_answers_as_the_coloured_one_to_grey(
    data_root: Callable[[str], Path],
) -> None:
    import keras

    from rille_train.models.classifier import load_mobilenet_v2_backbone, mobilenet_v2_classifier

    keras.config.set_dtype_policy("float32")
    weights = data_root("backbones") / "mobilenet_v2_1.0_224_quant_dequant_float32.npz"
    grey = np.random.default_rng(2).normal(0, 0.5, (2, 64, 64, 1)).astype(np.float32)
    found = []
    for channels in (1, 3):
        model: Any = mobilenet_v2_classifier((64, 64, channels), 5, 0.0)
        load_mobilenet_v2_backbone(model, weights)
        features = keras.Model(model.input, model.get_layer("features").output)
        found.append(np.asarray(features.predict_on_batch(np.repeat(grey, channels, axis=3))))
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)


def test_backbone_files_that_do_not_fit(tmp_path: Path) -> None:
    from rille_train.models.classifier import load_mobilenet_v2_backbone, mobilenet_v2_classifier

    model = mobilenet_v2_classifier((64, 64, 3), 3, 0.0)
    (tmp_path / "a.npz").write_bytes(b"scrap")
    with pytest.raises(ConfigError, match="not a file of backbone weights"):
        load_mobilenet_v2_backbone(model, tmp_path / "a.npz")
    arrays: Any = {"00_conv/kernel": np.zeros((3, 3, 3, 8), np.float32)}
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(ConfigError, match="not those of MobileNetV2"):
        load_mobilenet_v2_backbone(model, tmp_path / "b.npz")
