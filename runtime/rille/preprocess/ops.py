"""The operations of preprocessing, as data, and where they put a pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from rille.errors import ManifestError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """Where network pixels lie in the source image.

    Both images use OpenCV's convention: pixel (0, 0) has its centre at (0.0, 0.0).

    Attributes:
        scale_x, scale_y: network pixels per source pixel along each axis.
        left, top: network column and row of the source image's first pixel (letterbox margins).
        width, height: size in network pixels of the part that shows the source image.
        source_width, source_height: size of the source image in pixels.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int
    source_width: int
    source_height: int

    def to_source(self, x: float, y: float) -> tuple[float, float]:
        """Map a point in network pixels to source-image pixels."""
        return (
            (x - self.left + 0.5) / self.scale_x - 0.5,
            (y - self.top + 0.5) / self.scale_y - 0.5,
        )

    def to_network(self, x: float, y: float) -> tuple[float, float]:
        """Map a point in source-image pixels to network pixels."""
        return (
            (x + 0.5) * self.scale_x - 0.5 + self.left,
            (y + 0.5) * self.scale_y - 0.5 + self.top,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Gray:
    """One channel: BT.601 luma of a colour image, a grey one unchanged."""

    op: ClassVar[str] = "gray"
    channels: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Rgb:
    """Three channels, red first: a colour image unchanged, a grey one repeated."""

    op: ClassVar[str] = "rgb"
    channels: ClassVar[int] = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Equalize:
    """Global histogram equalisation of the luma."""

    op: ClassVar[str] = "equalize"


@dataclass(frozen=True, kw_only=True, slots=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation of the luma (Zuiderveld 1994).

    Attributes:
        clip_limit: OpenCV's contrast limit, above 0.
        tiles: tiles along each axis, at least 1.
    """

    op: ClassVar[str] = "clahe"
    clip_limit: float = 2.0
    tiles: int = 8

    def __post_init__(self) -> None:
        if not self.clip_limit > 0 or self.tiles < 1:
            raise ManifestError("preprocess clahe: clip_limit must be above 0, tiles at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resize:
    """Stretch to the network's size; the aspect ratio is not kept.

    Attributes:
        width, height: size in pixels.
    """

    op: ClassVar[str] = "resize"
    width: int
    height: int

    def geometry(self, width: int, height: int) -> Geometry:
        """Return where a `width` x `height` source image lands."""
        return Geometry(
            scale_x=self.width / width,
            scale_y=self.height / height,
            left=0,
            top=0,
            width=self.width,
            height=self.height,
            source_width=width,
            source_height=height,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Letterbox:
    """Fit into the network's size with the aspect ratio kept; margins are 0 for the network.

    Attributes:
        width, height: size in pixels.
    """

    op: ClassVar[str] = "letterbox"
    width: int
    height: int

    def geometry(self, width: int, height: int) -> Geometry:
        """Return where a `width` x `height` source image lands."""
        scale = min(self.width / width, self.height / height)
        inner_w = max(1, min(self.width, round(width * scale)))
        inner_h = max(1, min(self.height, round(height * scale)))
        return Geometry(
            scale_x=inner_w / width,
            scale_y=inner_h / height,
            left=(self.width - inner_w) // 2,
            top=(self.height - inner_h) // 2,
            width=inner_w,
            height=inner_h,
            source_width=width,
            source_height=height,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalize:
    """(pixel - mean) / std with fixed numbers on the 0..255 scale, one each or one a channel."""

    op: ClassVar[str] = "normalize"
    mean: tuple[float, ...] = (127.5,)
    std: tuple[float, ...] = (127.5,)

    def __post_init__(self) -> None:
        if any(not s > 0 for s in self.std):
            raise ManifestError("preprocess normalize: every std must be above 0")

    def table(self, content: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the (256, channels or 1) table of values for pixels 0..255."""
        return ((_PIXELS - self.mean) / self.std).astype(np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standardize:
    """Subtract the image's own mean and divide by its own standard deviation.

    Attributes:
        floor: least standard deviation divided by, in grey levels, so that a featureless image
            is not amplified into noise.
    """

    op: ClassVar[str] = "standardize"
    floor: float = 2.0

    def __post_init__(self) -> None:
        if not self.floor > 0:
            raise ManifestError("preprocess standardize: floor must be above 0")

    def table(self, content: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the (256, channels) table of values for pixels 0..255 of this image."""
        mean, std = cv2.meanStdDev(content)
        return np.asarray((_PIXELS - mean.T) / np.maximum(std.T, self.floor), np.float32)


_PIXELS = np.arange(256, dtype=np.float64)[:, None]

Op = Gray | Rgb | Equalize | Clahe | Resize | Letterbox | Normalize | Standardize
_OPS: dict[str, type[Op]] = {
    kind.op: kind
    for kind in (Gray, Rgb, Equalize, Clahe, Resize, Letterbox, Normalize, Standardize)
}


def parse_ops(entries: Sequence[Mapping[str, Any]]) -> tuple[Op, ...]:
    """Read a manifest's list of operations and check that its order makes sense.

    Raises:
        ManifestError: an unknown operation or parameter, or an order that cannot work.
    """
    ops = tuple(_parse_op(entry) for entry in entries)
    if not ops or not isinstance(ops[0], Gray | Rgb):
        raise ManifestError("preprocess: the first operation must be 'gray' or 'rgb'")
    if not isinstance(ops[-1], Normalize | Standardize):
        raise ManifestError("preprocess: the last operation must be 'normalize' or 'standardize'")
    if sum(isinstance(op, Resize | Letterbox) for op in ops) != 1:
        raise ManifestError("preprocess: exactly one 'resize' or 'letterbox' is needed")
    if any(isinstance(op, Gray | Rgb) for op in ops[1:]) or any(
        isinstance(op, Normalize | Standardize) for op in ops[:-1]
    ):
        raise ManifestError("preprocess: colour comes first and normalisation last, once each")
    return ops


def _parse_op(entry: Mapping[str, Any]) -> Op:
    name = entry.get("op")
    kind = _OPS.get(name) if isinstance(name, str) else None
    if kind is None:
        hint = nearest(str(name), list(_OPS))
        raise ManifestError(f"preprocess: there is no operation {name!r}{hint}")
    known = [field.name for field in fields(kind)]
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "op":
            continue
        if key not in known:
            raise ManifestError(f"preprocess {name}: no parameter {key!r}{nearest(key, known)}")
        values[key] = _checked(f"preprocess {name}: {key}", key, value)
    try:
        return kind(**values)
    except TypeError:
        raise ManifestError(f"preprocess {name}: needs {', '.join(known)}") from None


def _checked(where: str, key: str, value: Any) -> Any:
    """Return a parameter as its field wants it, or refuse it."""
    if key in ("width", "height", "tiles"):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 8192:
            raise ManifestError(f"{where} must be a whole number from 1 to 8192, not {value!r}")
        return value
    numbers = value if isinstance(value, list | tuple) else [value]
    if not numbers or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e9 for n in numbers
    ):
        raise ManifestError(f"{where} must be a number or a list of them, not {value!r}")
    return tuple(float(n) for n in numbers) if key in ("mean", "std") else float(numbers[0])


def ops_to_json(ops: Sequence[Op]) -> list[dict[str, Any]]:
    """Return the manifest form of a list of operations; `parse_ops` reads it back."""
    return [
        {"op": op.op, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(op).items()}}
        for op in ops
    ]
