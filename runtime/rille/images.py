"""Reading images from untrusted files, bounded in bytes and in pixels.

A 400 kB PNG can decode to more than a gigabyte, so the size in the file's header is read before
any pixel is (`image_size`), and files that claim more than `MAX_PIXELS` are refused.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

MAX_PIXELS = 50_000_000
MAX_BYTES = 256 * 1024 * 1024
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

# OpenCV reads these limits once, when it is first imported: a second line of defence.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402  (after the limit above)
import numpy as np  # noqa: E402

from rille.errors import FrameDecodeError, SourceNotFoundError  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray


def list_images(folder: Path) -> list[Path]:
    """Return the image files directly inside `folder`, sorted by name.

    Raises:
        SourceNotFoundError: no such folder, or it holds no image.
    """
    if not folder.is_dir():
        raise SourceNotFoundError(f"{folder}: no such folder of images")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        kinds = " ".join(sorted(SUFFIXES))
        deeper = next((p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SUFFIXES), None)
        hint = f"; there are some in {deeper.parent}" if deeper else ""
        raise SourceNotFoundError(f"{folder}: holds no image file (looked for {kinds}){hint}")
    return paths


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode one image file to (H, W, 3) uint8 RGB, or (H, W) uint8 if it is stored grey.

    Deeper images (16-bit) are scaled to 8 bits; transparency is dropped.

    Raises:
        SourceNotFoundError: no such file.
        FrameDecodeError: not an image, damaged, or larger than `MAX_PIXELS` or `MAX_BYTES`.
    """
    return decode_image(read_encoded(path), str(path))


def read_encoded(path: Path, limit: int = -1) -> bytes:
    """Return the bytes of an image file as stored, the first `limit` of them if that is given.

    Raises:
        SourceNotFoundError: no such file.
        FrameDecodeError: it cannot be read, or is larger than `MAX_BYTES`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FrameDecodeError(f"{path}: larger than {MAX_BYTES >> 20} MiB, refused")
        with path.open("rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise SourceNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise FrameDecodeError(f"{path}: cannot be read ({error.strerror})") from None


def read_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image file in pixels; it is only decoded where it must be.

    Raises:
        SourceNotFoundError: no such file.
        FrameDecodeError: not an image, or larger than `MAX_BYTES`.
    """
    size = image_size(read_encoded(path, limit=1 << 16))
    if size is None:
        height, width = read_image(path).shape[:2]
        return width, height
    return size


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an encoded image held in memory; see `read_image`.

    Args:
        data: the encoded bytes (JPEG, PNG, BMP, TIFF or WebP).
        name: what to call it in an error.

    Raises:
        FrameDecodeError: not an image, damaged, or larger than `MAX_PIXELS`.
    """
    size = image_size(data)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise FrameDecodeError(
            f"{name}: {size[0]} x {size[1]} pixels is more than the {MAX_PIXELS:,} accepted"
        )
    image = None
    if data:
        try:
            image = cv2.imdecode(
                np.frombuffer(data, np.uint8),
                cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION,
            )
        except cv2.error:
            image = None
    if image is None:
        raise FrameDecodeError(f"{name}: not a complete image (truncated, damaged or another type)")
    if image.dtype == np.uint16:
        image = (image // 256).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise FrameDecodeError(f"{name}: pixels of type {image.dtype} are not supported")
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return image  # type: ignore[return-value]  # OpenCV's stubs lose the dtype


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels from a PNG, JPEG or BMP header, without decoding.

    Returns None for other types and for damaged headers, which the decoder then judges.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = struct.unpack("<ii", data[18:26])
        return abs(width), abs(height)
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk JPEG segments to the first start-of-frame marker (ITU T.81, B.2.2)."""
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
