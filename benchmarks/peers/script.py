"""The script as most people write it: OpenCV and NumPy around an engine, line after line.

It follows a bundle's manifest with the textbook call for each step: floats through NumPy, `argmax`,
`connectedComponentsWithStats`. Subclasses bring the engine. Most people call `cv2.resize` as it
comes, which skips pixels where it shrinks to less than half: `careless` scripts do, and answer
otherwise. The others halve first, by areas, as a bundle's `resize` is defined.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from benchmarks.peers.peer import Answer, NothingToRunError, Peer, PeerRefusedError, Workload
from rille.preprocess import (
    Clahe,
    Equalize,
    Gray,
    Letterbox,
    Normalize,
    Resize,
    Standardize,
    parse_ops,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle import Bundle
    from rille.bundle.manifest import Contract, Variant
    from rille.preprocess import Op

Engine = Callable[["NDArray[Any]"], Mapping[str, "NDArray[Any]"]]
"""From an input tensor to role -> stored numbers."""


class Script(Peer):
    """A plain script over whichever engine a subclass brings.

    Attributes:
        careless: whether `cv2.resize` is called as it comes.
    """

    careless: ClassVar[bool] = False

    def __init__(self, workload: Workload, threads: int) -> None:
        self._networks = []
        for bundle in workload.bundles().values():
            variant = self.variant(bundle)
            engine = self.engine(bundle, variant, threads)
            self._networks.append((bundle.manifest, variant, engine))
        self.how = ", ".join(variant.precision for _, variant, _ in self._networks)

    @abstractmethod
    def variant(self, bundle: Bundle) -> Variant:
        """Return the form of the network that this engine runs.

        Raises:
            NothingToRunError: the bundle holds none.
        """

    @abstractmethod
    def engine(self, bundle: Bundle, variant: Variant, threads: int) -> Engine:
        """Load a network."""

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Answer for one frame; see `Peer.answer`."""
        label, mask = -1, None
        for manifest, variant, engine in self._networks:
            outputs = engine(tensor_of(manifest, variant, pixels, self.careless))
            if manifest.task == "segmentation":
                mask = mask_of(manifest, variant, outputs)
            else:
                label = label_of(manifest, variant, outputs["logits"])
        return Answer(label=label, mask=mask)


def variant_of(bundle: Bundle, target: str, precisions: tuple[str, ...]) -> Variant:
    """Return the first variant in this file format of one of these precisions.

    Raises:
        NothingToRunError: the bundle holds none.
    """
    forms = bundle.manifest.variants.values()
    for precision in precisions:
        for form in forms:
            if (form.target, form.precision) == (target, precision):
                return form
    raise NothingToRunError(
        f"{bundle.name} holds no {' or '.join(precisions)} {target} network; export one and name "
        "its folder (--classify, --segment)"
    )


def tensor_of(
    manifest: Contract, variant: Variant, pixels: NDArray[np.uint8], careless: bool
) -> NDArray[Any]:
    """Return the network's input, made step by step in floats and quantised in the end."""
    ops = parse_ops(manifest.preprocess)
    image = pixels
    for op in ops[:-1]:
        image = _step(op, image, careless)
    last, x = ops[-1], image.astype(np.float32)
    if isinstance(last, Normalize):
        mean, std = (np.array(numbers, np.float32) for numbers in (last.mean, last.std))
        x = (x - mean) / std
    elif isinstance(last, Standardize):
        x = (x - x.mean()) / max(float(x.std()), last.floor)
    x = x.reshape(*image.shape[:2], -1)
    _, height, width, _ = variant.input.shape
    top, left = (height - x.shape[0]) // 2, (width - x.shape[1]) // 2
    x = np.pad(x, ((top, height - x.shape[0] - top), (left, width - x.shape[1] - left), (0, 0)))
    spec = variant.input
    if spec.dtype != "float32":
        limits = np.iinfo(spec.numpy_dtype)
        steps = np.floor(x / spec.scale + 0.5002)  # half way up, as the networks were exported
        x = np.clip(steps + spec.zero_point, limits.min, limits.max)
    return x[None].astype(spec.numpy_dtype)


def _step(op: Op, image: NDArray[np.uint8], careless: bool) -> NDArray[np.uint8]:
    """Return what the usual OpenCV call for an operation makes of an RGB or grey image."""
    if isinstance(op, Gray):
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
    if isinstance(op, Resize):
        return _shrunk(image, (op.width, op.height), careless)
    if isinstance(op, Letterbox):
        scale = min(op.width / image.shape[1], op.height / image.shape[0])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        return _shrunk(image, size, careless)
    if isinstance(op, Clahe) and image.ndim == 2:
        tiles = (op.tiles, op.tiles)
        return cv2.createCLAHE(op.clip_limit, tiles).apply(image)  # type: ignore[return-value]
    if isinstance(op, Equalize) and image.ndim == 2:
        return cv2.equalizeHist(image)  # type: ignore[return-value]
    if op.op == "rgb":
        return image
    raise PeerRefusedError(f"the script has no {op.op} for colour images")


def _shrunk(image: NDArray[np.uint8], size: tuple[int, int], careless: bool) -> NDArray[np.uint8]:
    while not careless and image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.resize(image, size)  # type: ignore[return-value]


def label_of(manifest: Contract, variant: Variant, stored: NDArray[Any]) -> int:
    """Return the most probable class, or the bits of the independent labels that hold."""
    logits = variant.outputs["logits"].tensor.dequantize(stored)[0] / manifest.decision.temperature
    if manifest.task == "multilabel":
        least = manifest.decision.label_thresholds or (0.5,) * len(logits)
        holds = 1 / (1 + np.exp(-logits)) >= np.array(least, np.float32)
        return sum(1 << k for k, yes in enumerate(holds) if yes)
    powers = np.exp(logits - logits.max())
    return int(np.argmax(powers / powers.sum()))


def mask_of(
    manifest: Contract, variant: Variant, outputs: Mapping[str, NDArray[Any]]
) -> NDArray[np.uint8]:
    """Return the mask, and find the regions of each class as a script would, for their boxes."""
    role = "classes" if "classes" in outputs else "mask"
    logits = variant.outputs[role].tensor.dequantize(outputs[role])[0]
    if role == "classes":
        mask = np.asarray(np.argmax(logits, axis=-1), np.uint8)
    else:
        probability = 1 / (1 + np.exp(-logits[:, :, 0]))
        mask = np.asarray(probability > manifest.decision.mask_threshold, np.uint8)
    for value, label in enumerate(manifest.labels, 1):
        wanted = manifest.decision.feature_labels
        if not wanted or label.name in wanted:
            cv2.connectedComponentsWithStats((mask == value).astype(np.uint8))
    return mask
