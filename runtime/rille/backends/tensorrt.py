"""TensorRT 10 and 11: an engine is built from a bundle's ONNX network, on the device that runs it.

The precision is in the ONNX graph (half precision between casts, or QuantizeLinear and
DequantizeLinear around each tensor) and networks are strongly typed, so neither precision flags nor
calibrators are needed, and both major versions take one path.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends.cuda import open_cuda
from rille.backends.engines import EngineKey, EngineStore
from rille.errors import BackendUnavailableError, InferenceError, ManifestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle.manifest import Variant

Say = Callable[[str], None]
_REPORT_EVERY_S = 5.0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")  # minutes of silence look like a hang
    sys.stderr.flush()


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How an engine is built.

    Attributes:
        store: where engines and timings are kept.
        workspace_mib: most memory of the device that a kernel may use besides its tensors.
        fresh: build also where a kept engine would do.
        say: called with a line now and then.
    """

    store: EngineStore = field(default_factory=EngineStore)
    workspace_mib: int = 1024
    fresh: bool = False
    say: Say = _say


class TensorRtBackend:
    """An ONNX network in a TensorRT engine; see `rille.backends.Backend`.

    The engine is taken from the store; where that has none to be used it is built, which takes
    minutes and says so. `rille engine build` does it ahead of time.

    Args:
        model: content of the `.onnx` file, already verified.
        variant: what the manifest says of it; checked against the engine.
        threads: without meaning on a GPU.
        options: how to build.

    Raises:
        BackendUnavailableError: no TensorRT, no GPU, or no engine comes out.
        ManifestError: the bytes are no network, or not the one described.
        SinkError: the engine cannot be kept.
    """

    def __init__(
        self,
        model: bytes,
        variant: Variant,
        threads: int,
        options: BuildOptions | None = None,
    ) -> None:
        trt = import_tensorrt()
        logger = make_logger(trt)
        self.threads = threads
        self._cuda = open_cuda()
        try:
            engine = _ready(trt, logger, model, variant, self._cuda.capability, options)
            self.name = f"tensorrt {trt.__version__} sm{self._cuda.capability}"
            self._logger = logger  # TensorRT keeps a plain pointer to it
            self._engine: Any = engine
            self._context: Any = engine.create_execution_context()
            self._bind(trt, engine, variant)
        except BaseException:
            self._cuda.close()
            raise

    def _bind(self, trt: Any, engine: Any, variant: Variant) -> None:
        """Give every input and output of the engine its buffers."""
        names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
        given = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        if len(given) != 1:
            raise ManifestError(f"{variant.file}: takes {len(given)} inputs, one is supported")
        missing = variant.outputs.keys() - set(names)
        if missing:
            raise ManifestError(f"{variant.file}: has no output {min(missing)!r}")
        stated = {given[0]: variant.input}
        # All outputs get a buffer, also those that the manifest does not speak of.
        stated |= {role: entry.tensor for role, entry in variant.outputs.items()}
        self._host: dict[str, NDArray[Any]] = {}
        self._device: dict[str, int] = {}
        for name in names:
            shape = tuple(int(n) for n in engine.get_tensor_shape(name))
            if engine.get_tensor_dtype(name) != trt.DataType.FLOAT or min(shape) < 1:
                raise ManifestError(f"{variant.file}: {name} is not float32 of a fixed shape")
            if name in stated and (shape, "float32") != (stated[name].shape, stated[name].dtype):
                raise ManifestError(
                    f"{variant.file}: {name} is float32 {list(shape)}, its manifest states "
                    f"{stated[name].dtype} {list(stated[name].shape)}; export the bundle again"
                )
            self._host[name] = self._cuda.pinned(shape, np.dtype(np.float32))
            self._device[name] = self._cuda.on_device(self._host[name].nbytes)
            if not self._context.set_tensor_address(name, self._device[name]):
                raise ManifestError(f"{variant.file}: TensorRT takes no buffer for {name}")
        self._input, self._roles = given[0], tuple(variant.outputs)

    def infer(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run one input through the network; see `rille.backends.Backend.infer`."""
        np.copyto(self._host[self._input], tensor)
        self._cuda.upload(self._device[self._input], self._host[self._input])
        if not self._context.execute_async_v3(self._cuda.stream):
            raise InferenceError(f"{self.name}: inference failed ({last_error(self._logger)})")
        for role in self._roles:
            self._cuda.download(self._host[role], self._device[role])
        self._cuda.wait()
        return {role: self._host[role].copy() for role in self._roles}

    def close(self) -> None:
        """Free the engine and its buffers."""
        self._context = self._engine = None
        self._host = {}
        self._cuda.close()


def import_tensorrt() -> Any:
    """Import TensorRT.

    Raises:
        BackendUnavailableError: it is not installed, or older than 10.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as wrong:
        raise BackendUnavailableError(
            f"TensorRT cannot be used ({wrong}); on a Jetson it comes with JetPack (make the "
            "environment with --system-site-packages), elsewhere: pip install tensorrt-cu13"
        ) from None
    if int(trt.__version__.split(".")[0]) < 10:
        raise BackendUnavailableError(
            f"TensorRT {trt.__version__} is too old: 10 or newer is needed (JetPack 6)"
        )
    return trt


def _ready(
    trt: Any,
    logger: Any,
    model: bytes,
    variant: Variant,
    capability: str,
    options: BuildOptions | None,
) -> Any:
    """Return an engine, kept or built."""
    options = options or BuildOptions()
    key = EngineKey(
        model=hashlib.sha256(model).hexdigest(),
        precision=variant.precision,
        tensorrt=trt.__version__,
        capability=capability,
    )
    runtime = trt.Runtime(logger)
    content, why = (None, "asked for") if options.fresh else options.store.get(key)
    if content is not None:
        engine = runtime.deserialize_cuda_engine(content)
        if engine is not None:
            return engine
        why = f"TensorRT refuses the kept one: {last_error(logger)}"
    options.say(f"building a TensorRT engine of {variant.file} ({why}); this takes minutes")
    content = _build(trt, logger, model, variant.file, key, options)
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise BackendUnavailableError(
            f"{variant.file}: TensorRT refuses the engine it built ({last_error(logger)})"
        )
    options.say(f"kept {options.store.keep(key, content)}")
    return engine


def _build(
    trt: Any, logger: Any, model: bytes, file: str, key: EngineKey, options: BuildOptions
) -> bytes:
    """Build an engine, with the timings of earlier ones."""
    builder = trt.Builder(logger)
    # TensorRT 11 knows no other kind of network and ignores the flag; 10 needs it.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        error = parser.get_error(0).desc() if parser.num_errors else last_error(logger)
        raise ManifestError(f"{file}: TensorRT cannot read it ({error})")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    timings = EngineKey(
        model="timings", precision="all", tensorrt=key.tensorrt, capability=key.capability
    )
    known, _ = options.store.get(timings)
    cache = config.create_timing_cache(known or b"")
    if not config.set_timing_cache(cache, False) and known:  # another GPU of the same capability
        config.set_timing_cache(config.create_timing_cache(b""), False)
    monitor = make_monitor(trt, options.say)
    config.progress_monitor = monitor
    content = builder.build_serialized_network(network, config)
    if monitor.interrupted:
        raise KeyboardInterrupt
    if content is None:
        raise BackendUnavailableError(
            f"{file}: TensorRT built no engine ({last_error(logger)}); if memory is short, try "
            "rille engine build --workspace-mib with less, or close what else uses the GPU"
        )
    options.store.keep(timings, bytes(config.get_timing_cache().serialize()))
    return bytes(content)


def make_logger(trt: Any) -> Any:
    """Return a logger that keeps warnings and errors; TensorRT's own writes to stdout."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # a class known at run time only
        """Keeps what TensorRT complains of."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            """Take a line from TensorRT."""
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(" ".join(msg.split())[:300])

    return Logger()


def last_error(logger: Any) -> str:
    """Return what TensorRT complained of last."""
    return str(logger.errors[-1]) if logger.errors else "it does not say why"


def make_monitor(trt: Any, say: Say) -> Any:
    """Return a progress monitor that says every few seconds how far a build is.

    Ctrl-C ends the build at its next step; `interrupted` then says so.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Counts the steps of the phases of a build."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}
            self._said_ns = time.monotonic_ns()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Take note of a phase."""
            self._steps[phase_name] = num_steps

        def phase_finish(self, phase_name: str) -> None:
            """Forget a phase."""
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Say how far the build is; return whether it shall go on."""
            try:
                now = time.monotonic_ns()
                if now - self._said_ns >= _REPORT_EVERY_S * 1e9:
                    self._said_ns = now
                    say(f"{phase_name}: {step + 1} of {self._steps.get(phase_name, 0)}")
            except KeyboardInterrupt:  # an exception must not pass through TensorRT
                self.interrupted = True
            return not self.interrupted

    return Monitor()
