"""Running a list of operations on an image, into one network input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille import kernels
from rille.errors import ConfigError, ManifestError
from rille.preprocess.ops import (
    Clahe,
    Equalize,
    Geometry,
    Gray,
    Letterbox,
    Normalize,
    Op,
    Resize,
    Rgb,
    Standardize,
)
from rille.preprocess.views import Views, coloured
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SHIFT = (np.arange(256) - 128).astype(np.int8)[:, None]


class Preprocessor:
    """Runs a list of operations and writes the result as one network input.

    The returned tensor is a buffer that the next call overwrites: copy it to keep it. Use one
    `Preprocessor` per network and thread.

    Args:
        ops: the operations, as `parse_ops` returns them.
        tensor: the network's input; its shape must agree with the operations.

    Raises:
        ManifestError: the operations make another shape than the tensor has.
    """

    def __init__(self, ops: Sequence[Op], tensor: TensorSpec) -> None:
        self.ops = tuple(ops)
        self.spec = tensor
        self._fit = next(op for op in ops if isinstance(op, Resize | Letterbox))
        colour = ops[0]
        assert isinstance(colour, Gray | Rgb)
        made = (1, self._fit.height, self._fit.width, colour.channels)
        if tensor.shape != made:
            raise ManifestError(
                f"preprocessing makes a tensor of shape {list(made)}, "
                f"the network takes {list(tensor.shape)}"
            )
        last = ops[-1]
        assert isinstance(last, Normalize | Standardize)
        if isinstance(last, Normalize) and {len(last.mean), len(last.std)} - {1, colour.channels}:
            raise ManifestError(
                f"preprocess normalize: mean and std need 1 or {colour.channels} numbers"
            )
        self._last = last
        self._fixed_table = (
            tensor.quantize(last.table(np.zeros(0, np.uint8)))
            if isinstance(last, Normalize)
            else None
        )
        self._channels = colour.channels
        # Luma operations treat a repeated grey and a grey image differently in the last bit.
        self._repeats_late = colour.channels == 3 and len(ops) == 3
        self._tensor = np.full(made, tensor.zero, tensor.numpy_dtype)
        self._filled: Geometry | None = None
        # A shift by 128 steps, which networks of pixels usually take, is one bit: no table needed.
        self._flips = self._fixed_table is not None and np.array_equal(
            self._fixed_table, np.broadcast_to(_SHIFT, self._fixed_table.shape)
        )
        self._views = Views()
        self._middle = self.ops[1:-1]
        self._geometry = self._fit.geometry(1, 1)
        self._target = self._content(self._geometry)
        # Results of resizing and of evening out that do not go straight into the tensor.
        self._sized: NDArray[np.uint8] | None = None
        self._even: NDArray[np.uint8] | None = None

    def __call__(self, pixels: NDArray[np.uint8] | Views) -> tuple[NDArray[Any], Geometry]:
        """Turn an image into the network's input tensor.

        Args:
            pixels: (H, W, 3) RGB or (H, W) grey, uint8; or views of it that several networks
                share.

        Returns:
            The (1, h, w, c) tensor in the network's dtype, and where its pixels lie.

        Raises:
            ConfigError: not an 8-bit image of one or three channels.
        """
        views = self._shown(pixels)
        if not self._flips or self._colours_late(views):
            image, geometry = self._fitted(views)
            return self.finish(image, geometry), geometry
        # Where only the shift follows, the last operation writes its result shifted where it goes.
        geometry = self._placed(views)
        self._settle(geometry)
        self._worked(views, self._channels, geometry, self._target.view(np.uint8))
        return self._tensor, geometry

    def fit(self, pixels: NDArray[np.uint8] | Views) -> tuple[NDArray[np.uint8], Geometry]:
        """Run every operation but the last: still 8-bit pixels, at the network's scale.

        Training augments between `fit` and `finish`. The image holds the content alone, without
        letterbox margins; it may be a buffer that the next call overwrites.
        """
        return self._fitted(self._shown(pixels))

    def finish(self, image: NDArray[np.uint8], geometry: Geometry) -> NDArray[Any]:
        """Run the last operation and quantise: 8-bit content to the network's input tensor."""
        table = self._fixed_table
        if table is None:
            table = self.spec.quantize(self._last.table(image))
        self._settle(geometry)
        if self._flips:
            np.bitwise_xor(image, 128, out=self._target.view(np.uint8))
        else:
            cv2.LUT(image, table.reshape(1, 256, -1), dst=self._target)
        return self._tensor

    def _shown(self, pixels: NDArray[np.uint8] | Views) -> Views:
        views = pixels if isinstance(pixels, Views) else self._views.show(pixels)
        _check(views.pixels)
        return views

    def _colours_late(self, views: Views) -> bool:
        """Say whether a grey image is repeated to three channels after all: a third of the work."""
        return views.pixels.ndim == 2 and self._repeats_late

    def _placed(self, views: Views) -> Geometry:
        """Return where a picture's pixels lie; the same object as long as its size is the same."""
        height, width = views.pixels.shape[:2]
        if (self._geometry.source_width, self._geometry.source_height) != (width, height):
            self._geometry = self._fit.geometry(width, height)
        return self._geometry

    def _settle(self, geometry: Geometry) -> None:
        """Have the margins of the tensor empty, and `_target` where its content goes."""
        if geometry is self._filled or geometry == self._filled:
            return
        if isinstance(self._fit, Letterbox):
            self._tensor.fill(self.spec.zero)
        self._target = self._content(geometry)
        self._filled = geometry

    def _fitted(self, views: Views) -> tuple[NDArray[np.uint8], Geometry]:
        late, geometry = self._colours_late(views), self._placed(views)
        image = self._worked(views, 1 if late else self._channels, geometry, None)
        return coloured(image, self._channels) if late else image, geometry

    def _worked(
        self, views: Views, channels: int, geometry: Geometry, into: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """Run the operations between the first and the last.

        Args:
            views: the picture.
            channels: how many of it.
            geometry: says the size.
            into: where the result goes, with each byte's highest bit flipped; None for somewhere,
                as it is.
        """
        image: NDArray[np.uint8] | None = None
        for op in self._middle:
            out = into if op is self._middle[-1] else None
            if isinstance(op, Resize | Letterbox):
                image = self._resized(views, channels, geometry, image, out)
            elif isinstance(op, Equalize | Clahe):
                image = self._evened(op, views.at(channels, 0) if image is None else image, out)
        assert image is not None  # one operation resizes
        if into is not None and image is not into:
            np.bitwise_xor(image, 128, out=into)
        return image

    def _content(self, geometry: Geometry) -> NDArray[Any]:
        """Return the part of the tensor that shows the picture."""
        rows = slice(geometry.top, geometry.top + geometry.height)
        columns = slice(geometry.left, geometry.left + geometry.width)
        content = self._tensor[0, rows, columns]
        return content[:, :, 0] if self._channels == 1 else content

    def _resized(
        self,
        views: Views,
        channels: int,
        geometry: Geometry,
        changed: NDArray[np.uint8] | None,
        out: NDArray[np.uint8] | None,
    ) -> NDArray[np.uint8]:
        """Stretch to the geometry's size without aliasing.

        Bilinear sampling is right down to half size. Images larger than that are halved first.

        Args:
            views: the picture.
            channels: how many of it.
            geometry: says the size.
            changed: the picture, where an operation came before.
            out: where it goes, flipped; None for a buffer.
        """
        if changed is not None:
            views, channels = self._views.show(changed), 1 if changed.ndim == 2 else 3
        size = (geometry.width, geometry.height)
        height, width = views.pixels.shape[:2]
        halvings = 0
        while width >> halvings >= 2 * size[0] and height >> halvings >= 2 * size[1]:
            halvings += 1
        image = views.at(channels, halvings)
        if image.shape[1::-1] == size:
            return image
        if out is not None:
            return kernels.resize(image, out, flip=True)
        shape = (size[1], size[0], *image.shape[2:])
        if self._sized is None or self._sized.shape != shape:
            self._sized = np.empty(shape, np.uint8)
        return kernels.resize(image, self._sized)

    def _evened(
        self, op: Equalize | Clahe, image: NDArray[np.uint8], out: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """Even out the luma; `out` as in `_resized`."""
        if isinstance(op, Equalize) or image.ndim == 3:
            return evened(op, image)
        if out is not None:
            return kernels.clahe(image, op.clip_limit, op.tiles, out, flip=True)
        if self._even is None or self._even.shape != image.shape:
            self._even = np.empty(image.shape, np.uint8)
        return kernels.clahe(image, op.clip_limit, op.tiles, self._even)


def normalized(last: Normalize | Standardize, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a last operation alone, to float32, on 8-bit content of any size.

    Training uses it on windows cut from what `Preprocessor.fit` returns.

    Args:
        last: the operation.
        image: (H, W) or (H, W, C) uint8.

    Returns:
        (H, W, C) float32, C being 1 for a grey image.
    """
    numbers = cv2.LUT(image, last.table(image).reshape(1, 256, -1))
    return numbers.reshape(*image.shape[:2], -1)  # type: ignore[return-value]


def _check(pixels: NDArray[np.uint8]) -> None:
    grey = pixels.ndim == 2
    if pixels.dtype != np.uint8 or not (grey or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ConfigError(
            f"image of shape {list(pixels.shape)}, {pixels.dtype}: "
            "needed is (H, W, 3) or (H, W) of uint8"
        )
    if pixels.size == 0:
        raise ConfigError(f"image of shape {list(pixels.shape)} holds no pixel")


def evened(op: Equalize | Clahe, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Run one of the operations that even out the luma alone; training does between two others.

    Args:
        op: the operation.
        image: (H, W, 3) RGB or (H, W) grey, uint8.
    """
    if isinstance(op, Equalize):
        return _on_luma(image, cv2.equalizeHist)
    return _on_luma(image, lambda luma: kernels.clahe(luma, op.clip_limit, op.tiles))


def _on_luma(image: NDArray[np.uint8], change: Any) -> NDArray[np.uint8]:
    """Apply a one-channel operation to a grey image, or to the luma of a colour one."""
    if image.ndim == 2:
        return change(image)  # type: ignore[no-any-return]
    parts = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    parts[:, :, 0] = change(np.ascontiguousarray(parts[:, :, 0]))
    return cv2.cvtColor(parts, cv2.COLOR_YCrCb2RGB)  # type: ignore[return-value]
