"""Networks that were trained elsewhere: a `.keras` file or a SavedModel, and a contract for it.

The contract says in TOML what the network is for: the fields of `rille.bundle.manifest.Contract`,
with labels as plain names or as tables of id and name, and under `[data]` the splits it was trained
and is scored on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from rille.bundle.manifest import Contract
from rille.errors import BundleError, ConfigError
from rille.schema import build, read_toml
from rille_export.convert import load_model, quiet
from rille_export.run_folder import Splits, TrainedRun

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SURE = ("softmax", "sigmoid")
_DATA = {"train": "train", "validation": "val"}


def read_foreign(path: Path, contract: Path) -> tuple[TrainedRun, Any]:
    """Read a network from elsewhere.

    Args:
        path: a `.keras` file, or the folder of a SavedModel.
        contract: TOML.

    Returns:
        What a run folder would say of it, and the network with its outputs by role.

    Raises:
        ConfigError: the contract is missing or does not fit its form.
        BundleError: the network cannot be read, or is not one for this contract.
    """
    table = read_toml(contract, ConfigError)
    data = build(Splits, {**_DATA, **_table(table, "data", contract)}, f"{contract}: [data]",
                 ConfigError)  # fmt: skip
    table.setdefault("decision", {})
    table["labels"] = [
        {"id": k, "name": label} if isinstance(label, str) else label
        for k, label in enumerate(_labels(table, contract))
    ]
    stated = build(Contract, table, str(contract), ConfigError)
    model = with_roles(_load(path), stated, path)
    provenance = {
        "origin": f"{path.name}, SHA-256 {_digest(path)}",
        "train_split": data.train,
        "parameters": int(model.count_params()),
    }
    return TrainedRun(contract=stated, data=data, provenance=provenance), model


def with_roles(model: Any, contract: Contract, path: Path) -> Any:
    """Return a network with its outputs by role, as logits.

    Args:
        model: with one input and one output, or a dict of outputs by role already.
        contract: gives task and labels.
        path: what to call it in errors.

    Raises:
        BundleError: another number of inputs, no fixed size, or outputs that do not fit.
    """
    if len(model.inputs) != 1:
        raise BundleError(f"{path}: takes {len(model.inputs)} inputs, one is supported")
    shape = model.input_shape
    if len(shape) != 4 or None in shape[1:]:
        raise BundleError(
            f"{path}: takes {_shown(shape)}; one image of a fixed size is needed: (batch, height, "
            "width, channels)"
        )
    output = model.output
    if isinstance(output, dict) and len(output) > 1:
        return model
    (tensor,) = model.outputs
    tensor = _before_activation(tensor)
    if contract.task == "segmentation":
        role = "mask" if tensor.shape[-1] == 1 else "classes"
        wanted = 1 + len(contract.labels) if role == "classes" else 1
        fits = len(tensor.shape) == 4 and tensor.shape[-1] == wanted
    else:
        role, wanted = "logits", len(contract.labels)
        fits = tuple(tensor.shape[1:]) == (wanted,)
    if not fits:
        raise BundleError(
            f"{path}: gives {_shown(tensor.shape)}, but {contract.task} with "
            f"{len(contract.labels)} labels needs {wanted} channel(s)"
        )
    return keras.Model(model.input, {role: tensor}, name=contract.name.replace("-", "_"))


def check_logits(model: Any, inputs: list[NDArray[np.float32]], path: Path) -> None:
    """Refuse a network that gives probabilities: in int8 they resolve to no more than 1/256.

    Args:
        model: see `with_roles`.
        inputs: (1, h, w, c) images.
        path: what to call it.

    Raises:
        BundleError: every output lies between 0 and 1.
    """
    for role in ("logits", "mask", "classes"):
        if role not in model.output:
            continue
        values = np.concatenate([np.asarray(model.predict_on_batch(x)[role]) for x in inputs[:8]])
        if values.min() >= 0 and values.max() <= 1 and values.std() > 0:
            raise BundleError(
                f"{path}: gives probabilities ({role} from {values.min():.3g} to "
                f"{values.max():.3g}); export it without its last softmax or sigmoid"
            )


def _load(path: Path) -> Any:
    if (path / "saved_model.pb").is_file():
        return _load_saved(path)
    if path.suffix == ".keras" and path.is_file():
        return load_model(path)
    raise BundleError(
        f"{path}: neither a .keras file nor a SavedModel folder; save the network with "
        'model.save("model.keras") or model.export("folder")'
    )


def _load_saved(path: Path) -> Any:
    """Return a SavedModel as a Keras model around its serving signature."""
    try:
        with quiet():
            signature = tf.saved_model.load(str(path)).signatures["serving_default"]
            layer = keras.layers.TFSMLayer(str(path), call_endpoint="serving_default")
    except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as wrong:
        reason = (str(wrong).strip() or type(wrong).__name__).splitlines()[0][:160]
        raise BundleError(f"{path}: cannot be loaded as a SavedModel ({reason})") from None
    specs = list(signature.structured_input_signature[1].values())
    if len(specs) != 1:
        raise BundleError(f"{path}: takes {len(specs)} inputs, one is supported")
    image = keras.Input(tuple(specs[0].shape[1:]), name="input")
    return keras.Model(image, layer(image), name="saved")


def _before_activation(tensor: Any) -> Any:
    """Return the tensor before a last softmax or sigmoid, or the tensor itself."""
    layer = tensor._keras_history.operation
    kind = getattr(getattr(layer, "activation", None), "__name__", "")
    if isinstance(layer, keras.layers.Softmax) or (
        isinstance(layer, keras.layers.Activation) and kind in _SURE
    ):
        return layer.input
    if kind in _SURE and layer.get_weights():
        linear = layer.__class__.from_config({**layer.get_config(), "activation": "linear"})
        found = linear(layer.input)
        linear.set_weights(layer.get_weights())
        return found
    return tensor


def _digest(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _table(table: dict[str, Any], name: str, contract: Path) -> dict[str, Any]:
    inner = table.pop(name, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"{contract}: {name} must be a section [{name}]")
    return inner


def _labels(table: dict[str, Any], contract: Path) -> list[Any]:
    labels = table.get("labels")
    if not isinstance(labels, list):
        raise ConfigError(f"{contract}: needs labels, a list of names or of {{ id, name }}")
    return labels


def _shown(shape: Any) -> str:
    return "(" + ", ".join("?" if n is None else str(n) for n in shape) + ")"
