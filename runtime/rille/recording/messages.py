"""A result as the messages of a recording."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.colours import COLOURS, OTHER
from rille.errors import SinkError
from rille.recording.foxglove import LEVELS, LINE_LOOP, pack, timestamp
from rille.result import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.events import Event
    from rille.result import Feature, Result

_POINTS = 32
_FONT_PX = 12.0
_CAMERA = "camera"


def result_record(result: Result) -> dict[str, Any]:
    """Return what a recording keeps of a result: its JSON form and digests.

    The digests are SHA-256 of what must come out the same when the frame is worked on again:
    `logits` (float32, little-endian), `mask` (its bytes, row by row), `features` (as published,
    rounded), and of the `pixels` that went in. `grid` says where the mask lies in the image.
    """
    record = result.to_json()
    if result.frame is not None and result.frame.vehicle is not None:
        # Not rounded: a frame is turned by it.
        told = asdict(result.frame.vehicle)
        record["vehicle"] = {name: value for name, value in told.items() if value is not None}
    digests: dict[str, str] = {}
    if result.frame is not None and worked_on(result):
        digests["pixels"] = _digest(result.frame.pixels)
    if result.classification is not None:
        digests["logits"] = _digest(result.classification.logits.astype("<f4", copy=False))
    found = result.segmentation
    if found is not None:
        digests["mask"] = _digest(found.mask)
        digests["features"] = hashlib.sha256(
            json.dumps(record["segmentation"]["features"]).encode()
        ).hexdigest()
        geometry = found.geometry
        record["grid"] = {
            "scale_x": geometry.scale_x,
            "scale_y": geometry.scale_y,
            "left": geometry.left,
            "top": geometry.top,
            "cell_x": found.cell_px[0],
            "cell_y": found.cell_px[1],
        }
    record["digests"] = digests
    return record


def worked_on(result: Result) -> bool:
    """Say whether networks saw the frame, or would have, had there been time for any."""
    return result.frame is not None and result.state is not State.DROPPED


def _digest(array: NDArray[Any]) -> str:
    shape = " ".join(map(str, array.shape)).encode()
    return hashlib.sha256(shape + b"\n" + np.ascontiguousarray(array).tobytes()).hexdigest()


def encode_image(pixels: NDArray[np.uint8], jpeg: int | None = None) -> bytes:
    """Encode an image: PNG, which gives every pixel back, or JPEG of the quality `jpeg`.

    Args:
        pixels: (H, W, 3) RGB or (H, W) grey, uint8.
        jpeg: 1 to 100; None for PNG.

    Raises:
        SinkError: the encoder refuses.
    """
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    if jpeg is None:
        # The fastest level: the next ones cost twice the time for a few per cent.
        good, data = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    else:
        good, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, jpeg])
    if not good:
        raise SinkError(f"an image of {pixels.shape[1]} x {pixels.shape[0]} px cannot be encoded")
    return data.tobytes()


def image_message(data: bytes, at_ns: int, kind: str) -> bytes:
    """Return a foxglove.CompressedImage.

    Args:
        data: the encoded image.
        at_ns: when it was taken, since 1970.
        kind: "png" or "jpeg".
    """
    return pack(
        "foxglove.CompressedImage",
        {"timestamp": timestamp(at_ns), "frame_id": _CAMERA, "data": data, "format": kind},
    )


def annotations_message(result: Result, at_ns: int) -> bytes:
    """Return a foxglove.ImageAnnotations: an outline and a label for each feature, the class."""
    stamp = timestamp(at_ns)
    texts = [_label(feature, stamp) for feature in result.features]
    answer = result.classification
    if answer is not None:
        doubt = " (abstained)" if answer.abstained else ""
        doubt += " (unfamiliar)" if answer.out_of_distribution else ""
        words = f"{answer.label} {answer.probability:.2f}{doubt}"
        texts.append(_text(words, 4.0, 4.0 + _FONT_PX, (255, 255, 255), stamp))
    return pack(
        "foxglove.ImageAnnotations",
        {"points": [_outline(feature, stamp) for feature in result.features], "texts": texts},
    )


def _outline(feature: Feature, stamp: dict[str, int]) -> dict[str, Any]:
    return {
        "timestamp": stamp,
        "type": LINE_LOOP,
        "points": [{"x": float(x), "y": float(y)} for x, y in feature.ellipse.polygon(_POINTS)],
        "outline_color": _colour(COLOURS.get(feature.label, OTHER)),
        "thickness": 2.0,
    }


def _label(feature: Feature, stamp: dict[str, int]) -> dict[str, Any]:
    where = feature.ellipse
    colour = COLOURS.get(feature.label, OTHER)
    return _text(f"{feature.label} {feature.score:.2f}", where.x, where.y, colour, stamp)


def _text(
    words: str, x: float, y: float, colour: tuple[int, int, int], stamp: dict[str, int]
) -> dict[str, Any]:
    return {
        "timestamp": stamp,
        "position": {"x": x, "y": y},
        "text": words,
        "font_size": _FONT_PX,
        "text_color": _colour(colour),
        "background_color": _colour((0, 0, 0), 0.5),
    }


def _colour(rgb: tuple[int, int, int], alpha: float = 1.0) -> dict[str, float]:
    return {**{name: part / 255 for name, part in zip("rgb", rgb, strict=True)}, "a": alpha}


def log_message(event: Event, at_ns: int) -> bytes:
    """Return a foxglove.Log."""
    return pack(
        "foxglove.Log",
        {
            "timestamp": timestamp(at_ns),
            "level": LEVELS[event.severity.value],
            "message": event.text,
            "name": event.id,
        },
    )
