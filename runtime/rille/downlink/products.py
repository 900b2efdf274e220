"""What can be sent of one frame: its record, a thumbnail, its mask, crops, the whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.downlink.rle import encode_mask
from rille.recording.messages import encode_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.recording import Recorded

THUMBNAIL_PX = 160
_THUMBNAIL_QUALITY, _CROP_QUALITY, _FULL_QUALITY = 70, 85, 80
_MOST_CROPS = 3
_MOST_FEATURES = 16
_LEAST_CROP_PX = 24
_MOST_CROP_SHARE = 0.25
_AROUND = 1.6
"""A crop shows so many times the feature's half axis on each side of its centre."""
_COLUMNS = ("label", "x_px", "y_px", "semi_major_px", "semi_minor_px", "angle_deg", "score")
_KEPT = ("frame", "name", "state", "captured_ns", "source_ns", "level", "quality", "size_px")


def make(recorded: Recorded, pixels: NDArray[np.uint8]) -> dict[tuple[str, str], bytes]:
    """Return everything that can be sent of a frame.

    Args:
        recorded: the frame, published.
        pixels: its decoded image.

    Returns:
        (kind, label) -> content, the record first; the label names what is in a crop and its
        number, and is empty otherwise.

    Raises:
        FrameDecodeError: its mask is damaged.
    """
    found: dict[tuple[str, str], bytes] = {("record", ""): _record(recorded.record)}
    found["thumbnail", ""] = encode_image(_shrunk(pixels), _THUMBNAIL_QUALITY)
    mask = recorded.mask()
    if mask is not None:
        found["mask", ""] = encode_mask(mask)
    for number, (label, crop) in enumerate(_crops(recorded.record, pixels)):
        found["crop", f"{label} {number}"] = encode_image(crop, _CROP_QUALITY)
    found["full", ""] = encode_image(pixels, _FULL_QUALITY)
    return found


def _record(record: Mapping[str, Any]) -> bytes:
    """Return the answers without digests, timings and clock readings; of features the best."""
    kept = {key: record[key] for key in _KEPT if key in record}
    if record.get("classification"):
        kept["classification"] = record["classification"]
    found = record.get("segmentation")
    if found:
        kept["shares"] = found["shares"]
        kept["features"] = len(found["features"])
        kept["feature_columns"] = list(_COLUMNS)
        kept["best_features"] = [
            [feature[column] for column in _COLUMNS]
            for feature in found["features"][:_MOST_FEATURES]
        ]
    return json.dumps(kept, separators=(",", ":")).encode()


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = THUMBNAIL_PX / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _crops(
    record: Mapping[str, Any], pixels: NDArray[np.uint8]
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Return label and surroundings of the best features that are neither specks nor the scene."""
    height, width = pixels.shape[:2]
    crops: list[tuple[str, NDArray[np.uint8]]] = []
    for feature in (record.get("segmentation") or {}).get("features", ()):
        reach = max(_AROUND * feature["semi_major_px"], _LEAST_CROP_PX / 2)
        x, y = feature["x_px"], feature["y_px"]
        left, right = max(0, int(x - reach)), min(width, int(x + reach) + 1)
        top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 1)
        area = (right - left) * (bottom - top)
        wide_enough = right - left >= 8 and bottom - top >= 8
        if wide_enough and area <= _MOST_CROP_SHARE * height * width:
            crops.append((feature["label"], np.ascontiguousarray(pixels[top:bottom, left:right])))
        if len(crops) == _MOST_CROPS:
            break
    return crops


def file_name(index: int, kind: str, label: str) -> str:
    """Return the path of a product inside the selection."""
    number = label.rpartition(" ")[2] if kind == "crop" else ""
    ending = {"record": "json", "mask": "rle"}.get(kind, "jpg")
    return f"f{index:06d}/{kind}{number}.{ending}"
