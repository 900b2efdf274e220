"""Where a classifier looked (Grad-CAM), and what the layers of any network make of an image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import keras
import numpy as np

from rille.bundle.manifest import Contract
from rille.errors import ConfigError, nearest
from rille.postprocess.classification import softmax
from rille.preprocess import Geometry, Preprocessor
from rille.schema import build
from rille.tensor import TensorSpec
from rille_train.gradients import gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHEET_MAPS, _SHEET_COLUMNS, _SHEET_CELL_PX = 64, 8, 120


@dataclass(frozen=True, slots=True)
class Explanation:
    """What Grad-CAM says about one image.

    Attributes:
        heat: (H, W) float32 on the image's own pixels, 0 to 1; 1 where the class gained most, all
            0 where nothing spoke for it.
        label: the class that was asked about.
        probability: the network's calibrated probability of it.
        answer: the class the network answered.
    """

    heat: NDArray[np.float32]
    label: str
    probability: float
    answer: str


def load_run(run: Path) -> tuple[Any, Contract]:
    """Return the float network of a finished run and its contract.

    Raises:
        ConfigError: the folder is not that of a finished run.
    """
    weights, record = run / "model.keras", run / "contract.json"
    if not weights.is_file() or not record.is_file():
        raise ConfigError(
            f"{run}: not a finished training run (needs model.keras and contract.json); finish it "
            "with: rille train"
        )
    try:
        table = json.loads(record.read_text(encoding="utf-8"))["contract"]
        model = keras.saving.load_model(weights, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise ConfigError(f"{run}: cannot be read ({wrong})") from None
    return model, build(Contract, table, str(record), ConfigError)


class GradCam:
    """Gradient-weighted class activation mapping (Selvaraju et al. 2017, section 3).

    Each map A_k of a layer is weighted by the mean over its cells of d(logit of the class)/dA_k;
    the sum of the weighted maps, its negative part cut off, is the heat.

    Args:
        model: a Keras model from one image to {"logits": (1, classes)}.
        contract: its preprocessing, labels and temperature.
        layer: name of the layer to look at; empty for the last one with maps. Finer layers give
            finer heat that means less.

    Raises:
        ConfigError: no classifier, no such layer, one without maps, or one that other paths go
            around.
    """

    def __init__(self, model: Any, contract: Contract, layer: str = "") -> None:
        if contract.task != "classification" or "logits" not in model.output:
            raise ConfigError(
                f"{contract.name}: Grad-CAM explains classifiers, this one does {contract.task}; "
                "--features works for every network"
            )
        self.contract = contract
        self.layer = layer or map_layers(model)[-1]
        inner = _maps_of(model, self.layer)
        self._maps = keras.Model(model.input, inner)
        try:
            self._tail = keras.Model(inner, model.output["logits"])
        except ValueError:
            raise ConfigError(
                f"layer {self.layer}: other paths go around it; take one that ends a block"
            ) from None
        self._preprocessor = _preprocessor(model, contract)

    def __call__(self, image: NDArray[np.uint8], label: str = "") -> Explanation:
        """Explain one image.

        Args:
            image: (H, W, 3) RGB or (H, W) grey, uint8.
            label: name of the class to ask about; empty for the network's answer.

        Raises:
            ConfigError: the network has no class of that name.
        """
        names = [entry.name for entry in self.contract.labels]
        if label and label not in names:
            raise ConfigError(f"{label!r}: the network has no such class{nearest(label, names)}")
        tensor, geometry = self._preprocessor(image)
        maps = np.asarray(self._maps.predict_on_batch(tensor), np.float32)
        logits = np.asarray(self._tail.predict_on_batch(maps), np.float32)[0]
        index = names.index(label) if label else int(logits.argmax())
        slope = gradient(lambda a: self._tail(a, training=False)[0, index], maps)
        heat = np.maximum(maps[0] @ slope[0].mean(axis=(0, 1)), 0.0)
        heat = _on_image(heat, geometry, tensor.shape[2], tensor.shape[1])
        top = float(heat.max())
        probability = softmax(logits, self.contract.decision.temperature)[index]
        return Explanation(
            heat=heat / top if top > 0 else heat,
            label=names[index],
            probability=float(probability),
            answer=names[int(logits.argmax())],
        )


def map_layers(model: Any) -> list[str]:
    """Return the activations worth a look: the last at each resolution, in the network's order."""
    chosen: list[str] = []
    size = None
    for layer in model.layers:
        if not isinstance(layer, keras.layers.ReLU | keras.layers.Activation):
            continue
        shape = layer.output.shape
        if len(shape) != 4:
            continue
        if shape[1:3] == size:
            chosen.pop()
        size = shape[1:3]
        chosen.append(layer.name)
    return chosen


def feature_maps(
    model: Any, contract: Contract, image: NDArray[np.uint8], layers: Sequence[str] = ()
) -> dict[str, NDArray[np.float32]]:
    """Return what layers answer to an image.

    Args:
        model: a Keras model from one image.
        contract: its preprocessing.
        image: (H, W, 3) RGB or (H, W) grey, uint8.
        layers: names of layers with (1, h, w, c) outputs; none for `map_layers`.

    Returns:
        Layer name -> (h, w, c) float32.

    Raises:
        ConfigError: no such layer, or one without maps.
    """
    names = list(layers) or map_layers(model)
    outputs = {name: _maps_of(model, name) for name in names}
    tensor, _ = _preprocessor(model, contract)(image)
    found = keras.Model(model.input, outputs).predict_on_batch(tensor)
    return {name: np.asarray(maps, np.float32)[0] for name, maps in found.items()}


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return image and heat side by side: (H, 2 * W, 3) uint8 RGB.

    Args:
        image: (H, W, 3) RGB or (H, W) grey, uint8.
        heat: (H, W) float32, 0 to 1; the hotter, the less of the image shows through.
    """
    colour = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
    hot = cv2.applyColorMap(np.round(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = 0.25 + 0.45 * heat[:, :, None]
    mixed = (1 - share) * colour + share * hot[:, :, ::-1]
    return np.concatenate([colour, np.round(mixed).astype(np.uint8)], axis=1)


def contact_sheet(maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the liveliest maps of a layer as one picture.

    Up to 64 maps, those of the largest standard deviation, in the layer's order; each is stretched
    from its least to its greatest value.

    Args:
        maps: (h, w, c) float32.

    Returns:
        (rows, columns, 3) uint8 RGB.
    """
    liveliest = np.argsort(-maps.std(axis=(0, 1)), kind="stable")[:_SHEET_MAPS]
    cells = [_cell(maps[:, :, k]) for k in np.sort(liveliest)]
    height, width = cells[0].shape[:2]
    columns = min(_SHEET_COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    sheet = np.full((rows * (height + 2), columns * (width + 2), 3), 24, np.uint8)
    for k, cell in enumerate(cells):
        top, left = k // columns * (height + 2), k % columns * (width + 2)
        sheet[top : top + height, left : left + width] = cell
    return sheet


def _cell(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, span = float(values.min()), float(np.ptp(values))
    gray = np.round((values - low) * (255 / span if span > 0 else 0.0)).astype(np.uint8)
    scale = _SHEET_CELL_PX / max(gray.shape)
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    large = cv2.resize(gray, size, interpolation=cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA)
    return np.asarray(cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS)[:, :, ::-1], np.uint8)


def _preprocessor(model: Any, contract: Contract) -> Preprocessor:
    return Preprocessor(contract.ops, TensorSpec(shape=(1, *model.input_shape[1:])))


def _maps_of(model: Any, name: str) -> Any:
    """Return the (None, h, w, c) output of a layer."""
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise ConfigError(f"layer {name}: the network has none of that name{nearest(name, names)}")
    output = model.get_layer(name).output
    if len(output.shape) != 4:
        raise ConfigError(f"layer {name}: gives numbers of shape {output.shape[1:]}, not maps")
    return output


def _on_image(
    heat: NDArray[np.float32], geometry: Geometry, width: int, height: int
) -> NDArray[np.float32]:
    """Carry a map from a layer's grid over the network's pixels to those of the image."""
    g = geometry
    full = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    inner = full[g.top : g.top + g.height, g.left : g.left + g.width]
    size = (g.source_width, g.source_height)
    return np.asarray(cv2.resize(inner, size, interpolation=cv2.INTER_LINEAR), np.float32)
