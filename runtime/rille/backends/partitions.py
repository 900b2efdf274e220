"""Which operations of a TFLite network XNNPACK takes, and which are left to slower code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Partitions:
    """How a network is divided.

    Attributes:
        operations: operation -> how many there are, most frequent first.
        parts: how many pieces XNNPACK takes; between two of them stands something it does not take.
        outside: operation -> how many are left to the interpreter's own, slower code.
    """

    operations: Mapping[str, int]
    parts: int
    outside: Mapping[str, int]

    def __str__(self) -> str:
        text = (
            f"{sum(self.operations.values())} operations in {self.parts} XNNPACK part(s): "
            f"{_listed(self.operations)}"
        )
        return text + (f"; left outside: {_listed(self.outside)}" if self.outside else "")


def partitions(model: bytes) -> Partitions:
    """Return how XNNPACK divides a network.

    Args:
        model: content of a `.tflite` file.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    # There is no public way to list operations. Those that a delegate took over stay listed.
    listed: list[dict[str, Any]] = interpreter._get_ops_details()
    taken = [entry for entry in listed if entry["op_name"] == "DELEGATE"]
    plain = [entry for entry in listed if entry["op_name"] != "DELEGATE"]
    maker = {int(tensor): entry for entry in plain for tensor in entry["outputs"]}
    given = {int(tensor) for entry in taken for tensor in entry["outputs"]}
    # Back from what must exist: a tensor that no delegate gives was made outside.
    wanted = [int(details["index"]) for details in interpreter.get_output_details()]
    wanted += [int(tensor) for entry in taken for tensor in entry["inputs"]]
    outside: dict[int, str] = {}
    while wanted:
        tensor = wanted.pop()
        entry = maker.get(tensor)
        if entry is None or tensor in given or entry["index"] in outside:
            continue
        outside[entry["index"]] = str(entry["op_name"])
        wanted += [int(source) for source in entry["inputs"]]
    return Partitions(
        dict(Counter(str(entry["op_name"]) for entry in plain).most_common()),
        len(taken),
        dict(Counter(outside.values()).most_common()),
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
