"""How fast each form of a network is beside its float form, and what slows it down.

A network may be smaller in int8 and slower: what XNNPACK does not take in integers (hard-swish, for
one) falls back to plain code, and splits the network besides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rille.backends import open_backend
from rille.backends.anatomy import Anatomy, anatomy
from rille.board import processor
from rille_export.forms import FLOAT, Form

_RUNS, _WARM, _MOST_S = 40, 5, 20.0
_SLOWER = 1.1
"""Ratio from which a form is called slower: medians of so few runs differ by some per cent."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One form on the machine that exports it, one thread.

    Attributes:
        ratio_to_float: its median time over that of the float form, taken in turns.
        anatomy: how XNNPACK divides it.
    """

    ratio_to_float: float
    anatomy: Anatomy

    def to_json(self) -> dict[str, Any]:
        """Return it for the manifest."""
        return {
            "ratio_to_float": round(self.ratio_to_float, 3),
            "xnnpack_parts": self.anatomy.parts,
            "outside_xnnpack": dict(self.anatomy.outside),
            "measured_on": processor(),
        }

    @property
    def warning(self) -> str:
        """What to say of a form that is slower than float; empty for others."""
        if self.ratio_to_float < _SLOWER:
            return ""
        left = ", ".join(f"{count} {name}" for name, count in self.anatomy.outside.items())
        why = (
            f"XNNPACK takes it in {self.anatomy.parts} parts and leaves out {left}"
            if left
            else "XNNPACK takes all of it, but gains nothing on this processor"
        )
        return f"slower than float here by {self.ratio_to_float:.1f} times: {why}"


def measure(forms: Mapping[str, Form]) -> dict[str, Speed]:
    """Time every TFLite form but the float one against it.

    Args:
        forms: by name, the float form among them.
    """
    chosen = [name for name in forms if name.startswith("tflite") and name != FLOAT]
    if not chosen:
        return {}
    spent = _spent({name: forms[name] for name in (FLOAT, *chosen)})
    return {
        name: Speed(
            ratio_to_float=float(np.median(spent[name]) / np.median(spent[FLOAT])),
            anatomy=anatomy(forms[name].content),
        )
        for name in chosen
    }


def warned(speeds: Mapping[str, Speed], say: Callable[[str], None]) -> list[str]:
    """Return what to warn users of, and say it."""
    warnings = [f"{name} is {speed.warning}" for name, speed in speeds.items() if speed.warning]
    for warning in warnings:
        say(f"warning: {warning}")
    return warnings


def _spent(forms: Mapping[str, Form]) -> dict[str, list[float]]:
    """Return milliseconds of single inferences, the forms in turns."""
    engines = {
        name: open_backend(form.content, form.variant, threads=1) for name, form in forms.items()
    }
    inputs = {
        name: np.zeros(form.variant.input.shape, form.variant.input.numpy_dtype)
        for name, form in forms.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in forms}
    began = time.monotonic_ns()
    for turn in range(_WARM + _RUNS):
        if turn > 2 * _WARM and time.monotonic_ns() - began > _MOST_S * 1e9:
            break
        for name, engine in engines.items():
            start = time.perf_counter_ns()
            engine.infer(inputs[name])
            if turn >= _WARM:
                spent[name].append((time.perf_counter_ns() - start) / 1e6)
    return spent
