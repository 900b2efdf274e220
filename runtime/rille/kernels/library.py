"""Finds and loads the compiled library for this machine's processor."""

from __future__ import annotations

import ctypes
import functools
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rille.board import instructions
from rille.errors import BackendUnavailableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_V3 = {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
"""What Linux calls the instructions that x86-64-v3 has and the first x86-64 had not."""
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}

_P, _I, _BYTE, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint8, ctypes.c_double
_CALLS: dict[str, tuple[list[Any], Any]] = {
    "rille_gray": ([_P, _I, _P], None),
    "rille_halve": ([_P, _I, _I, _I, _P], None),
    "rille_resize": ([_P, _I, _I, _P, _P, _I, _P, _P, _I, _BYTE, _I, _P, _P], None),
    "rille_clahe": ([_P, *[_I] * 5, ctypes.c_int32, *[_P] * 6, _BYTE, _I, _P], None),
    "rille_largest_8": ([_P, _I, _I, _BYTE, _P], None),
    "rille_largest_f": ([_P, _I, _I, _P], None),
    "rille_counts": ([_P, _I, _P], None),
    "rille_shares_8": ([_P, _I, _I, _P, _P, _P, _P], None),
    "rille_regions": ([_P, _I, _I, _P, _P], _I),
    "rille_sums": ([_P, _I, _P, _I, _P, _P, _P], None),
    "rille_peaks_8": ([_P, _I, _I, _BYTE, _REAL, _P, _P], _I),
    "rille_peaks_f": ([_P, _I, _I, _BYTE, _REAL, _P, _P], _I),
    "rille_boxes": ([_P, _I, _P, _P, _P, _P, _I, *[_REAL] * 4, _P], _I),
    "rille_believed_8": ([_P, _I, _I, _BYTE, _P, _I, _REAL, _REAL, _P, _P], None),
    "rille_believed_f": ([_P, _I, _I, _BYTE, _P, _I, _REAL, _REAL, _P, _P], None),
    "rille_spread": ([_P, _P, _P, _I, _REAL, _REAL, _P], None),
    "rille_chosen": ([_P, _I, _REAL, _REAL, _P, _P, _P], _I),
    "rille_products_8": ([_P, _I, _BYTE, _BYTE, _P, _I, _P], None),
    "rille_look": ([_P, _I, _I, ctypes.c_uint32, _P], None),
}

SIGN = {"int8": 128, "uint8": 0}
"""Types of one byte -> what, flipped in their numbers, puts these in the order of their bytes."""


def kind_here(machine: str = "", cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return which library is the fastest that this machine can run.

    Args:
        machine: as `platform.machine` gives it; "" for this one's.
        cpuinfo: where Linux tells what the processor can do.

    Raises:
        BackendUnavailableError: there is none.
    """
    machine = machine or platform.machine()
    kind = _MACHINES.get(machine.lower(), "")
    if not kind:
        raise BackendUnavailableError(
            f"rille has no kernels for the processor {machine!r}, only for x86_64 and aarch64; "
            "for another, add it to TARGETS in release/kernels.py and run: make kernels"
        )
    return "x86_64_v3" if kind == "x86_64" and instructions(cpuinfo) >= _V3 else kind


@functools.cache
def load(kind: str = "") -> Any:
    """Load the library for a kind of processor; "" for this one.

    Raises:
        BackendUnavailableError: there is none, or it cannot be loaded.
    """
    path = Path(__file__).with_name(f"kernels-{kind or kind_here()}.so")
    try:
        found = ctypes.CDLL(str(path))
        for name, (takes, gives) in _CALLS.items():
            call = getattr(found, name)
            call.argtypes, call.restype = takes, gives
    except (OSError, AttributeError) as wrong:
        raise BackendUnavailableError(
            f"{path.name}: cannot be loaded ({wrong}); it comes with rille: install that again, "
            "where files may be executed, on Linux"
        ) from None
    return found


def address(array: NDArray[Any]) -> int:
    """Return where an array's numbers begin; it must outlive the call."""
    if array.flags.carray and array.size:
        buffer: Any = array  # which not every version of NumPy's types says it is
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    return array.ctypes.data  # takes three times as long
