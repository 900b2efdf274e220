"""Networks of `keras.applications`: their contracts, their weights, and training in two phases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.errors import ConfigError

pytest.importorskip("keras", reason="the train extra is not installed")

import keras

from rille_train.contracts import BASES, CONTRACTS
from rille_train.course import epochs_without_gain, monitored, reductions
from rille_train.loop import PLAIN_CONVOLUTIONS, set_precision, train
from rille_train.models import build_model
from rille_train.models.application import (
    application_classifier,
    assign_weights,
    freeze_base,
    load_base,
)
from rille_train.phases import compared
from rille_train.recipe import Recipe, read_recipe, recipe_names

BUILT = {"EfficientNetB0": 4_054_695, "ResNet50V2": 23_572_996, "MobileNetV2": 2_263_108}


@pytest.fixture(autouse=True)
def float32() -> None:
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def mobilenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of MobileNet, in the form that Keras writes."""
    keras.utils.set_random_seed(3)
    base = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(32, 32, 3))
    file = tmp_path_factory.mktemp("weights") / "mobilenet_no_top.weights.h5"
    base.save_weights(file)
    return file


def classifier(base: str, side: int = 32, head: str = "plain", fixed: bool = True) -> Any:
    return application_classifier(
        (side, side, 3), 4, base=base, head=head, dropout=0.2, fixed=fixed
    )


def test_the_contracts_are_those_of_keras() -> None:
    """Each module's own `preprocess_input` makes what the recipe's `normalize` must make."""
    import importlib

    modules = {
        "EfficientNetB0": "efficientnet",
        "EfficientNetV2B0": "efficientnet_v2",
        "ConvNeXtTiny": "convnext",
        "MobileNetV3Small": "mobilenet_v3",
        "ResNet50V2": "resnet_v2",
        "Xception": "xception",
        "MobileNet": "mobilenet",
        "MobileNetV2": "mobilenet_v2",
        "InceptionV3": "inception_v3",
        "InceptionResNetV2": "inception_resnet_v2",
        "NASNetMobile": "nasnet",
        "DenseNet121": "densenet",
    }
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3)).astype(np.float32)
    for base, module in modules.items():
        wanted = importlib.import_module(f"keras.applications.{module}").preprocess_input(
            pixels.copy()
        )
        mean, std = CONTRACTS[BASES[base]]
        np.testing.assert_allclose((pixels - mean) / std, wanted, atol=0.01, err_msg=base)
    for base in BASES:
        assert hasattr(keras.applications, base)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["model.base=EfficientNetB0"], r"EfficientNetB0 takes 0\.\.255: .* mean = \[0\.0\]"),
        (["model.base=DenseNet121"], "takes ImageNet mean and deviation"),
        (["model.base=EfficientNetB77"], "not known; did you mean 'EfficientNetB7'"),
        (["model.base=ResNet50"], "not known"),
        (["model.base="], "base and kind 'application' go together"),
        (["model.head=big"], "head must be one of 'plain', 'batchnorm-dropout'"),
        (["fit.learning_rate=2e-3"], "above a tenth of head_learning_rate 0.01"),
        (["fit.plateau_epochs=2"], "would both steer the learning rate"),
        (["fit.schedule=plateau"], "needs plateau_epochs, and warmup_share = 0"),
        (["fit.schedule=plateau", "fit.plateau_epochs=2"], "second controller"),
        (["fit.schedule=step"], "schedule must be one of"),
        (["fit.keep=first"], "keep must be one of"),
        (["fit.patience=-1"], "must be at least 0"),
        (["fit.head_steps=5"], "head_steps is for model 'mobilenet-v2'"),
    ],
)
def test_what_does_not_fit_is_refused(
    tiny_application: Path, settings: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        read_recipe(str(tiny_application), settings)


def test_pictures_already_scaled_are_refused_where_the_network_scales_itself(
    tiny_application: Path,
) -> None:
    """The first reference project's mistake: 0..1 into a network that divides by 255."""
    scaled = '[{op="rgb"},{op="resize",width=32,height=32},{op="normalize",mean=[0],std=[255]}]'
    with pytest.raises(ConfigError, match=r"EfficientNetB0 takes 0\.\.255"):
        read_recipe(str(tiny_application), ["model.base=EfficientNetB0", f"preprocess={scaled}"])


def test_other_kinds_have_no_head_epochs() -> None:
    with pytest.raises(ConfigError, match="head_epochs is for model 'application'"):
        read_recipe("mars-msl24", ["fit.head_epochs=2", "fit.head_learning_rate=0.1"])


@pytest.mark.slow
@pytest.mark.parametrize("base", sorted(BUILT))
def test_networks_are_as_large_as_published(base: str) -> None:
    model = classifier(base, 64)
    assert model.count_params() == BUILT[base]
    assert model.get_layer("base").count_params() == BUILT[base] - 4 * (
        model.get_layer("features").output.shape[-1] + 1
    )


def test_an_input_that_is_too_small_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.base Xception: .*71"):
        classifier("Xception", 48)


def test_a_grey_input_is_repeated() -> None:
    model = application_classifier(
        (32, 32, 1), 3, base="MobileNetV2", head="plain", dropout=0.0, fixed=True
    )
    assert model.input_shape == (None, 32, 32, 1)
    assert model.output["logits"].shape == (None, 3)


def test_weights_files_in_both_forms(tmp_path: Path) -> None:
    """Layers in order, or by name; EfficientNet's published files hold a deviation unsquared."""
    import h5py  # type: ignore[import-untyped]
    from keras.src.legacy.saving import legacy_h5_format

    keras.utils.set_random_seed(1)
    published = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    norm = next(x for x in published.layers if isinstance(x, keras.layers.Normalization))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    norm.set_weights([mean, deviation, np.array(0)])
    with h5py.File(tmp_path / "efficientnetb0_notop.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, published)
    published.save_weights(tmp_path / "b0.weights.h5")
    for name in ("efficientnetb0_notop.h5", "b0.weights.h5"):
        model = classifier("EfficientNetB0")
        load_base(model, tmp_path / name, "EfficientNetB0")
        base = model.get_layer("base")
        stem = base.get_layer("stem_conv").get_weights()[0]
        np.testing.assert_array_equal(stem, published.get_layer("stem_conv").get_weights()[0])
        norm = next(x for x in base.layers if isinstance(x, keras.layers.Normalization))
        pixels = np.full((1, 2, 2, 3), 0.5, np.float32)
        seen = keras.ops.convert_to_numpy(norm(pixels))[0, 0, 0]
        np.testing.assert_allclose(seen, (0.5 - mean) / deviation, rtol=1e-4)
    with pytest.raises(ConfigError, match=r"b0\.weights\.h5: not the weights of MobileNetV2"):
        load_base(classifier("MobileNetV2"), tmp_path / "b0.weights.h5", "MobileNetV2")
    with pytest.raises(ConfigError, match=r"notop\.h5: not the weights of MobileNetV2"):
        load_base(classifier("MobileNetV2"), tmp_path / "efficientnetb0_notop.h5", "MobileNetV2")
    # A model is filled from arrays as well as from a file, the normalisation's copy included.
    again = classifier("EfficientNetB0")
    assign_weights(again, model.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(again.predict_on_batch(pixels)["logits"]),
        np.asarray(model.predict_on_batch(pixels)["logits"]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    model = classifier("MobileNetV2")
    for name, words in (
        ("absent.h5", "no such file"),
        ("scrap.h5", "not the weights of MobileNetV2"),
        ("scrap.weights.h5", "not the weights of MobileNetV2"),
        ("scrap.npz", "not a file of backbone weights"),
        ("scrap.txt", r"takes a \.weights\.h5 or \.h5"),
    ):
        if not name.startswith("absent"):
            (tmp_path / name).write_bytes(b"scrap")
        with pytest.raises(ConfigError, match=words):
            load_base(model, tmp_path / name, "MobileNetV2")


def test_freezing_names_a_layer_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="the base has no layer 'block_99'"):
        freeze_base(classifier("MobileNetV2"), "block_99")


def two_phase_run(recipe: Recipe, data: Path, out: Path, weights: Path | None) -> dict[str, Any]:
    train(recipe, data, out, weights)
    names = ("history", "validation", "contract")
    return {name: json.loads((out / f"{name}.json").read_text()) for name in names}


@pytest.mark.slow
def test_two_phases_leave_a_full_record(
    tiny_application: Path,
    mobilenet_file: Path,
    msl_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = read_recipe(str(tiny_application))
    record = two_phase_run(recipe, msl_set, tmp_path / "run", mobilenet_file)
    assert len(record["history"]["head_loss"]) == len(record["history"]["loss"]) == 2
    for part in (record["history"], record["validation"], record["contract"]["provenance"]):
        assert set(part["phases"]) >= {"head_alone", "fine_tuned", "kept", "collapsed"}
    backbone = record["contract"]["provenance"]["backbone"]
    assert backbone["file"] == "mobilenet_no_top.weights.h5" and len(backbone["sha256"]) == 64
    assert not (tmp_path / "run" / "resume").exists()
    assert "fine-tuning, batch normalisation fixed" in capsys.readouterr().err


class _KilledError(Exception):
    """Stands for the kill of a process."""


@pytest.mark.slow
def test_a_run_killed_in_either_phase_ends_as_an_undisturbed_one(
    tiny_application: Path,
    mobilenet_file: Path,
    msl_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed right after epoch 1 (head), 2 (between the phases) and 3 (fine-tuning)."""
    from rille_train import callbacks

    recipe = read_recipe(str(tiny_application))
    whole = two_phase_run(recipe, msl_set, tmp_path / "whole", mobilenet_file)
    out = tmp_path / "killed"
    shown: Callable[..., None] = callbacks.Progress.on_epoch_end
    for after in (1, 2, 3):

        def killed(self: Any, epoch: int, logs: Any = None, after: int = after) -> None:
            shown(self, epoch, logs)
            if epoch + 1 == after:
                raise _KilledError

        with monkeypatch.context() as patch:
            patch.setattr(callbacks.Progress, "on_epoch_end", killed)
            with pytest.raises(_KilledError):
                train(recipe, msl_set, out, mobilenet_file)
        assert (out / "resume").is_dir()
    resumed = two_phase_run(recipe, msl_set, out, mobilenet_file)
    assert resumed["history"] == whole["history"]
    assert resumed["validation"] == whole["validation"]


@pytest.mark.slow
def test_random_weights_are_said(
    tiny_application: Path, msl_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = read_recipe(str(tiny_application), ["fit.head_epochs=0", "fit.epochs=1"])
    record = two_phase_run(recipe, msl_set, tmp_path / "run", None)
    assert "no --weights: MobileNet starts from random weights" in capsys.readouterr().err
    assert record["contract"]["provenance"]["backbone"] is None
    assert "phases" not in record["history"]
    with pytest.raises(ConfigError, match="no such file; --weights names one for MobileNet"):
        train(recipe, msl_set, tmp_path / "other", tmp_path / "absent.h5")


@pytest.mark.slow
def test_a_plateau_and_patience_steer_one_run(
    tiny_application: Path, msl_set: Path, tmp_path: Path
) -> None:
    """Nothing is learnt at such a rate: it is halved, and the run stops early."""
    settings = [
        "fit.head_epochs=0",
        "fit.epochs=9",
        "fit.learning_rate=1e-12",
        "fit.schedule=plateau",
        "fit.plateau_epochs=1",
        "fit.warmup_share=0.0",
        "fit.patience=3",
    ]
    recipe = read_recipe(str(tiny_application), settings)
    record = two_phase_run(recipe, msl_set, tmp_path / "run", None)
    assert len(record["history"]["loss"]) == 4
    rates = record["history"]["learning_rate"]
    assert rates == pytest.approx([1e-12, 1e-12, 5e-13, 2.5e-13])


class _Scored:
    """Stands for an evaluation: scores alone."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [(0.8, 0.85, "tune"), (0.8, 0.795, "tune"), (0.8, 0.78, "head"), (0.8, np.nan, "head")],
)
def test_the_gate_keeps_the_better_phase(before: float, after: float, kept: str) -> None:
    phases = compared(_Scored(accuracy=before), _Scored(accuracy=after))  # type: ignore[arg-type]
    assert phases["kept"] == kept
    assert phases["collapsed"] == (kept == "head")
    assert ("collapsed" in phases["verdict"]) == (kept == "head")


def test_decisions_follow_from_the_history() -> None:
    assert monitored({"macro_f1": 0.2, "accuracy": 0.5}) == ("accuracy", 0.5)
    assert monitored({"dice": 0.4, "object_f1": 0.1}, one_mask=True) == ("dice", 0.4)
    assert epochs_without_gain([], 1) == 0
    assert epochs_without_gain([0.1, 0.3, 0.2, 0.3], 2) == 4
    assert epochs_without_gain([float("nan"), 0.1], 1) == 0
    assert reductions([0.1, 0.2, 0.2, 0.1, 0.3, 0.3], 1, 2) == 1
    assert reductions([0.5, 0.4, 0.4, 0.4, 0.4], 1, 2) == 2


@pytest.mark.parametrize("name", [n for n in recipe_names() if "b7" not in n])
def test_half_precision_is_left_to_networks_that_gain_by_it(name: str) -> None:
    """TensorFlow took a third longer for depthwise convolutions in bfloat16 on a processor."""
    kind = read_recipe(name).model.kind
    cpuinfo = Path("/proc/cpuinfo")
    native = cpuinfo.is_file() and "avx512_bf16" in cpuinfo.read_text(encoding="utf-8")
    gpu = any("gpu" in str(device).lower() for device in keras.distribution.list_devices())
    half = gpu or (native and kind in PLAIN_CONVOLUTIONS)
    try:
        set_precision("auto", kind)
        assert keras.config.dtype_policy().name == ("mixed_bfloat16" if half else "float32")
        set_precision("bfloat16", kind)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    model = build_model(read_recipe(name), 6)
    plain = not any(isinstance(x, keras.layers.DepthwiseConv2D) for x in flat(model))
    assert plain == (kind in PLAIN_CONVOLUTIONS)


def flat(model: Any) -> list[Any]:
    """Return a model's layers, those of a base inside it included."""
    return [y for x in model.layers for y in (flat(x) if hasattr(x, "layers") else [x])]
