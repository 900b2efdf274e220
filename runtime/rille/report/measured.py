"""A network of a bundle as it is on this device: what it takes and gives, time, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends.anatomy import Anatomy, anatomy
from rille.board import resident_bytes
from rille.bundle import Bundle, Variant
from rille.errors import BackendUnavailableError
from rille.latency import spent_ms
from rille.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RUNS, _WARM = 200, 20


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One variant on this device.

    Attributes:
        variant: its entry in the manifest.
        file_bytes: of the model file.
        engine: what runs it here; empty where nothing does.
        trouble: why nothing does.
        anatomy: of TFLite networks.
        spent_ms: threads -> time of each inference, warm, preprocessing left out.
        grown_bytes: how much resident memory grew by loading it and running it once.
    """

    variant: Variant
    file_bytes: int
    engine: str = ""
    trouble: str = ""
    anatomy: Anatomy | None = None
    spent_ms: Mapping[int, Sequence[float]] = field(default_factory=dict)
    grown_bytes: int = 0

    def percentile(self, threads: int, share: float) -> float:
        """Return a percentile of the time of an inference in milliseconds."""
        return float(np.percentile(self.spent_ms[threads], 100 * share))

    def lines(self) -> list[str]:
        """Return it in words, one line a thing."""
        taken = self.variant.input
        lines = [
            f"{self.variant.file}, {self.file_bytes / 1e6:.2f} MB",
            f"takes {taken.dtype} {list(taken.shape)}, scale {taken.scale:.4g}",
        ]
        lines += [
            f"gives {role}: {entry.tensor.dtype} {list(entry.tensor.shape)}, scale "
            f"{entry.tensor.scale:.4g}"
            for role, entry in self.variant.outputs.items()
        ]
        if self.trouble:
            return [*lines, f"cannot run here: {self.trouble}"]
        if self.anatomy is not None:
            lines.append(str(self.anatomy))
            lines.append(
                f"memory: weights {self.anatomy.weight_bytes / 1e6:.2f} MB, activations "
                f"{self.anatomy.activation_bytes / 1e6:.2f} MB; resident memory grew by "
                f"{self.grown_bytes / 1e6:.1f} MB"
            )
        lines += [
            f"{self.engine}, {threads} thread(s): p50 {self.percentile(threads, 0.5):.2f} ms, "
            f"p95 {self.percentile(threads, 0.95):.2f} ms of {len(spent)} inferences here"
            for threads, spent in self.spent_ms.items()
        ]
        return lines


def measure(bundle: Bundle, name: str, threads: Sequence[int]) -> Measured:
    """Load a variant and time it with each number of threads.

    Args:
        bundle: verified.
        name: of the variant.
        threads: numbers of threads, the first also for what memory it takes.

    Raises:
        ManifestError: the network is not what the manifest says.
    """
    _, variant = bundle.variant(name)
    content = bundle.files[variant.file]
    spent: dict[int, list[float]] = {}
    grown, engine = 0, ""
    tensor = np.zeros(variant.input.shape, variant.input.numpy_dtype)
    # First, so that the interpreter's own libraries are not counted as the network's memory.
    parts = anatomy(content) if variant.target == "tflite" else None
    for count in threads:
        before = resident_bytes()
        try:
            network = Network.load(bundle, variant=name, threads=count)
        except BackendUnavailableError as wrong:
            return Measured(variant=variant, file_bytes=len(content), trouble=str(wrong))
        network.backend.infer(tensor)
        grown = grown or max(resident_bytes() - before, 0)
        engine = network.backend.name
        spent[count] = _spent(network, tensor)
        network.close()
    return Measured(
        variant=variant,
        file_bytes=len(content),
        engine=engine,
        anatomy=parts,
        spent_ms=spent,
        grown_bytes=grown,
    )


def _spent(network: Network, tensor: NDArray[Any]) -> list[float]:
    return spent_ms(lambda _: network.backend.infer(tensor), _RUNS, _WARM)
