"""Running a list of operations on an image, into one network input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.errors import ConfigError, ManifestError
from rille.preprocess.exact import clahe
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
        exact: whether every processor is to give the same bits, at some cost in time.

    Raises:
        ManifestError: the operations make another shape than the tensor has.
    """

    def __init__(self, ops: Sequence[Op], tensor: TensorSpec, *, exact: bool = False) -> None:
        self.ops = tuple(ops)
        self._exact = exact
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
        self._views = Views(exact=exact)
        self._middle = self.ops[1:-1]
        self._geometry = self._fit.geometry(1, 1)
        self._target = self._content(self._geometry)
        # Where only the shift follows, the resized picture is made where it is to be.
        in_place = self._flips and isinstance(self._middle[-1], Resize)
        self._sized: NDArray[np.uint8] | None = self._target.view(np.uint8) if in_place else None

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
        image, geometry = self.fit(pixels)
        return self.finish(image, geometry), geometry

    def fit(self, pixels: NDArray[np.uint8] | Views) -> tuple[NDArray[np.uint8], Geometry]:
        """Run every operation but the last: still 8-bit pixels, at the network's scale.

        Training augments between `fit` and `finish`. The image holds the content alone, without
        letterbox margins; it may be a buffer that the next call overwrites, and that `finish`
        uses up.
        """
        views = pixels if isinstance(pixels, Views) else self._views.show(pixels)
        _check(views.pixels)
        # A grey image is repeated to three channels after the resize: a third of the work.
        late_colour = views.pixels.ndim == 2 and self._repeats_late
        channels = 1 if late_colour else self._channels
        geometry = self._geometry
        height, width = views.pixels.shape[:2]
        if (geometry.source_width, geometry.source_height) != (width, height):
            geometry = self._geometry = self._fit.geometry(width, height)
        image = None
        for op in self._middle:
            if isinstance(op, Resize | Letterbox):
                image = self._resized(views, channels, geometry, image)
            elif isinstance(op, Equalize | Clahe):
                image = evened(op, views.at(channels, 0) if image is None else image, self._exact)
        assert image is not None  # one operation resizes
        return coloured(image, self._channels) if late_colour else image, geometry

    def finish(self, image: NDArray[np.uint8], geometry: Geometry) -> NDArray[Any]:
        """Run the last operation and quantise: 8-bit content to the network's input tensor."""
        table = self._fixed_table
        if table is None:
            table = self.spec.quantize(self._last.table(image))
        if geometry is not self._filled and geometry != self._filled:
            if isinstance(self._fit, Letterbox):
                self._tensor.fill(self.spec.zero)
            self._target = self._content(geometry)
            self._filled = geometry
        target = self._target
        if self._flips:
            np.bitwise_xor(image, 128, out=target.view(np.uint8))
        else:
            cv2.LUT(image, table.reshape(1, 256, -1), dst=target)
        return self._tensor

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
    ) -> NDArray[np.uint8]:
        """Stretch to the geometry's size into a buffer, without aliasing.

        Bilinear sampling is right down to half size. Images larger than that are halved first.

        Args:
            views: the picture.
            channels: how many of it.
            geometry: says the size.
            changed: the picture, where an operation came before.
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
        shape = (size[1], size[0], *image.shape[2:])
        if self._sized is None or self._sized.shape != shape:
            self._sized = np.empty(shape, np.uint8)
        sampling = cv2.INTER_LINEAR_EXACT if self._exact else cv2.INTER_LINEAR
        cv2.resize(image, size, dst=self._sized, interpolation=sampling)
        return self._sized


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


def evened(
    op: Equalize | Clahe, image: NDArray[np.uint8], exact: bool = False
) -> NDArray[np.uint8]:
    """Run one of the operations that even out the luma alone; training does between two others.

    Args:
        op: the operation.
        image: (H, W, 3) RGB or (H, W) grey, uint8.
        exact: whether every processor is to give the same bits; see `rille.preprocess.exact`.
    """
    if isinstance(op, Equalize):
        return _on_luma(image, cv2.equalizeHist)
    if exact:
        return _on_luma(image, lambda luma: clahe(luma, op.clip_limit, op.tiles))
    return _on_luma(image, cv2.createCLAHE(op.clip_limit, (op.tiles, op.tiles)).apply)


def _on_luma(image: NDArray[np.uint8], change: Any) -> NDArray[np.uint8]:
    """Apply a one-channel operation to a grey image, or to the luma of a colour one."""
    if image.ndim == 2:
        return change(image)  # type: ignore[no-any-return]
    parts = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    parts[:, :, 0] = change(np.ascontiguousarray(parts[:, :, 0]))
    return cv2.cvtColor(parts, cv2.COLOR_YCrCb2RGB)  # type: ignore[return-value]
