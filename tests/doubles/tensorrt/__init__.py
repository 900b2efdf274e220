"""A double of TensorRT 10 and 11: builds "engines" that ONNX Runtime runs."""

from __future__ import annotations

import enum
from typing import Any

import double_device as device
import numpy as np
import onnxruntime as ort

__version__ = "10.3.0"
fault = ""
"""What shall go wrong: "build", "execute", "timings" or ""."""
_PREFIX = b"double of an engine, TensorRT "


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class INetworkDefinition:
    onnx = b""


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> memoryview:
        return memoryview(self.content + b"+")


class IBuilderConfig:
    def __init__(self) -> None:
        self.progress_monitor: IProgressMonitor | None = None
        self.workspace = 0
        self._cache: ITimingCache | None = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        assert pool is MemoryPoolType.WORKSPACE
        self.workspace = pool_size

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if fault == "timings" and cache.content:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        typed = flags & (1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        assert typed or not __version__.startswith("10"), "precision would be TensorRT's to choose"
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> memoryview | None:
        if fault == "build":
            self._logger.log(ILogger.Severity.ERROR, "out of  memory\non the device")
            return None
        monitor, go_on = config.progress_monitor, True
        if monitor is not None:
            monitor.phase_start("Building Engine", None, 3)
            for step in range(3):
                go_on = go_on and monitor.step_complete("Building Engine", step)
            monitor.phase_finish("Building Engine")
        content = _PREFIX + __version__.encode() + b":" + network.onnx
        return memoryview(content) if go_on else None


class ParserError:
    def __init__(self, said: str) -> None:
        self._said = said

    def desc(self) -> str:
        return self._said


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        except Exception as wrong:
            self._errors.append(ParserError(str(wrong).splitlines()[0]))
            return False
        self._network.onnx = model
        return True


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == device.STREAM
        if fault == "execute":
            self._engine.logger.log(ILogger.Severity.ERROR, "illegal memory access")
            return False
        device.queue.append(self._run)
        return True

    def _run(self) -> None:
        engine = self._engine
        (given,) = engine.session.get_inputs()
        content = device.read(self._addresses[given.name], 4 * int(np.prod(given.shape)))
        tensor = np.frombuffer(content, np.float32).reshape(given.shape)
        names = [node.name for node in engine.session.get_outputs()]
        answers = engine.session.run(names, {given.name: tensor})
        for name, values in zip(names, answers, strict=True):
            device.write(self._addresses[name], np.ascontiguousarray(values).tobytes())


class ICudaEngine:
    def __init__(self, model: bytes, logger: ILogger) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.logger = logger
        self.session: Any = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self._nodes: dict[str, Any] = {node.name: node for node in (*inputs, *outputs)}
        self._given = {node.name for node in inputs}

    @property
    def num_io_tensors(self) -> int:
        return len(self._nodes)

    def get_tensor_name(self, index: int) -> str:
        return str(list(self._nodes)[index])

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._given else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._nodes[name].shape)

    def get_tensor_dtype(self, name: str) -> DataType:
        return {"tensor(float)": DataType.FLOAT, "tensor(float16)": DataType.HALF}[
            self._nodes[name].type
        ]

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        content = bytes(serialized_engine)
        assert content.startswith(_PREFIX), "no engine: the real one would crash here"
        version, _, model = content[len(_PREFIX) :].partition(b":")
        if version.decode() != __version__:
            self._logger.log(ILogger.Severity.ERROR, f"Version tag does not match: {version!r}")
            return None
        return ICudaEngine(model, self._logger)
