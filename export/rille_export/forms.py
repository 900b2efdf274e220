"""A network in every form that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rille.backends import open_backend
from rille.bundle.manifest import Contract, Variant
from rille.errors import CheckFailedError, ConfigError, nearest
from rille.network import Network
from rille_export import convert, to_onnx
from rille_export.features import with_features
from rille_export.noise import layer_named, layer_names
from rille_export.qdq import float_weights
from rille_export.tune import Say, tuned

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMS = (
    *("tflite-fp32", "tflite-fp16", "tflite-int8", "tflite-int16x8"),
    *("onnx-fp32", "onnx-fp16", "onnx-int8"),
)
"""Forms that a bundle can carry; the precision of ONNX is in its graph, as TensorRT wants it."""
_SHORT = {"tensorrt": ("onnx-fp16", "onnx-int8")}
FLOAT = "tflite-fp32"
"""The form that every other is compared with."""
_KERAS_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Form:
    """A converted network.

    Attributes:
        content: the model file.
        variant: its entry in the manifest, without golden outputs.
        in_float: layers of a form of integers that compute in float all the same.
    """

    content: bytes
    variant: Variant
    in_float: tuple[str, ...] = ()

    def network(self, contract: Contract) -> Network:
        """Return it loaded into the engine that runs it, with two threads."""
        return Network(contract, self.variant, open_backend(self.content, self.variant, threads=2))


def chosen_forms(names: Sequence[str]) -> tuple[str, ...]:
    """Return the forms that some targets stand for, each once; "tensorrt" stands for two.

    Raises:
        ConfigError: a target that is not known.
    """
    found: dict[str, None] = {}
    for name in names:
        if name not in FORMS and name not in _SHORT:
            known = [*FORMS, *_SHORT]
            raise ConfigError(
                f"--target {name}: not known{nearest(name, known)} (known: {', '.join(known)})"
            )
        found.update(dict.fromkeys(_SHORT.get(name, (name,))))
    return tuple(found)


def quantised(form: str) -> bool:
    """Return whether a form computes in integers."""
    return "int" in form


def make_forms(
    contract: Contract,
    model: Any,
    tensors: Sequence[NDArray[Any]],
    wanted: Sequence[str],
    steps: int,
    say: Say,
    allow_float: Sequence[str] = (),
) -> tuple[dict[str, Form], float]:
    """Convert a network.

    Args:
        contract: its name goes into errors.
        model: float32 Keras model.
        tensors: representative inputs, for ranges and for tuning.
        wanted: names out of `FORMS`.
        steps: of tuning for int8; the forms that compute in integers are made of the result.
        say: called with a line at each step.
        allow_float: operations that may work on floats in integer forms of TFLite.

    Returns:
        The forms by name, and the largest gap between Keras and the float forms.

    Raises:
        BundleError: a conversion failed, or left something out.
        CheckFailedError: a float form differs from Keras.
    """
    # Tuning is about the answers alone, so features come after it.
    small = with_features(tuned(model, tensors, steps, say)) if steps else None
    model = with_features(model)
    small = model if small is None else small
    with convert.SavedModels() as saved:
        return _made(contract, model, small, tensors, wanted, allow_float, saved)


def _made(
    contract: Contract,
    model: Any,
    small: Any,
    tensors: Sequence[NDArray[Any]],
    wanted: Sequence[str],
    allow_float: Sequence[str],
    saved: convert.SavedModels,
) -> tuple[dict[str, Form], float]:
    """Convert a network, and what tuning made of it for integers; see `make_forms`."""
    forms: dict[str, Form] = {}
    worst = 0.0
    for name in dict.fromkeys(wanted):
        target, _, precision = name.partition("-")
        source = small if quantised(name) else model
        if target == "onnx":
            content = to_onnx.to_onnx(source, precision, tensors)
        else:
            content = convert.to_tflite(source, precision, tensors, allow_float, saved)
        file = f"model.{precision}.{target}"
        describe = to_onnx.describe_variant if target == "onnx" else convert.describe_variant
        variant = describe(content, file, precision, list(model.output))
        forms[name] = Form(content, variant, _in_float(name, content, source))
        if precision == "fp32":
            gap = convert.largest_gap(model, forms[name].network(contract).backend, tensors[:8])
            worst = max(worst, gap)
            if not gap <= _KERAS_TOLERANCE:
                raise CheckFailedError(f"{contract.name}: {name} differs from Keras by {gap:.3g}")
    return forms, worst


def _in_float(form: str, content: bytes, model: Any) -> tuple[str, ...]:
    """Return the layers of an ONNX network of integers that compute in float."""
    if form != "onnx-int8":
        return ()
    layers = layer_names(model)
    return tuple(layer_named(weights, layers) for weights in float_weights(content))
