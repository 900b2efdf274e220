"""An engine and a camera that do what a script says, in the place of hardware."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rille.bundle.manifest import Contract, Decision, LabelEntry, OutputEntry, Variant
from rille.errors import FrameDecodeError, InferenceError
from rille.network import Network
from rille.pipeline import Pipeline
from rille.sources import Source
from rille.tensor import TensorSpec
from rille.uri import SourceUri

PIXELS = np.zeros((24, 32, 3), np.uint8)


class Costs(Protocol):
    """Milliseconds by turn: a list, or something that a test changes on the way."""

    def __getitem__(self, turn: int, /) -> float: ...

    def __len__(self) -> int: ...


class ScriptedEngine:
    """Stands in for an inference engine: takes the times and fails as a script says."""

    name, threads = "scripted", 1

    def __init__(self, costs_ms: Costs, fails: list[bool], sides: dict[str, Any]) -> None:
        self._costs, self._fails, self._outputs = costs_ms, fails, sides
        self._turn = 0

    def infer(self, tensor: Any) -> dict[str, Any]:
        turn = self._turn
        self._turn += 1
        time.sleep(self._costs[turn % len(self._costs)] / 1000)
        if self._fails[turn % len(self._fails)]:
            raise InferenceError("scripted failure")
        return self._outputs

    def close(self) -> None:
        pass


def network(task: str, costs_ms: Costs, fails: list[bool] | None = None) -> Network:
    answers: dict[str, dict[str, NDArray[np.float32]]] = {
        "classification": {"logits": np.array([[0.0, 1.0]], np.float32)},
        "segmentation": {"mask": -np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1) - 9},
    }
    outputs = answers[task]
    contract = Contract(
        name="scripted",
        version="1",
        task=task,
        summary="",
        licence="",
        labels=(LabelEntry(id=0, name="a"), LabelEntry(id=1, name="b")),
        preprocess=(
            {"op": "gray"},
            {"op": "resize", "width": 8, "height": 8},
            {"op": "normalize"},
        ),
        decision=Decision(),
    )
    variant = Variant(
        file="",
        target="keras",
        precision="fp32",
        input=TensorSpec(shape=(1, 8, 8, 1)),
        outputs={
            role: OutputEntry(index=0, tensor=TensorSpec(shape=v.shape))
            for role, v in outputs.items()
        },
    )
    return Network(contract, variant, ScriptedEngine(costs_ms, fails or [False], outputs))


class ScriptedCamera(Source):
    """Stands in for a camera: frames come at the moments of a script, some of them damaged."""

    def __init__(self, gaps_ms: list[float], damaged: list[bool], realtime: bool = True) -> None:
        super().__init__(SourceUri("scripted://", "scripted", "", {}), None)
        self.realtime = realtime
        self._gaps, self._damaged = gaps_ms, damaged

    @property
    def length(self) -> int | None:
        return len(self._gaps)

    def describe(self) -> str:
        return "scripted"

    def _next(self) -> Any:
        if self.index >= len(self._gaps):
            return None
        time.sleep(self._gaps[self.index] / 1000)
        if self._damaged[self.index % len(self._damaged)]:
            raise FrameDecodeError(f"frame {self.index} is damaged")
        return PIXELS, f"frame {self.index}", None, None


def check_account(pipeline: Pipeline, captured: int) -> None:
    t = pipeline.stats.totals
    assert t.captured == captured
    assert t.captured == t.ok + t.late + t.dropped + t.failed
    assert t.in_flight == 0
