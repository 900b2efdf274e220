"""The int8 ONNX that TensorRT is given: what is rounded, what is not, and what is taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the export extra is not installed")
pytest.importorskip("tensorflow", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")

import onnx
import onnxruntime as runtime
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array, to_array

from rille_export.qdq import float_weights, quantised

RNG = np.random.default_rng(5)
IMAGES = [RNG.gamma(0.5, 1, (1, 3, 12, 12)).astype(np.float32) for _ in range(24)]


def network() -> Any:
    """Two convolutions, one behind a ReLU6, whose answer counts where a third one says yes."""
    weights = {
        "w1": RNG.normal(0.1, 1, (16, 3, 3, 3)),
        "w2": RNG.gamma(0.3, 1, (2, 16, 3, 3)),
        "w3": RNG.normal(0, 1, (1, 3, 1, 1)),
    }
    others = {"b1": np.zeros(16), "b2": np.zeros(2), "low": np.array(0.0), "high": np.array(6.0)}
    nodes = [
        make_node("Conv", ["input", "w1", "b1"], ["c1"], name="one"),
        make_node("Clip", ["c1", "low", "high"], ["r1"], name="cut"),
        make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="two"),
        make_node("Conv", ["input", "w3"], ["c3"], name="side"),
        make_node("GlobalAveragePool", ["c3"], ["p3"], name="pool"),
        make_node("Greater", ["p3", "low"], ["yes"], name="decide"),
        make_node("Cast", ["yes"], ["share"], to=onnx.TensorProto.FLOAT, name="cast"),
        make_node("Mul", ["c2", "share"], ["chosen"], name="choose"),
        make_node("Add", ["chosen", "c2"], ["mask"], name="both"),
    ]
    real = onnx.TensorProto.FLOAT
    graph = make_graph(
        nodes,
        "small",
        [make_tensor_value_info("input", real, (1, 3, 12, 12))],
        [make_tensor_value_info("mask", real, (1, 2, 8, 8))],
        [from_array(v.astype(np.float32), k) for k, v in {**weights, **others}.items()],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10)


def answers(model: Any) -> Any:
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"input": x})[0] for x in IMAGES])


def test_what_is_rounded_and_what_is_taken_back(tmp_path: Path) -> None:
    exact = network()
    rounded = quantised(exact, tmp_path, IMAGES)
    onnx.checker.check_model(rounded, full_check=True)
    assert float_weights(rounded.SerializeToString()) == ["w3"]  # what only decides
    makers = {output: node for node in rounded.graph.node for output in node.output}
    stored = [n.input[0] for n in rounded.graph.node if n.op_type == "QuantizeLinear"]
    assert sorted(stored) == ["input", "r1"]  # after the ReLU6, not before
    assert makers["r1"].op_type == "Clip"
    kinds = {t.name: t.data_type for t in rounded.graph.initializer}
    read = [n.input[0] for n in rounded.graph.node if n.op_type == "DequantizeLinear"]
    assert {kinds[name] for name in read if name in kinds} == {onnx.TensorProto.INT8}  # no bias

    plain = onnx.ModelProto()
    plain.CopyFrom(rounded)
    for tensor in plain.graph.initializer:
        if tensor.name in ("b1", "b2"):
            assert to_array(tensor).any()
            tensor.CopyFrom(from_array(np.zeros_like(to_array(tensor)), tensor.name))
    wanted = answers(exact)
    gaps = [np.abs((answers(m) - wanted).mean(axis=(0, 2, 3))).max() for m in (plain, rounded)]
    assert gaps[1] < 0.5 * gaps[0]


def test_an_output_that_layers_read_stays_an_output(tmp_path: Path) -> None:
    real, weights = onnx.TensorProto.FLOAT, RNG.normal(0, 1, (4, 3, 1, 1)).astype(np.float32)
    graph = make_graph(
        [
            make_node("GlobalAveragePool", ["input"], ["features"], name="pool"),
            make_node("Conv", ["features", "w"], ["logits"], name="head"),
        ],
        "pooled",
        [make_tensor_value_info("input", real, (1, 3, 12, 12))],
        [
            make_tensor_value_info("logits", real, (1, 4, 1, 1)),
            make_tensor_value_info("features", real, (1, 3, 1, 1)),
        ],
        [from_array(weights, "w")],
    )
    exact = make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10)
    rounded = quantised(exact, tmp_path, IMAGES)
    assert [value.name for value in rounded.graph.output] == ["logits", "features"]
    session = runtime.InferenceSession(
        rounded.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits, features = session.run(None, {"input": IMAGES[0]})
    means = IMAGES[0].mean(axis=(0, 2, 3))
    np.testing.assert_allclose(features[0, :, 0, 0], means, atol=0.003)  # what is read is rounded
    np.testing.assert_allclose(
        logits[0, :, 0, 0], weights[:, :, 0, 0] @ features[0, :, 0, 0], atol=0.1
    )
