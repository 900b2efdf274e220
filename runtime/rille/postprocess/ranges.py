"""Outputs far beyond any that the network gave: what a flipped exponent bit of float32 makes.

Outputs of an integer type cannot leave the range they were calibrated for, so nothing is looked at
there, and it costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.errors import OutputRangeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle import Bundle, Variant
    from rille.bundle.manifest import OutputEntry

_BEYOND_TWIN = 4.0
"""Of the range that the integer form of the same network was calibrated for."""
_BEYOND_GOLDEN = 16.0
"""Of the largest golden number: golden images are those on which a network is least sure."""


class OutputRanges:
    """Refuses outputs of float32 that are absurdly large, or not finite.

    Args:
        limits: role -> largest magnitude accepted.
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        self.limits = dict(limits)

    @classmethod
    def of(cls, bundle: Bundle, variant: Variant) -> OutputRanges:
        """Return what can be known of a network: from its integer form, else its golden answers."""
        twins = [form for form in bundle.manifest.variants.values() if form.precision == "int8"]
        limits = {}
        for role, entry in variant.outputs.items():
            if entry.tensor.dtype != "float32":
                continue
            spans = [_span(twin.outputs[role]) for twin in twins if role in twin.outputs]
            limit = _BEYOND_TWIN * max(spans, default=0.0)
            if not limit and role in variant.golden:
                values = np.frombuffer(bundle.files[variant.golden[role]], np.float32)
                limit = _BEYOND_GOLDEN * float(np.abs(values).max(initial=0.0))
            if limit:
                limits[role] = limit
        return cls(limits)

    def __call__(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Look at the outputs for a picture.

        Raises:
            OutputRangeError: a number is beyond its limit, or none at all.
        """
        for role, limit in self.limits.items():
            values = outputs[role]
            largest = max(-float(values.min()), float(values.max()))
            if not largest <= limit:  # also where it is NaN
                raise OutputRangeError(
                    f"output {role} reaches {largest:.3g}, beyond the {limit:.3g} that is accepted"
                )


def _span(entry: OutputEntry) -> float:
    """Return the largest magnitude that an output of an integer type can hold; 0 for others."""
    tensor = entry.tensor
    if tensor.dtype == "float32":
        return 0.0
    kind = np.iinfo(tensor.numpy_dtype)
    return tensor.scale * max(abs(kind.min - tensor.zero_point), abs(kind.max - tensor.zero_point))
