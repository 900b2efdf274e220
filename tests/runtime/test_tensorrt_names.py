"""Every TensorRT, cuda-python and PyCUDA name that rille uses exists in the published packages.

Opt in with RILLE_TENSORRT_NAMES=1: it fetches the real bindings from the package index. They import
without NVIDIA's libraries once three empty ones with the right names are put in their place, which
takes gcc; what needs a GPU then fails cleanly, but every name, and every class to inherit from, is
the real one.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BACKENDS = ROOT / "runtime" / "rille" / "backends"
DOUBLES = ROOT / "tests" / "doubles"
BINDINGS = {
    "10.3.0": "tensorrt_cu12_bindings",  # JetPack 6
    "10.16.1.11": "tensorrt_cu13_bindings",
    "11.4.0.106": "tensorrt_cu13_bindings",
}
STUB = "\n".join(
    f"void *{name}(void) {{ return 0; }}"
    for name in (
        *("createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL"),
        *("createInferRefitter_INTERNAL", "createNvOnnxParser_INTERNAL"),
        *("createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry"),
        *("getPluginRegistry", "getNvOnnxParserVersion", "initLibNvInferPlugins"),
    )
)
OBJECTS = {
    "trt": "",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "_context": "IExecutionContext",
}
"""What the variables of `rille.backends.tensorrt` hold, by their names."""
RETURNS = {"OnnxParser.get_error": "ParserError", "IBuilderConfig.get_timing_cache": "ITimingCache"}

opt_in = pytest.mark.skipif(
    os.environ.get("RILLE_TENSORRT_NAMES") != "1" or shutil.which("gcc") is None,
    reason="opt in with RILLE_TENSORRT_NAMES=1; needs gcc and a package index",
)


def used_names(source: str) -> set[str]:
    """The TensorRT names in a module, as dotted paths from the package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            path = _path(node)
            if path:
                names.add(path)
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                path = _path(base) if isinstance(base, ast.Attribute) else None
                if path:
                    names |= {
                        f"{path}.{f.name}"
                        for f in node.body
                        if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")
                    }
    return names


def _path(node: ast.Attribute) -> str | None:
    value = node.value
    if isinstance(value, ast.Name) and value.id in OBJECTS:
        holder: str | None = OBJECTS[value.id]
    elif isinstance(value, ast.Attribute):
        own = isinstance(value.value, ast.Name) and value.value.id == "self"
        holder = OBJECTS.get(value.attr) if own else _path(value)
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        called = _path(value.func)
        holder = RETURNS.get(called) if called else None
    else:
        holder = None
    if holder is None:
        return None
    return f"{holder}.{node.attr}" if holder else node.attr


def doubled_names() -> set[str]:
    """The classes and methods of the double, which must not be more than the real ones."""
    tree = ast.parse((DOUBLES / "tensorrt" / "__init__.py").read_text())
    names = set()
    for kind in tree.body:
        if isinstance(kind, ast.ClassDef):
            names |= {kind.name} | {
                f"{kind.name}.{f.name}"
                for f in kind.body
                if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")
            }
    return names


CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import tensorrt_bindings as trt
missing = []
for dotted in json.load(sys.stdin):
    found = trt
    for part in dotted.split("."):
        found = getattr(found, part, None)
    if found is None:
        missing.append(dotted)
from rille.backends.tensorrt import last_error, make_logger, make_monitor
logger = make_logger(trt)
logger.log(trt.ILogger.Severity.ERROR, "a  word")
said = []
monitor = make_monitor(trt, said.append)
monitor.phase_start("phase", None, 2)
assert monitor.step_complete("phase", 0) is True
monitor.phase_finish("phase")
try:
    trt.Builder(logger)
    refused = "no"
except TypeError as wrong:  # it took our logger, and there is no library behind it
    refused = str(wrong)
print(json.dumps({"version": trt.__version__, "missing": missing, "error": last_error(logger),
                  "refused": refused}))
"""


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bindings")


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)


def test_names_are_found_in_our_module() -> None:
    names = used_names((BACKENDS / "tensorrt.py").read_text())
    assert {"Builder.build_serialized_network", "IExecutionContext.execute_async_v3"} <= names
    assert {"ParserError.desc", "ITimingCache.serialize", "IProgressMonitor.step_complete"} <= names
    assert "MemoryPoolType.WORKSPACE" in names and "ILogger.Severity.ERROR" in names
    assert len(names) > 35


@opt_in
@pytest.mark.parametrize("version", BINDINGS)
def test_tensorrt(fetched: Path, version: str) -> None:
    package = BINDINGS[version]
    folder = fetched / version
    pip("download", "--no-deps", "--dest", str(folder), f"{package}=={version}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    major = version.partition(".")[0]
    (folder / "stub.c").write_text(STUB)
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{major}"
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, "stub.c"]
        subprocess.run(command, cwd=folder, check=True)
    names = used_names((BACKENDS / "tensorrt.py").read_text()) | doubled_names()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        input=json.dumps(sorted(names)),
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT / "runtime")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["version"] == version
    assert answer["missing"] == []
    assert answer["error"] == "a word"
    assert "nullptr" in answer["refused"]


@opt_in
def test_cuda_python(fetched: Path) -> None:
    """Its names exist, and where there is no driver rille says so in one line."""
    folder = fetched / "cuda"
    pip("install", "--target", str(folder), "cuda-bindings")
    source = (BACKENDS / "cuda.py").read_text()
    tree = ast.parse(source)
    names = {
        ast.unparse(node).partition("cudart.")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and "cudart." in ast.unparse(node)
    }
    names = {name for name in names if name.startswith("cuda") and "(" not in name}
    assert len(names) > 10
    code = f"""
from cuda.bindings import runtime
for dotted in {sorted(names)!r}:
    found = runtime
    for part in dotted.split("."):
        found = getattr(found, part)
from rille.backends.cuda import open_cuda
from rille.errors import BackendUnavailableError
try:
    cuda = open_cuda()
    print("device", cuda.capability)
    cuda.close()
except BackendUnavailableError as wrong:
    print(wrong)
"""
    path = os.pathsep.join([str(folder), str(ROOT / "runtime")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("device", "no CUDA device can be used (CUDA: cudaError"))


@opt_in
def test_pycuda_has_the_names_in_its_sources(fetched: Path) -> None:
    """It has no wheels and its import needs a driver, so its sources are read."""
    folder = fetched / "pycuda"
    pip("download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
        "--dest", str(folder), "pycuda")  # fmt: skip
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        texts = [
            archive.extractfile(member).read().decode(errors="replace")  # type: ignore[union-attr]
            for member in archive.getmembers()
            if member.name.endswith(("wrap_cudadrv.cpp", "pycuda/driver.py"))
        ]
    text = "\n".join(texts)
    for name in (
        *("init", "Device", "compute_capability", "retain_primary_context", "push", "pop"),
        *("Stream", "handle", "synchronize", "mem_alloc", "free", "pagelocked_empty"),
        *("memcpy_htod_async", "memcpy_dtoh_async", "Error"),
    ):
        assert any(said in text for said in (f'"{name}"', f"def {name}(", f"({name})", f"({name},"))
