"""Choosing golden inputs: rendered images on which the network is least sure.

What spoils a network in flight, a flipped bit above all, first shows where little separates one
answer from another, so images are chosen for the smallest margin. They are rendered, so that nobody
can hold rights in them, and as large as the network's input, so that they are small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.bundle.manifest import Contract, Variant
from rille.network import Network
from rille.sim import Descent, Scenario, build_scene, open_simulator
from rille_export.forms import Form

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_IMAGES = 6
_MOST_BYTES = 1_000_000
"""Of all images and their answers; one image there is in any case."""
_DESCENT = range(0, 100, 8)
_DRIVE = range(8)


def golden_files(
    contract: Contract, forms: Mapping[str, Form], judge: str
) -> tuple[dict[str, bytes], dict[str, Variant]]:
    """Choose golden images and note what each network answers to them.

    Args:
        contract: what the bundle is for, its decision fitted.
        forms: the networks by name.
        judge: the one whose margins choose.

    Returns:
        The files, images first and in the order of the answers; and the variants, with their
        golden outputs named. Images are the files that end in ".png".
    """
    networks = {key: form.network(contract) for key, form in forms.items()}
    _, height, width, _ = forms[judge].variant.input.shape
    ranked = sorted(
        (
            (margin(networks[judge], _infer(networks[judge], pixels)), index, pixels)
            for index, pixels in enumerate(_candidates(width, height))
        ),
        key=lambda item: item[:2],
    )
    pictures = [_png(pixels) for _, _, pixels in ranked[:_MOST_IMAGES]]
    each = _answer_bytes(forms) + max(map(len, pictures))
    count = int(np.clip(_MOST_BYTES // each, 1, len(pictures)))
    files = {f"golden.{k}.png": picture for k, picture in enumerate(pictures[:count])}
    variants = {}
    for key, network in networks.items():
        said = answers(network, [pixels for _, _, pixels in ranked[:count]])
        golden = {role: f"golden.{key}.{role}.bin" for role in said}
        files |= {golden[role]: content for role, content in said.items()}
        variants[key] = replace(forms[key].variant, golden=golden)
    return files, variants


def answers(network: Network, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, bytes]:
    """Return role -> what a network answers to some pictures, as a golden file holds it."""
    said = [_infer(network, pixels) for pixels in pictures]
    return {
        role: b"".join(np.ascontiguousarray(one[role]).tobytes() for one in said)
        for role in (said[0] if said else {})
    }


def margin(network: Network, outputs: Mapping[str, NDArray[Any]]) -> float:
    """Return how far a network is from another answer.

    Args:
        network: its contract gives task, temperature and thresholds.
        outputs: role -> stored numbers.

    Returns:
        In logits: of a classifier, by how much the first class leads; of independent labels, the
        smallest distance to a label's threshold; of masks, the mean over the pixels.
    """
    decision = network.contract.decision
    real = {
        role: network.variant.outputs[role].tensor.dequantize(values)
        for role, values in outputs.items()
    }
    if network.contract.task == "multilabel":
        thresholds = decision.label_thresholds or (0.5,) * real["logits"].shape[-1]
        edges = _logit(thresholds) * decision.temperature
        return float(np.abs(real["logits"][0] - edges).min())
    if network.contract.task == "segmentation" and "classes" not in real:
        return float(np.abs(real["mask"] - _logit([decision.mask_threshold])).mean())
    values = real["classes"] if "classes" in real else real["logits"]
    best = np.sort(values, axis=-1)
    return float((best[..., -1] - best[..., -2]).mean()) if best.shape[-1] > 1 else 0.0


def _logit(probabilities: Sequence[float]) -> NDArray[np.float64]:
    p = np.clip(np.asarray(probabilities, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))


def _candidates(width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Yield rendered images: a descent, and a drive among boulders."""
    descent = Descent(build_scene(11), 11, width, height, 100)
    for k in _DESCENT:
        yield descent.frame(k)[0]
    scenario = Scenario(
        view="rover", terrain="boulder-field", seed=11, width=width, height=height, frames=1000
    )
    drive = open_simulator(scenario)
    for k in _DRIVE:
        yield drive.frame(125 * k)[0]


def _infer(network: Network, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    return network.backend.infer(network.preprocessor(pixels)[0])


def _png(pixels: NDArray[np.uint8]) -> bytes:
    order = pixels if pixels.ndim == 2 else pixels[:, :, ::-1]
    good, picture = cv2.imencode(".png", order, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert good
    return picture.tobytes()


def _answer_bytes(forms: Mapping[str, Form]) -> int:
    """Return the bytes of all answers to one image."""
    return sum(
        int(np.prod(entry.tensor.shape)) * entry.tensor.numpy_dtype.itemsize
        for form in forms.values()
        for entry in form.variant.outputs.values()
    )
