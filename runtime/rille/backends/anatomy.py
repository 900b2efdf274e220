"""What a TFLite network is made of: operations, what XNNPACK takes of them, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Anatomy:
    """How a network is divided, and what it needs.

    Attributes:
        operations: operation -> how many there are, most frequent first.
        parts: how many pieces XNNPACK takes; between two of them stands something it does not take.
        outside: operation -> how many are left to the interpreter's own, slower code.
        weight_bytes: of all constants. XNNPACK keeps a packed copy besides.
        activation_bytes: most that the tensors between operations need at one time, if each is
            freed after its last use.
    """

    operations: Mapping[str, int]
    parts: int
    outside: Mapping[str, int]
    weight_bytes: int
    activation_bytes: int

    def __str__(self) -> str:
        text = (
            f"{sum(self.operations.values())} operations in {self.parts} XNNPACK part(s): "
            f"{_listed(self.operations)}"
        )
        return text + (f"; left outside: {_listed(self.outside)}" if self.outside else "")


def anatomy(model: bytes) -> Anatomy:
    """Return what a network is made of.

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
    ends = [int(details["index"]) for details in interpreter.get_output_details()]
    starts = [int(details["index"]) for details in interpreter.get_input_details()]
    sizes = {
        int(details["index"]): int(np.prod(details["shape"])) * np.dtype(details["dtype"]).itemsize
        for details in interpreter.get_tensor_details()
    }
    made = {int(tensor) for entry in plain for tensor in entry["outputs"]} | set(starts)
    read = {int(tensor) for entry in plain for tensor in entry["inputs"]}
    outside = _outside(plain, taken, ends)
    return Anatomy(
        dict(Counter(str(entry["op_name"]) for entry in plain).most_common()),
        len(taken),
        dict(Counter(outside).most_common()),
        sum(sizes.get(tensor, 0) for tensor in read - made),
        _most_alive(plain, sizes, starts, ends),
    )


def _outside(
    plain: Sequence[dict[str, Any]], taken: Sequence[dict[str, Any]], ends: Sequence[int]
) -> list[str]:
    """Return the names of the operations that no delegate took.

    Back from what must exist, the inputs of delegates and the network's outputs: a tensor that no
    delegate gives was made by an operation outside.
    """
    maker = {int(tensor): entry for entry in plain for tensor in entry["outputs"]}
    given = {int(tensor) for entry in taken for tensor in entry["outputs"]}
    wanted = [*ends, *(int(tensor) for entry in taken for tensor in entry["inputs"])]
    outside: dict[int, str] = {}
    while wanted:
        tensor = wanted.pop()
        entry = maker.get(tensor)
        if entry is None or tensor in given or entry["index"] in outside:
            continue
        outside[entry["index"]] = str(entry["op_name"])
        wanted += [int(source) for source in entry["inputs"]]
    return list(outside.values())


def _most_alive(
    plain: Sequence[dict[str, Any]],
    sizes: Mapping[int, int],
    starts: Sequence[int],
    ends: Sequence[int],
) -> int:
    """Return the most bytes of tensors that are in use at one time."""
    last = dict.fromkeys(starts, -1)
    for step, entry in enumerate(plain):
        for tensor in (*entry["outputs"], *(k for k in entry["inputs"] if int(k) in last)):
            last[int(tensor)] = step
    last |= dict.fromkeys(ends, len(plain))
    alive, most = set(starts), 0
    for step, entry in enumerate(plain):
        alive |= {int(tensor) for tensor in entry["outputs"]}
        most = max(most, sum(sizes.get(tensor, 0) for tensor in alive))
        alive = {tensor for tensor in alive if last.get(tensor, -1) > step}
    return most


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
