"""Golden inputs: images whose answers are known, run before a network flies and while it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends import Backend
from rille.bundle import Bundle, Variant
from rille.errors import CheckFailedError, ManifestError
from rille.images import decode_image
from rille.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class _Expected:
    """What one output is to be for every golden image: (images, numbers), and how closely."""

    values: NDArray[Any]
    """As stored, in the bundle's own memory."""
    steps_of: NDArray[np.float64]
    """(images,) what one unit of the manifest's tolerance is, in stored numbers."""


class GoldenTest:
    """The golden images of a bundle, as one of its networks takes them.

    Args:
        bundle: verified.
        variant: the form of the network.
        preprocessor: makes its input.

    Raises:
        ManifestError: a file of golden outputs is not as long as the images and outputs ask for.
        FrameDecodeError: a golden image cannot be decoded.
    """

    def __init__(self, bundle: Bundle, variant: Variant, preprocessor: Preprocessor) -> None:
        manifest = bundle.manifest
        self._where = bundle.where
        self._tolerance = manifest.golden_tolerance
        images = manifest.golden_images if variant.golden else ()
        self._tensors = [
            preprocessor(decode_image(bundle.files[name], name))[0].copy() for name in images
        ]
        self._expected = {
            role: _expected(bundle, variant, role, len(images)) for role in variant.golden
        }

    def __len__(self) -> int:
        return len(self._tensors)

    def check(self, backend: Backend, which: int) -> float:
        """Run one golden image and compare every output number with the stored one.

        Args:
            backend: the engine that holds the network.
            which: number of the image, from 0.

        Returns:
            The largest difference (of an engine with exact kernels, which round in another way,
            the mean one) in units of the manifest's tolerance: steps of an integer
            type, thousandths for float32, or shares of the largest number where the variant says
            so.

        Raises:
            CheckFailedError: the difference is beyond the tolerance.
            InferenceError: the engine failed.
        """
        outputs = backend.infer(self._tensors[which])
        rounds_apart = getattr(backend, "exact", False)
        worst = 0.0
        for role, expected in self._expected.items():
            golden = expected.values[which].astype(np.float64)
            gaps = np.abs(outputs[role].ravel() - golden)
            gap = float(gaps.mean() if rounds_apart else gaps.max()) / expected.steps_of[which]
            # `not <=` also catches NaN.
            if not gap <= self._tolerance:
                how = "on average by" if rounds_apart else "by up to"
                raise CheckFailedError(
                    f"{self._where}: self-test failed: output {role} differs from the golden one "
                    f"{how} {gap:.3g} (allowed: {self._tolerance}) on {backend.name}"
                )
            worst = max(worst, gap)
        return worst


def _expected(bundle: Bundle, variant: Variant, role: str, images: int) -> _Expected:
    """Read the golden outputs of a role: those of each image, one after the other."""
    spec = variant.outputs[role].tensor
    name = variant.golden[role]
    numbers = images * int(np.prod(spec.shape))
    content = bundle.files[name]
    if len(content) != numbers * spec.numpy_dtype.itemsize:
        raise ManifestError(
            f"{bundle.where}: {name} has {len(content)} bytes, {images} golden image(s) need "
            f"{numbers * spec.numpy_dtype.itemsize}"
        )
    values = np.frombuffer(content, spec.numpy_dtype).reshape(images, -1)
    unit = 1e-3 if spec.dtype == "float32" else 1.0
    steps = np.full(images, unit)
    if variant.golden_share is not None:
        largest = np.abs(values.astype(np.float64)).max(axis=1)
        share: Any = variant.golden_share * largest
        steps = np.maximum(share, 1e-12) / bundle.manifest.golden_tolerance
    return _Expected(values, steps)
