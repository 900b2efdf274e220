"""What this machine is: board, operating system, cameras.

Everything is read below a root folder, so that it can be tried without the board.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_TOOLS = {"csi": "gst-launch-1.0", "libcamera": "rpicam-vid"}


@dataclass(frozen=True, slots=True)
class Board:
    """What is known of a machine.

    Attributes:
        model: as the firmware calls it; "" where it does not tell (most PCs).
        jetpack: release of NVIDIA's system ("R36.4.0"); "" elsewhere.
        cameras: URIs of the V4L2 devices that are here, with their names.
        tools: scheme -> program that its cameras need, where it is installed.
    """

    model: str
    jetpack: str
    cameras: tuple[tuple[str, str], ...]
    tools: dict[str, str]


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0))


def look_at_board(root: Path = Path("/")) -> Board:
    """Return what is known of this machine.

    Args:
        root: where its file system begins.
    """
    return Board(
        model=text_in(root / "proc/device-tree/model"),
        jetpack=_jetpack(text_in(root / "etc/nv_tegra_release")),
        cameras=tuple(
            (f"v4l2:///dev/{device.name}", text_in(device / "name") or "a camera without a name")
            for device in sorted((root / "sys/class/video4linux").glob("video*"))
        ),
        tools={scheme: tool for scheme, tool in _TOOLS.items() if shutil.which(tool)},
    )


def processor(root: Path = Path("/")) -> str:
    """Return the board's or else the processor's name, as far as the system tells it.

    Args:
        root: where its file system begins.
    """
    board = text_in(root / "proc/device-tree/model")
    if board:
        return board
    lines = text_in(root / "proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, names), platform.machine())


def instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return what the first processor can do, by Linux's names; nothing where it does not tell.

    Args:
        cpuinfo: where Linux tells it.
    """
    lines = text_in(cpuinfo).splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where Linux does not tell."""
    pages = text_in(Path("/proc/self/statm")).split()[1:2]
    return int(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else 0


def celsius_in(path: Path) -> float | None:
    """Return the degrees in a file of millidegrees, or None where that is not a sensible one."""
    text = text_in(path)
    if re.fullmatch(r"-?\d{1,7}", text) and -60_000 < int(text) < 200_000:
        return int(text) / 1000
    return None


def _jetpack(text: str) -> str:
    """Return "R36.4.0" for "# R36 (release), REVISION: 4.0, ..."."""
    match = re.match(r"# (R\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{match[1]}.{match[2]}" if match else ""


def text_in(path: Path) -> str:
    """Return what a small file of the kernel says, trimmed; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""
