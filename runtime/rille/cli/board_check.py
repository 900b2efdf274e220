"""What `rille doctor` says of the board: strain, what to mend, which vendor program is missing."""

from __future__ import annotations

from rille.board import Board, usable_cores
from rille.strain import Strain

_CURES = {
    "under-voltage": "use a better power supply and a shorter cable",
    "frequency capped": "cool the board, or use a better power supply",
    "throttled": "cool the board",
    "soft temperature limit": "cool the board",
}
_TOOLS = {
    "Jetson": (("csi", "gst-launch-1.0", "gstreamer1.0-tools"),),
    "Raspberry Pi": (("libcamera", "rpicam-vid", "rpicam-apps"),),
}
"""Word in a board's name -> scheme of its cameras, the program that they need, its package."""
_NEAR_C = 5.0
_JETPACKS = {"R36": "6", "R38": "7"}
"""Release of NVIDIA's system -> JetPack, as docker/jetson.Dockerfile knows it."""


def strain_facts(strain: Strain) -> list[tuple[str, str]]:
    """Return rows of name and value."""
    cores = usable_cores()
    heat = "unknown" if strain.celsius is None else f"{strain.celsius:.0f} C"
    if strain.trip_celsius is not None:
        heat += f", slowed down at {strain.trip_celsius:.0f} C"
    throttled = ", ".join(strain.throttled) or "nothing reported"
    if strain.throttled_before:
        throttled += f" (since it was switched on: {', '.join(strain.throttled_before)})"
    quota = "unknown"
    if strain.cpu_share is not None:
        allowed = strain.cpu_share * cores
        quota = "none" if strain.cpu_share >= 1 else f"{allowed:.2g} of {cores} cores' time"
    power = "unknown" if strain.power_w is None else f"{strain.power_w:.1f} W"
    return [
        ("temperature", heat),
        ("throttled", throttled),
        ("cpu quota", quota),
        ("power", power),
    ]


def strain_troubles(strain: Strain) -> list[str]:
    """Return what keeps this machine from flying now, each with what to do about it."""
    troubles = [f"throttled: {flag}: {_CURES[flag]}" for flag in strain.throttled]
    if strain.celsius is not None and strain.trip_celsius is not None:
        left = strain.trip_celsius - strain.celsius
        if left <= _NEAR_C:
            troubles.append(
                f"temperature: {strain.celsius:.0f} C, and the kernel slows the machine down at "
                f"{strain.trip_celsius:.0f} C: cool it"
            )
    allowed = (strain.cpu_share or 1.0) * usable_cores()
    if strain.cpu_share is not None and allowed < 1.0:
        troubles.append(
            f"cpu quota: {allowed:.2g} of a core: when it is used up, networks are stopped in the "
            "middle; allow a core at least (systemd: CPUQuota=, docker: --cpus)"
        )
    return troubles


def missing_tools(board: Board) -> list[str]:
    """Return advice on the vendor's programs that this board's own cameras would need."""
    return [
        f"{scheme}:// cameras need the program {tool}: sudo apt install {package}"
        for word, tools in _TOOLS.items()
        for scheme, tool, package in tools
        if word in board.model and scheme not in board.tools
    ]


def container_facts(board: Board) -> list[tuple[str, str]]:
    """Return a row on the container that fits this board's system; none where any does."""
    jetpack = _JETPACKS.get(board.jetpack.partition(".")[0])
    if jetpack is not None:
        return [("container", f"docker/jetson.Dockerfile --build-arg JETPACK={jetpack}")]
    if "Raspberry Pi" in board.model:
        return [("container", "docker/raspberrypi.Dockerfile")]
    return []
