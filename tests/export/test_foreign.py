"""Networks from elsewhere: a contract says what they are for, and what does not fit is refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow", reason="the export extra is not installed")

import keras
import tensorflow as tf

from rille.bundle import load_bundle
from rille.errors import BundleError, ConfigError
from rille_export.foreign import read_foreign

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Rille = Callable[..., int]
CONTRACT = """
name = "colours"
version = "1"
task = "classification"
summary = "Colours."
licence = "none"
labels = [{ id = 0, name = "apxs" }, { id = 1, name = "apxs cal target" },
          { id = 5, name = "drill holes" }]
preprocess = [
    { op = "rgb" },
    { op = "resize", width = 32, height = 32 },
    { op = "normalize", mean = [127.5], std = [127.5] },
]
"""


def network(last: str, classes: int = 3, side: int | None = 32) -> Any:
    """Tells the colours of the made data set apart, without training; one plain output."""
    keras.config.set_dtype_policy("float32")
    image = keras.Input((side, side, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    if last == "inside":
        dense = keras.layers.Dense(classes, activation="softmax")
        out = dense(x)
    else:
        dense = keras.layers.Dense(classes)
        out = dense(x)
    if last == "layer":
        out = keras.layers.Softmax()(out)
    if last == "activation":
        out = keras.layers.Activation("softmax")(out)
    model = keras.Model(image, out)
    dense.set_weights([6 * np.eye(3, classes, dtype=np.float32), np.zeros(classes, np.float32)])
    return model


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "contract.toml"
    path.write_text(CONTRACT)
    return path


def saved(model: Any, folder: Path) -> Path:
    side = model.input_shape[1]
    spec = tf.TensorSpec((1, side, side, 3), tf.float32, name="image")
    model.export(folder, verbose=False, input_signature=[spec])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("last", ["logits", "inside", "layer", "activation", "saved"])
def test_a_network_from_elsewhere_becomes_a_bundle(
    rille: Rille,
    tmp_path: Path,
    msl_set: Path,
    contract: Path,
    last: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A last softmax is left out, so that int8 keeps its steps for logits."""
    path = tmp_path / "net.keras"
    if last == "saved":
        path = saved(network("logits"), tmp_path / "net")
    else:
        network(last).save(path)
    assert rille("export", path, "--contract", contract, "--data", msl_set) == 0
    bundle = load_bundle(tmp_path / "net-bundle")
    assert bundle.name == "colours"
    parity = bundle.manifest.metrics["parity"]["tflite-int8"]
    assert parity["here"]["accuracy"] == parity["float"]["accuracy"] == 1.0
    card = bundle.files["MODEL_CARD.md"].decode()
    assert f"trained elsewhere, {path.name}, SHA-256" in card
    spec = bundle.manifest.variants["tflite-int8"].outputs["logits"].tensor
    assert spec.scale > 1 / 250  # those of a softmax would be 1/256
    capsys.readouterr()
    assert rille("bundle", "inspect", bundle.where) == 0
    assert "elsewhere: net" in capsys.readouterr().out


@pytest.mark.slow
def test_probabilities_in_a_saved_model_are_refused(
    rille: Rille,
    tmp_path: Path,
    msl_set: Path,
    contract: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = saved(network("inside"), tmp_path / "net")
    assert rille("export", path, "--contract", contract, "--data", msl_set) == 4
    assert "gives probabilities (logits from" in capsys.readouterr().err
    assert not (tmp_path / "net-bundle").exists()


def test_what_is_no_network(tmp_path: Path, contract: Path) -> None:
    for name in ("model.pkl", "model.h5", "model.keras"):
        path = tmp_path / name
        if name != "model.keras":
            path.write_bytes(pickle.dumps({"weights": [1.0]}))
        with pytest.raises(BundleError, match=r"neither a \.keras file nor a SavedModel"):
            read_foreign(path, contract)
    (tmp_path / "scrap.keras").write_bytes(b"scrap")
    with pytest.raises(BundleError, match="cannot be loaded as a Keras model"):
        read_foreign(tmp_path / "scrap.keras", contract)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "saved_model.pb").write_bytes(b"scrap")
    with pytest.raises(BundleError, match="cannot be loaded as a SavedModel"):
        read_foreign(tmp_path / "folder", contract)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: network("logits", classes=4), r"gives \(\?, 4\), but classification with 3"),
        (lambda: network("logits", side=None), r"takes \(\?, \?, \?, 3\); one image of a fixed"),
        (
            lambda: keras.Model(
                (a := [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]), keras.layers.Add()(a)
            ),
            "takes 2 inputs",
        ),
        (
            lambda: keras.Model((x := keras.Input((8, 8, 3))), keras.layers.Conv2D(3, 1)(x)),
            r"gives \(\?, 8, 8, 3\), but classification",
        ),
    ],
)
def test_networks_of_another_shape(tmp_path: Path, contract: Path, model: Any, words: str) -> None:
    model().save(tmp_path / "net.keras")
    with pytest.raises(BundleError, match=words):
        read_foreign(tmp_path / "net.keras", contract)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: "", "needs labels"),
        (lambda t: t.replace("summary", "sumary"), "no key 'sumary'; did you mean 'summary'"),
        (lambda t: t + "[data]\nvalid = 'val'\n", "no key 'valid'"),
        (lambda t: t + "data = 3\n", "must be a section"),
        (lambda t: t.replace("resize", "resise"), "no operation 'resise'"),
        (lambda t: t.replace("labels = [", "labels = 3 #"), "not valid TOML"),
    ],
)
def test_contracts_that_do_not_fit(tmp_path: Path, contract: Path, change: Any, words: str) -> None:
    network("logits").save(tmp_path / "net.keras")
    contract.write_text(change(CONTRACT))
    with pytest.raises(ConfigError, match=words):
        read_foreign(tmp_path / "net.keras", contract)


def test_labels_by_name_alone(tmp_path: Path, contract: Path) -> None:
    network("logits").save(tmp_path / "net.keras")
    start = CONTRACT.index("labels")
    end = CONTRACT.index("preprocess")
    contract.write_text(CONTRACT[:start] + 'labels = ["a", "b", "c"]\n' + CONTRACT[end:])
    run, model = read_foreign(tmp_path / "net.keras", contract)
    assert [(label.id, label.name) for label in run.contract.labels] == [
        (0, "a"), (1, "b"), (2, "c"),
    ]  # fmt: skip
    assert run.data.train == "train" and run.data.validation == "val"
    assert list(model.output) == ["logits"]
