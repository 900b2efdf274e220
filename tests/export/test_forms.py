"""The same network in every form: same answers, and an engine for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the export extra is not installed")
pytest.importorskip("onnx", reason="the export extra is not installed")

import keras
import onnx

from rille.backends import open_backend
from rille.bundle import load_bundle
from rille.bundle.manifest import Contract, Decision, LabelEntry
from rille.errors import BackendUnavailableError, BundleError, ConfigError, ManifestError
from rille_export import convert
from rille_export.forms import FORMS, Form, chosen_forms, make_forms
from rille_train.models.crater_unet import crater_unet

CONTRACT = Contract(
    name="tiny",
    version="0",
    task="segmentation",
    summary="test",
    licence="test",
    labels=(LabelEntry(id=0, name="crater"),),
    preprocess=(
        {"op": "gray"},
        {"op": "resize", "width": 64, "height": 64},
        {"op": "standardize"},
    ),
    decision=Decision(),
)


def images(count: int) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.normal(0, 1, (1, 64, 64, 1)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def made() -> tuple[Any, dict[str, Form]]:
    """A small crater network in every form."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(1)
    model = crater_unet((64, 64, 1), (4, 8), canonical_light=False)
    forms, gap = make_forms(CONTRACT, model, images(24), FORMS, 0, lambda line: None)
    assert gap < 1e-4
    return model, forms


# Root mean square gap to Keras, as a share of the spread of the output.
ALLOWED = {"fp32": 1e-4, "fp16": 0.01, "int16x8": 0.05, "int8": 0.3}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_every_form_answers_as_keras_does(made: tuple[Any, dict[str, Form]], name: str) -> None:
    model, forms = made
    form = forms[name]
    assert f"{form.variant.target}-{form.variant.precision}" == name
    engine = open_backend(form.content, form.variant, threads=1)
    assert engine.name.startswith("onnxruntime" if "onnx" in name else "ai-edge-litert")
    gaps: dict[str, list[Any]] = {}
    for x in images(6):
        expected = model.predict_on_batch(x)
        for role, stored in engine.infer(form.variant.input.quantize(x)).items():
            real = form.variant.outputs[role].tensor.dequantize(stored)
            gaps.setdefault(role, []).append((real - expected[role], expected[role]))
    assert set(gaps) == {"mask", "centre", "size"}
    for pairs in gaps.values():
        gap, exact = (np.concatenate(part) for part in zip(*pairs, strict=True))
        assert np.sqrt(np.square(gap).mean()) <= ALLOWED[form.variant.precision] * exact.std()
    engine.close()


@pytest.mark.slow
def test_what_tensorrt_will_be_given(made: tuple[Any, dict[str, Form]]) -> None:
    """Static float32 ends, half precision between casts, symmetric scales for each channel."""
    forms = made[1]
    half = onnx.load_model_from_string(forms["onnx-fp16"].content).graph
    assert all(v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for v in half.input)
    kinds = {tensor.data_type for tensor in half.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    graph = onnx.load_model_from_string(forms["onnx-int8"].content).graph
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(nodes) > 20
    for node in nodes:
        if len(node.input) > 2 and node.input[2]:
            assert not values[node.input[2]].any(), f"{node.name} is not symmetric"
    kernels = [
        node for node in nodes
        if node.input[0] in values and values[node.input[0]].ndim == 4
    ]  # fmt: skip
    assert kernels and all(values[node.input[1]].ndim == 1 for node in kernels)


@pytest.mark.slow
def test_what_stays_in_float_beside_the_integers(made: tuple[Any, dict[str, Form]]) -> None:
    """Layers that only decide, and what a layer hands on before it is cut off at 0 and 6."""
    assert all(form.in_float == () for form in made[1].values())
    keras.config.set_dtype_policy("float32")
    full = crater_unet((64, 64, 1), (4, 8), canonical_light=True)
    answers = {role: full.output[role] for role in ("mask", "centre", "size")}
    model = keras.Model(full.input, answers)
    forms, _ = make_forms(CONTRACT, model, images(4), ["onnx-int8"], 0, lambda line: None)
    kinds = keras.layers.Conv2D, keras.layers.Dense
    names = [layer.name for layer in model.layers if isinstance(layer, kinds)]
    sun = [layer.name for layer in keras.Model(full.input, full.output["light"]).layers]
    deciding = forms["onnx-int8"].in_float
    assert set(deciding) == set(names) & set(sun) and deciding[-1] == "light"
    assert len(deciding) == 7 < len(names)
    graph = onnx.load_model_from_string(forms["onnx-int8"].content).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    stored = [n.input[0] for n in graph.node if n.op_type == "QuantizeLinear"]
    assert len(stored) > 10 and not {makers[name] for name in stored} & {"Conv", "Gemm", "MatMul"}


@pytest.mark.slow
def test_an_engine_refuses_the_other_ones_files(made: tuple[Any, dict[str, Form]]) -> None:
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    form = made[1]["onnx-fp32"]
    with pytest.raises(BackendUnavailableError, match="onnx networks run on onnxruntime"):
        open_backend(form.content, form.variant, name="litert", threads=1)
    with pytest.raises(ManifestError, match="not an ONNX network"):
        open_backend(form.content[:200], form.variant, threads=1)
    foreign = replace(form.variant, input=made[1]["tflite-int8"].variant.input)
    with pytest.raises(ManifestError, match="its manifest states int8"):
        open_backend(form.content, foreign, threads=1)
    missing = {"mask": replace(form.variant.outputs["mask"], index=7)}
    with pytest.raises(ManifestError, match="has no output 7"):
        open_backend(form.content, replace(form.variant, outputs=missing), threads=1)


def test_targets_by_name() -> None:
    assert chosen_forms(["tflite-int8", "tensorrt"]) == ("tflite-int8", "onnx-fp16", "onnx-int8")
    assert chosen_forms(["onnx-int8", "tensorrt"]) == ("onnx-int8", "onnx-fp16")
    with pytest.raises(ConfigError, match="--target tflite-in8: not known; did you mean"):
        chosen_forms(["tflite-in8"])


def test_a_bundle_prefers_tflite_and_int8() -> None:
    bundle = load_bundle("moon-scene")
    plain = bundle.manifest.variants["tflite-int8"]
    variants = {
        f"{target}-{precision}": replace(plain, target=target, precision=precision)
        for target, precision in (("onnx", "int8"), ("tflite", "fp32"), ("tflite", "int8"))
    }
    several = replace(bundle, manifest=replace(bundle.manifest, variants=variants))
    assert several.variant()[0] == "tflite-int8"
    assert several.variant("onnx-int8")[0] == "onnx-int8"


@pytest.mark.slow
def test_a_step_that_a_form_lacks_is_named() -> None:
    """The network that finds the Sun first compares, and 16-bit TFLite cannot."""
    keras.config.set_dtype_policy("float32")
    model = crater_unet((64, 64, 1), (4, 8), canonical_light=True)
    with pytest.raises(BundleError, match="16x8-bit not yet supported for op: 'GREATER'"):
        convert.to_tflite(model, "int16x8", images(2))


def test_floats_in_an_integer_network_are_allowed_by_name_alone() -> None:
    keras.config.set_dtype_policy("float32")
    image = keras.Input((64, 64, 1))
    x = keras.layers.Conv2D(4, 3)(keras.ops.sin(image))
    model = keras.Model(image, {"mask": x})
    for allowed in ([], ["COS"]):  # TensorFlow itself falls back to floats without a word
        with pytest.raises(BundleError, match="SIN works on floats; allow it by name"):
            convert.to_tflite(model, "int8", images(2), allowed)
    content = convert.to_tflite(model, "int8", images(2), ["SIN"])
    assert convert.describe_variant(content, "m", "int8").input.dtype == "int8"
