"""What strains a machine now: heat, throttling, a cap on its processor, its power.

Everything is read below a root folder, so that it can be tried without the board. Sources: the
kernel's documents on thermal zones, hwmon and cgroups; Raspberry Pi's page on `vcgencmd` for the
bits; NVIDIA's Jetson developer guide for the rails. Tried on made-up trees only, not on a board.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rille.board import celsius_in, text_in, usable_cores

_FLAGS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_BOOT = 16  # the same four, as bits 16 to 19
_TRIPS = ("passive", "hot")  # "active" starts a fan, "critical" shuts down
_WHOLE_BOARD = ("VDD_IN", "VIN", "POM_5V_IN", "VDD_5V_IN")


@dataclass(frozen=True, kw_only=True, slots=True)
class Strain:
    """What a machine says of itself at one moment; None where it does not say.

    Attributes:
        celsius: of the thermal zone nearest to its trip point; of the hottest where none has one.
        trip_celsius: that zone's lowest trip point at which the kernel slows the machine down.
        throttled: what a Raspberry Pi's firmware holds back now ("under-voltage", ...).
        throttled_before: what it held back since it was switched on.
        cpu_share: part of the usable cores that control groups allow, above 0 to 1.
        power_w: power into the board; where only single rails are measured their sum, which may
            count a rail twice that feeds another.
    """

    celsius: float | None = None
    trip_celsius: float | None = None
    throttled: tuple[str, ...] = ()
    throttled_before: tuple[str, ...] = ()
    cpu_share: float | None = None
    power_w: float | None = None


def ask_firmware() -> str:
    """Return what `vcgencmd get_throttled` prints; empty where there is no such program.

    Takes a second at most.
    """
    tool = shutil.which("vcgencmd")
    if tool is None:
        return ""
    try:
        done = subprocess.run(
            [tool, "get_throttled"], capture_output=True, text=True, timeout=1.0, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def read_strain(root: Path = Path("/"), vcgencmd: Callable[[], str] = ask_firmware) -> Strain:
    """Return what this machine says of itself. It may block where a driver hangs.

    Args:
        root: where its file system begins.
        vcgencmd: gives the text of `vcgencmd get_throttled`; asked only where the kernel of a
            Raspberry Pi does not tell.
    """
    celsius, trip_celsius = _nearest_to_trip(root)
    bits = _throttle_bits(root, vcgencmd)
    return Strain(
        celsius=celsius,
        trip_celsius=trip_celsius,
        throttled=_named(bits),
        throttled_before=_named(bits >> _SINCE_BOOT),
        cpu_share=_cpu_share(root),
        power_w=_power_w(root),
    )


def _nearest_to_trip(root: Path) -> tuple[float | None, float | None]:
    """Return a zone's temperature and trip point, both in degrees Celsius."""
    zones = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        celsius = celsius_in(zone / "temp")
        if celsius is not None:
            zones.append((celsius, min(_trips(zone), default=None)))
    tripping = [(celsius, trip) for celsius, trip in zones if trip is not None]
    if tripping:
        return min(tripping, key=lambda pair: pair[1] - pair[0])
    return max((celsius for celsius, _ in zones), default=None), None


def _trips(zone: Path) -> Iterator[float]:
    """Yield a zone's trip points that slow the machine down; drivers write 0 or less for none."""
    for kind in zone.glob("trip_point_*_type"):
        celsius = celsius_in(kind.with_name(kind.name.replace("_type", "_temp")))
        if text_in(kind) in _TRIPS and celsius is not None and celsius > 0:
            yield celsius


def _throttle_bits(root: Path, vcgencmd: Callable[[], str]) -> int:
    """Return the bits of a Raspberry Pi's firmware; 0 on anything else."""
    for path in sorted((root / "sys/devices/platform").glob("soc*/soc*:firmware/get_throttled")):
        if re.fullmatch(r"[0-9a-fA-F]{1,8}", text_in(path)):
            return int(text_in(path), 16)
    said = re.search(r"throttled=0x([0-9a-fA-F]{1,8})\b", vcgencmd())
    return int(said[1], 16) if said else 0


def _named(bits: int) -> tuple[str, ...]:
    return tuple(flag for k, flag in enumerate(_FLAGS) if bits >> k & 1)


def _cpu_share(root: Path) -> float | None:
    """Return the smallest share that this process's control group or one above it allows."""
    places = dict(_groups(root))
    if not places:
        return None
    cores = usable_cores()
    limits = [limit for folder in places.values() if (limit := _quota(folder)) is not None]
    return min(1.0, min(limits, default=float(cores)) / cores)


def _groups(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the folders of this process's control group and of all above it, by their paths."""
    mounts = {"": (root / "sys/fs/cgroup",), "cpu": (root / "sys/fs/cgroup/cpu",)}
    mounts["cpu,cpuacct"] = mounts["cpuacct,cpu"] = (root / "sys/fs/cgroup/cpu,cpuacct",)
    for line in text_in(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        path = PurePosixPath("/", group)
        if ".." in path.parts:  # a group outside this container's view of the tree
            path = PurePosixPath("/")
        for mount in mounts.get(controllers, ()):
            for level in (path, *path.parents):
                folder = mount / level.relative_to("/")
                if folder.is_dir():
                    yield str(folder), folder


def _quota(folder: Path) -> float | None:
    """Return how many cores' time a control group may use; None for no limit."""
    words = text_in(folder / "cpu.max").split()  # version 2: "20000 100000" or "max 100000"
    if not words:
        words = [text_in(folder / "cpu.cfs_quota_us"), text_in(folder / "cpu.cfs_period_us")]
    if len(words) != 2 or not all(re.fullmatch(r"\d{1,15}", word) for word in words):
        return None
    quota, period = map(int, words)
    return quota / period if quota and period else None


def _power_w(root: Path) -> float | None:
    """Return what Texas Instruments' monitors measure: Jetson's INA3221, INA226 and so on."""
    rails: list[tuple[str, float]] = []
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if text_in(chip / "name").startswith("ina"):
            rails.extend(_rails(chip))
    whole = [watt for label, watt in rails if label in _WHOLE_BOARD]
    if whole:
        return max(whole)
    return sum(watt for _, watt in rails) if rails else None


def _rails(chip: Path) -> Iterator[tuple[str, float]]:
    """Yield label and watts of each rail: from microwatts, or from millivolts and milliamperes."""
    powers = list(chip.glob("power*_input"))
    for path in powers:
        if (micro := _whole_number(path)) is not None:
            yield text_in(chip / path.name.replace("_input", "_label")), micro / 1e6
    for path in () if powers else chip.glob("in*_input"):
        label = text_in(path.with_name(path.name.replace("_input", "_label")))
        volts = _whole_number(path)
        amperes = _whole_number(chip / path.name.replace("in", "curr", 1))
        if volts is not None and amperes is not None and label != "NC":
            yield label, max(0, volts) * max(0, amperes) / 1e6


def _whole_number(path: Path) -> int | None:
    text = text_in(path)
    return int(text) if re.fullmatch(r"-?\d{1,12}", text) else None
