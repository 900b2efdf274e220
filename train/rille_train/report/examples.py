"""A few validation images with answer and truth, kept in the run folder for its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.datasets import BoxSample, Dataset, ImageSample
from rille.ellipse import Ellipse
from rille.errors import ConfigError
from rille.evaluate import Evaluation
from rille.files import write_whole
from rille.images import read_image
from rille.network import Network
from rille.postprocess.classification import softmax
from rille.result import Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

LISTING = "captions.json"
_MISTAKES, _RIGHT, _TILES = 8, 4, 2
_PHOTO_PX, _TILE_PX = 320, 560
_TRUTH, _FOUND = (90, 190, 255), (255, 196, 60)


@dataclass(frozen=True, slots=True)
class Example:
    """One picture.

    Attributes:
        file: name of the JPEG file.
        caption: what it shows.
        good: whether the answer is right; None where that is no yes or no.
    """

    file: str
    caption: str
    good: bool | None


def write_examples(
    folder: Path, network: Network, dataset: Dataset, split: str, result: Evaluation
) -> None:
    """Write pictures and a listing of them: the surest mistakes, or masks from worst to best.

    Args:
        folder: where; made if needed.
        network: what gave the result.
        dataset: what was scored.
        split: the split that was scored.
        result: its scores. Tasks without a picture to show leave no folder.

    Raises:
        SinkError: a file cannot be written.
    """
    samples = dataset.samples(split)
    pictures: list[tuple[NDArray[np.uint8], str, bool | None]]
    if all(isinstance(s, ImageSample) for s in samples) and result.logits is not None:
        names = {label.id: label.name for label in dataset.labels}
        made = _photographs([s for s in samples if isinstance(s, ImageSample)], network, result)
        pictures = [(p, f"{names.get(i, i)}, {words}", good) for p, i, words, good in made]
    elif all(isinstance(s, BoxSample) for s in samples):
        pictures = _tiles([s for s in samples if isinstance(s, BoxSample)], network, result)
    else:
        return
    folder.mkdir(parents=True, exist_ok=True)
    listing = []
    for k, (picture, caption, good) in enumerate(pictures):
        name = f"{k:02d}.jpg"
        write_whole(folder / name, _jpeg(picture))
        listing.append(asdict(Example(name, caption, good)))
    write_whole(folder / LISTING, json.dumps(listing, indent=1) + "\n")


def read_examples(folder: Path) -> list[tuple[Example, bytes]]:
    """Return the pictures of a run with their JPEG bytes; none where none were kept.

    Raises:
        ConfigError: the listing is damaged, or a picture is missing.
    """
    path = folder / LISTING
    if not path.is_file():
        return []
    try:
        examples = [Example(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
        return [(e, (folder / Path(e.file).name).read_bytes()) for e in examples]
    except (OSError, ValueError, TypeError) as wrong:
        raise ConfigError(
            f"{path}: not a complete set of examples ({wrong}); remove the folder to do without"
        ) from None


def _photographs(
    samples: Sequence[ImageSample], network: Network, result: Evaluation
) -> list[tuple[NDArray[np.uint8], int, str, bool]]:
    """Return (picture, label id, words about the answer, whether right)."""
    contract = network.contract
    probabilities = softmax(result.logits, contract.decision.temperature)
    top, answer = probabilities.max(1), probabilities.argmax(1)
    right = answer == result.truth
    wrong = sorted(np.flatnonzero(~right).tolist(), key=lambda k: -float(top[k]))
    # One image of a burst shows what the others would.
    by_group = {samples[k].group: k for k in reversed(wrong)}
    surest = sorted(by_group.values(), key=lambda k: -float(top[k]))[:_MISTAKES]
    good = np.flatnonzero(right)
    spread = good[np.linspace(0, len(good) - 1, min(_RIGHT, len(good))).astype(int)].tolist()
    made = []
    for k in [*surest, *spread]:
        words = f"answered {contract.labels[answer[k]].name}, p {top[k]:.2f}"
        picture = _fitted(read_image(samples[k].path), _PHOTO_PX)
        made.append((picture, samples[k].label_id, words, bool(right[k])))
    return made


def _tiles(
    samples: Sequence[BoxSample], network: Network, result: Evaluation
) -> list[tuple[NDArray[np.uint8], str, bool | None]]:
    """Return the images of least, middle and highest Dice with labels and answers drawn in."""
    dice = result.detail["by_image"]["dice"]
    order = sorted(range(len(dice)), key=lambda k: dice[k])
    middle = max(0, (len(order) - _TILES) // 2)
    chosen = [*order[:_TILES], *order[middle : middle + _TILES], *order[-_TILES:]]
    made: list[tuple[NDArray[np.uint8], str, bool | None]] = []
    for k in dict.fromkeys(chosen):
        image = read_image(samples[k].path)
        answer, _ = network.run(image)
        assert isinstance(answer, Segmentation)
        picture = _fitted(image, _TILE_PX)
        scale = picture.shape[1] / image.shape[1]
        _outline(picture, samples[k].ellipses(image.shape[1], image.shape[0]), scale, _TRUTH)
        _outline(picture, [f.ellipse for f in answer.features], scale, _FOUND)
        made.append((picture, f"{samples[k].path.stem}: Dice {dice[k]:.3f}", None))
    return made


def _outline(
    picture: NDArray[np.uint8], ellipses: Sequence[Ellipse], scale: float, colour: Any
) -> None:
    for ellipse in ellipses:
        e = ellipse.mapped(scale, scale, 0.5 * scale - 0.5, 0.5 * scale - 0.5)
        points = np.round(e.polygon() * 8).astype(np.int32)
        cv2.polylines(picture, [points], True, colour, 1, cv2.LINE_AA, shift=3)


def _fitted(image: NDArray[np.uint8], longest_px: int) -> NDArray[np.uint8]:
    """Return an RGB copy whose longer side is `longest_px`."""
    scale = longest_px / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(image, size, interpolation=how)
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    return np.asarray(picture, np.uint8)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])
    assert done
    return data.tobytes()
