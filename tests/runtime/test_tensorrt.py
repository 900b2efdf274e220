"""Engines are kept, found, refused and rebuilt as they should be.

No GPU is at hand: `tests/doubles` stands in for TensorRT, cuda-python and PyCUDA, and says what
that can and cannot show.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.backends import open_backend
from rille.backends.engines import EngineKey, EngineStore, default_folder
from rille.backends.tensorrt import BuildOptions, TensorRtBackend
from rille.bundle import Bundle, file_entries, write_bundle
from rille.bundle.manifest import (
    SCHEMA,
    Decision,
    LabelEntry,
    Manifest,
    OutputEntry,
    Variant,
)
from rille.cli import main
from rille.errors import (
    BackendUnavailableError,
    BundleError,
    ConfigError,
    InferenceError,
    ManifestError,
    SinkError,
)
from rille.network import Network
from rille.pipeline import Pipeline
from rille.result import Classification
from rille.tensor import TensorSpec

onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")

DOUBLES = Path(__file__).parent.parent / "doubles"
SHAPE = (1, 8, 8, 3)
VARIANT = Variant(
    file="model.int8.onnx",
    target="onnx",
    precision="int8",
    input=TensorSpec(shape=SHAPE),
    outputs={"logits": OutputEntry(index=0, tensor=TensorSpec(shape=(1, 4)))},
    golden={"logits": "golden.bin"},
    golden_share=0.1,
)
NAMES = ("tensorrt", "cuda", "pycuda", "double_device")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The doubles in place of the real packages; gives TensorRT's."""
    monkeypatch.syspath_prepend(str(DOUBLES))
    monkeypatch.setenv("RILLE_ENGINES", str(tmp_path / "engines"))
    for name in [n for n in sys.modules if n.partition(".")[0] in NAMES]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    yield importlib.import_module("tensorrt")
    for name in [n for n in sys.modules if n.partition(".")[0] in NAMES]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def model() -> bytes:
    """A mean over the image, then a matrix."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(5).normal(0, 1, (3, 4)).astype(np.float32)
    nodes = [
        make.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        make.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    graph = make.make_graph(
        nodes,
        "tiny",
        [make.make_tensor_value_info("input", kind, SHAPE)],
        [make.make_tensor_value_info("logits", kind, (1, 4))],
        [
            onnx.numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            onnx.numpy_helper.from_array(weights, "weights"),
        ],
    )
    opset = [make.make_opsetid("", 18)]
    content: bytes = make.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return content


@pytest.fixture
def bundle(model: bytes, tmp_path: Path) -> Bundle:
    """A classifier whose only network is ONNX."""
    picture = np.random.default_rng(6).integers(0, 255, (8, 8, 3), np.uint8)
    contract: dict[str, Any] = {
        "name": "tiny",
        "version": "0",
        "task": "classification",
        "summary": "test",
        "licence": "test",
        "labels": tuple(LabelEntry(id=k, name=f"class-{k}") for k in range(4)),
        "preprocess": (
            {"op": "rgb"},
            {"op": "resize", "width": 8, "height": 8},
            {"op": "normalize"},
        ),
        "decision": Decision(),
    }
    files = {
        "model.int8.onnx": model,
        "golden.png": cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes(),
        "golden.bin": b"",
    }

    def manifest() -> Manifest:
        return Manifest(
            **contract,
            schema=SCHEMA,
            variants={"onnx-int8": VARIANT},
            files=file_entries(files),
            golden_images=("golden.png",),
        )

    engine = open_backend(model, VARIANT, threads=1)
    tensor, _ = Network(manifest(), VARIANT, engine).preprocessor(picture)
    files["golden.bin"] = engine.infer(tensor)["logits"].tobytes()
    return write_bundle(tmp_path / "tiny", manifest(), files)


def opened(model: bytes, **how: Any) -> tuple[TensorRtBackend, list[str]]:
    said: list[str] = []
    return TensorRtBackend(model, VARIANT, 1, BuildOptions(say=said.append, **how)), said


def one_input() -> Any:
    return np.random.default_rng(7).normal(0, 1, SHAPE).astype(np.float32)


def engine_files() -> list[Path]:
    return sorted(p for p in default_folder().glob("*.engine") if "timings" not in p.name)


def test_an_engine_is_built_once_and_answers_as_the_graph_does(gpu: Any, model: bytes) -> None:
    first, said = opened(model)
    assert "none was built yet" in said[0] and "minutes" in said[0]
    expected = open_backend(model, VARIANT, threads=1)
    for _ in range(3):
        x = one_input()
        np.testing.assert_array_equal(first.infer(x)["logits"], expected.infer(x)["logits"])
    assert first.name == "tensorrt 10.3.0 sm8.7"
    second, said = opened(model)
    assert said == []
    np.testing.assert_array_equal(second.infer(x)["logits"], first.infer(x)["logits"])
    assert [p.name for p in engine_files()] == [
        f"{hashlib.sha256(model).hexdigest()[:16]}-int8-trt10.3.0-sm8.7.engine"
    ]
    assert default_folder().stat().st_mode & 0o077 == 0
    _, said = opened(model, fresh=True)
    assert "asked for" in said[0]


def test_closing_frees_every_buffer(gpu: Any, model: bytes) -> None:
    device = importlib.import_module("double_device")
    engine, _ = opened(model)
    assert len(device.memory) == 4  # input and output, on the device and on the host
    engine.close()
    assert not device.memory
    with pytest.raises(ManifestError):
        TensorRtBackend(model, replace(VARIANT, input=TensorSpec(shape=(1, 9, 9, 3))), 1)
    assert not device.memory


def test_another_version_or_gpu_gets_its_own_engine(
    gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(model)
    monkeypatch.setattr(gpu, "__version__", "11.4.0.106")
    _, said = opened(model)
    assert "none was built yet" in said[0]
    cuda = importlib.import_module("cuda.bindings.runtime")
    monkeypatch.setattr(cuda, "capability", [7, 2])
    _, said = opened(model)
    assert "none was built yet" in said[0]
    assert len(engine_files()) == 3


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda b: b[:-1], "is damaged"),
        (lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:], "is damaged"),
        (lambda b: b"ELF" + b, "not an engine that rille kept"),
        (lambda b: b"", "not an engine that rille kept"),
        (lambda b: b.replace(b'"int8"', b'"fp16"', 1), "built for something else"),
        (lambda b: b.replace(b'"bytes"', b'"bites"', 1), "damaged head"),
        (lambda b: b[:15] + b"[" * 4000 + b"\n", "damaged head"),
        (lambda b: b[:15] + b" " * 9000, "not an engine that rille kept"),
    ],
)
def test_a_damaged_or_foreign_engine_is_rebuilt(
    gpu: Any, model: bytes, spoil: Any, why: str
) -> None:
    """The double fails the test if it is ever handed what is no engine."""
    opened(model)
    (path,) = engine_files()
    good = path.read_bytes()
    path.write_bytes(spoil(good))
    engine, said = opened(model)
    assert why in said[0]
    assert engine.infer(one_input())["logits"].shape == (1, 4)
    assert path.read_bytes() == good


def test_an_engine_that_tensorrt_refuses_is_rebuilt(gpu: Any, model: bytes) -> None:
    """The head is right, the content was built by another version."""
    opened(model)
    key = EngineKey(
        model=hashlib.sha256(model).hexdigest(),
        precision="int8",
        tensorrt="10.3.0",
        capability="8.7",
    )
    store = EngineStore()
    content, _ = store.get(key)
    assert content is not None
    store.keep(key, content.replace(b"10.3.0", b"10.0.1", 1))
    _, said = opened(model)
    assert "TensorRT refuses the kept one: Version tag does not match" in said[0]
    assert store.get(key)[0] == content


def test_timings_are_kept_and_those_of_another_gpu_are_not_used(
    gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(model)
    key = EngineKey(model="timings", precision="all", tensorrt="10.3.0", capability="8.7")
    assert EngineStore().get(key)[0] == b"+"
    opened(model, fresh=True)
    assert EngineStore().get(key)[0] == b"++"
    monkeypatch.setattr(gpu, "fault", "timings")
    opened(model, fresh=True)
    assert EngineStore().get(key)[0] == b"+"


def test_what_goes_wrong_is_told_in_one_line(
    gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match=r"model\.int8\.onnx: TensorRT cannot read it"):
        opened(b"no graph")
    monkeypatch.setattr(gpu, "fault", "build")
    with pytest.raises(BackendUnavailableError, match=r"out of memory on the device.*workspace"):
        opened(model)
    assert engine_files() == []
    monkeypatch.setattr(gpu, "fault", "")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SinkError, match="cannot be written"):
        opened(model, store=EngineStore(tmp_path / "file"))
    engine, _ = opened(model)
    monkeypatch.setattr(gpu, "fault", "execute")
    with pytest.raises(InferenceError, match="illegal memory access"):
        engine.infer(one_input())


def test_a_fault_of_the_device_is_an_inference_error(
    gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = opened(model)
    cuda = importlib.import_module("cuda.bindings.runtime")
    failed = cuda.cudaError_t.cudaErrorLaunchFailure
    monkeypatch.setattr(cuda, "fault", {"cudaStreamSynchronize": failed})
    with pytest.raises(InferenceError, match="cudaErrorLaunchFailure"):
        engine.infer(one_input())


def test_no_device(gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = importlib.import_module("cuda.bindings.runtime")
    none = cuda.cudaError_t.cudaErrorInsufficientDriver
    monkeypatch.setattr(cuda, "fault", {"cudaDeviceGetAttribute": none})
    with pytest.raises(BackendUnavailableError, match=r"no CUDA device.*InsufficientDriver"):
        opened(model)


def test_pycuda_serves_as_well(gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    engine, _ = opened(model)
    assert engine.name.endswith("sm7.2")
    x = one_input()
    expected = open_backend(model, VARIANT, threads=1).infer(x)["logits"]
    np.testing.assert_array_equal(engine.infer(x)["logits"], expected)
    engine.close()
    assert importlib.import_module("pycuda.driver").depth == 0
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(BackendUnavailableError, match="neither cuda-python nor PyCUDA"):
        opened(model)


def test_without_tensorrt(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendUnavailableError, match="on a Jetson it comes with JetPack"):
        open_backend(model, VARIANT, name="tensorrt", threads=1)


def test_tensorrt_8_is_too_old(gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "__version__", "8.6.2")
    with pytest.raises(BackendUnavailableError, match=r"8\.6\.2 is too old"):
        opened(model)


def test_ctrl_c_ends_a_build_and_keeps_nothing(
    gpu: Any, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rille.backends.tensorrt._REPORT_EVERY_S", 0.0)

    def interrupt(line: str) -> None:
        if line.startswith("Building Engine"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TensorRtBackend(model, VARIANT, 1, BuildOptions(say=interrupt))
    assert engine_files() == []


def test_a_network_that_contradicts_its_manifest(gpu: Any, model: bytes) -> None:
    wide = replace(VARIANT, input=TensorSpec(shape=(1, 16, 16, 3)))
    with pytest.raises(ManifestError, match="its manifest states float32"):
        TensorRtBackend(model, wide, 1)
    other = {"mask": OutputEntry(index=0, tensor=TensorSpec(shape=(1, 4)))}
    with pytest.raises(ManifestError, match="has no output 'mask'"):
        TensorRtBackend(model, replace(VARIANT, outputs=other), 1)


def test_the_command_builds_checks_and_times(
    gpu: Any, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "build", bundle.where]) == 0
    said = capsys.readouterr()
    assert "onnx-int8" in said.out and "golden answers within 0 of" in said.out
    assert "building a TensorRT engine of model.int8.onnx" in said.err
    assert main(["engine", "build", bundle.where, "--variant", "onnx-int8"]) == 0
    assert "building" not in capsys.readouterr().err
    assert main(["engine", "build", bundle.where, "--workspace-mib", "0"]) == ConfigError.exit_code
    assert main(["engine", "build", "mars-msl24", "--variant", "tflite-int8"]) == 4
    assert "is no ONNX network" in capsys.readouterr().err


def test_a_pipeline_runs_on_the_engine(gpu: Any, bundle: Bundle) -> None:
    with Pipeline(classify=bundle, backend="tensorrt") as pipeline:
        network = pipeline.networks["classify"]
        assert network.backend.name == "tensorrt 10.3.0 sm8.7"
        answer, _ = network.run(np.full((40, 40, 3), 90, np.uint8))
        assert isinstance(answer, Classification) and 0.25 <= answer.probability <= 1


def test_a_bundle_without_onnx_says_how_to_get_one(gpu: Any, mars_bundle: Bundle) -> None:
    tflite = {k: v for k, v in mars_bundle.manifest.variants.items() if v.target == "tflite"}
    plain = replace(mars_bundle, manifest=replace(mars_bundle.manifest, variants=tflite))
    with pytest.raises(BundleError, match=r"holds no onnx network .*rille export --target"):
        Network.load(plain, backend="tensorrt")
