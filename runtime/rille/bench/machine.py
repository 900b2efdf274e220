"""What a figure depends on besides the program: board, governor, power mode, versions, heat."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import rille
from rille.board import look_at_board, processor, resident_bytes, text_in, usable_cores
from rille.kernels.library import kind_here
from rille.registry import package_version
from rille.strain import Strain, read_strain

_UNKNOWN = "unknown"
_ENGINES = ("ai-edge-litert", "tflite-runtime", "onnxruntime", "tensorrt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What stays the same during a run; "unknown" where the system does not tell.

    Attributes:
        board: the board's or else the processor's name.
        system: release of NVIDIA's system where there is one, and the kernel.
        cores: those that this process may use.
        governor: how the processor's clock is chosen; several, with commas, where cores differ.
        power_mode: of a Jetson the number of its mode, of others the platform's profile.
        versions: package -> version; of rille's own kernels the kind.
    """

    board: str
    system: str
    cores: int
    governor: str
    power_mode: str
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return asdict(self)


def look_at_machine(root: Path = Path("/")) -> Machine:
    """Return what is known of this machine.

    Args:
        root: where its file system begins.
    """
    jetpack = look_at_board(root).jetpack
    engines = {name: package_version(name) for name in _ENGINES}
    return Machine(
        board=processor(root),
        system=", ".join(filter(None, [jetpack and f"L4T {jetpack}", platform.platform()])),
        cores=usable_cores(),
        governor=_governors(root),
        power_mode=_power_mode(root),
        versions={
            "rille": rille.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "kernels": kind_here(),
            **{name: found for name, found in engines.items() if found != "not installed"},
        },
    )


def _governors(root: Path) -> str:
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({text_in(file) for file in files} - {""})) or _UNKNOWN


def _power_mode(root: Path) -> str:
    """Return the mode that `nvpmodel` keeps ("pmode:0002"), or the firmware's profile."""
    mode = re.search(r"pmode:(\d{1,4})", text_in(root / "var/lib/nvpmodel/status"))
    if mode:
        return f"nvpmodel {int(mode[1])}"
    return text_in(root / "sys/firmware/acpi/platform_profile") or _UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What changes during a run, read once.

    Attributes:
        load: processes that want a core, averaged over a minute.
        resident_mb: memory of this process in megabytes.
        strain: temperature, throttling, power.
    """

    load: float
    resident_mb: float
    strain: Strain

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return {"load": self.load, "resident_mb": self.resident_mb, **asdict(self.strain)}


def read_moment(root: Path = Path("/")) -> Moment:
    """Return what this machine says of itself now; it may block where a driver hangs.

    Args:
        root: where its file system begins.
    """
    loads = text_in(root / "proc/loadavg").split()
    return Moment(
        load=float(loads[0]) if loads else 0.0,
        resident_mb=resident_bytes() / 1e6,
        strain=read_strain(root),
    )
