"""A Debian root for 64-bit ARM whose programs run here, on emulated processors.

The root is unpacked, not set up (`mmdebstrap --variant=extract`): seconds instead of minutes.
Python packages are put into it from outside. Both are kept between runs.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from release.tools import UV, checked

SUITE = "trixie"
PYTHON = "3.13"
"""The Python of `SUITE`, and of Raspberry Pi OS made from it."""
PLATFORM = "aarch64-manylinux_2_28"
APT = "sudo apt install qemu-user-static binfmt-support mmdebstrap"
_TOOLS = ("mmdebstrap", "qemu-aarch64-static", "update-binfmts", "unshare", "chroot")
_PACKAGES = "python3,libstdc++6,zlib1g,coreutils,base-files"
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_SITE = f"usr/local/lib/python{PYTHON}/dist-packages"
# In a mount namespace of its own, so that nothing stays mounted: $1 is the root, $2 a file that
# says what processor this is. The interpreter's processor library crashes on the host's own answer.
_ENTER = """
set -e
mount -t proc proc "$1/proc"
mount --bind "$2" "$1/proc/cpuinfo"
mount -t tmpfs tmpfs "$1/dev/shm"
root=$1
shift 2
exec chroot "$root" /usr/bin/env -i "$@"
"""


class CannotError(Exception):
    """What stands in the way of emulation on this machine, and how to get it out of the way."""


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """A processor as qemu names it, with what Linux says of a real one in /proc/cpuinfo."""

    name: str
    part: int
    features: str

    def describe(self, cores: int = 2) -> str:
        """Return the text of /proc/cpuinfo."""
        one = (
            f"Features\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: 0x0\nCPU part\t: 0x{self.part:x}\nCPU revision\t: 3\n\n"
        )
        return "".join(f"processor\t: {core}\n{one}" for core in range(cores))


_V8 = "fp asimd evtstrm crc32 cpuid"
CPUS = (
    Cpu(name="cortex-a53", part=0xD03, features=_V8),  # Raspberry Pi 3, Zero 2
    Cpu(name="cortex-a72", part=0xD08, features=_V8),  # Raspberry Pi 4
    Cpu(  # Raspberry Pi 5; close to the Cortex-A78AE of a Jetson Orin
        name="cortex-a76",
        part=0xD0B,
        features=f"{_V8} aes pmull sha1 sha2 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
    ),
)


def check_machine(path: str | None = None, uid: int | None = None, machine: str = "") -> None:
    """See whether emulation can work here.

    Args:
        path: where to look for tools; None for the usual places.
        uid: whose rights; None for this process's.
        machine: this machine's kind; empty to ask.

    Raises:
        CannotError: tools or rights are missing.
    """
    if (machine or platform.machine()) == "aarch64":
        raise CannotError("this machine is a 64-bit ARM one itself: make test is the proof here")
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        raise CannotError(f"{', '.join(missing)} cannot be found: {APT}")
    if (os.geteuid() if uid is None else uid) != 0:
        raise CannotError("a root folder cannot be entered without root rights: sudo make arm64")


def enable_emulation() -> None:
    """Have the kernel hand ARM programs to qemu.

    Raises:
        CannotError: the kernel or this container does not allow it.
    """
    if not (_BINFMT / "register").exists():
        _allowed("mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT))
    _allowed("update-binfmts", "--enable", "qemu-aarch64")
    entry = _BINFMT / "qemu-aarch64"
    if not entry.exists() or not entry.read_text(encoding="ascii").startswith("enabled"):
        raise CannotError(f"the kernel does not know qemu-aarch64 in {_BINFMT}: {APT}")


def _allowed(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotError(f"`{' '.join(words)}` failed here: {done.stderr.strip()[-200:]}")


class ArmRoot:
    """The unpacked root, in a cache folder.

    Args:
        cache: folder that keeps it; made if it is not there.
    """

    def __init__(self, cache: Path) -> None:
        self.path = cache / f"{SUITE}-{hashlib.sha256(_PACKAGES.encode()).hexdigest()[:8]}"
        self._site = self.path / _SITE

    def bootstrap(self) -> None:
        """Unpack Debian, if that was not done before.

        Raises:
            CannotError: Debian's packages cannot be had.
        """
        if self.path.exists():
            return
        part = self.path.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _allowed(
            *("mmdebstrap", "--quiet", "--skip=check/qemu", "--variant=extract", "--arch=arm64"),
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            f"--include={_PACKAGES}",
            SUITE,
            str(part),
            os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian"),
        )
        # What there is of /sys: enough for libraries that count processors.
        counts = part / "sys/devices/system/cpu"
        counts.mkdir(parents=True)
        for name in ("present", "possible", "online"):
            (counts / name).write_text("0-1\n", encoding="ascii")
        part.rename(self.path)

    def install(self, wheel: Path, extras: str) -> str:
        """Put a wheel, its dependencies and what its tests need into the root, made for ARM.

        Args:
            wheel: rille's.
            extras: of the wheel, with commas between.

        Returns:
            What was installed, one `name==version` a line.
        """
        target = ["--python-version", PYTHON, "--python-platform", PLATFORM]
        only = ["--only-binary", ":all:"]
        compile_ = [
            *UV,
            "pip",
            "compile",
            "--quiet",
            *target,
            *only,
            "--no-header",
            "--no-annotate",
        ]
        sort_out = ["--no-emit-package", "rille", "--group", "pyproject.toml:runtime-test", "-"]
        listed = checked([*compile_, *sort_out], f"rille[{extras}] @ {wheel.as_uri()}")
        stamp = self.path / "installed.txt"
        install = [*UV, "pip", "install", "--quiet", *target, *only, "--no-deps"]
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != listed:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(self._site, ignore_errors=True)
            checked([*install, "--target", str(self._site), "-r", "-"], listed)
            stamp.write_text(listed, encoding="utf-8")
        for old in self._site.glob("rille*"):
            shutil.rmtree(old)
        checked([*install, "--target", str(self._site), str(wheel)])
        return listed

    def run(
        self, cpu: Cpu, words: Sequence[str], *, folder: str = "/", limit_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the root on an emulated processor, output and errors in one.

        Raises:
            subprocess.TimeoutExpired: it took longer than `limit_s` seconds of real time.
        """
        about = self.path / f"cpuinfo-{cpu.name}"
        about.write_text(cpu.describe(), encoding="ascii")
        into = ["unshare", "--mount", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh"]
        given = [f"QEMU_CPU={cpu.name}", "HOME=/root", "PATH=/usr/bin:/bin", "LANG=C.UTF-8"]
        return subprocess.run(
            [*into, str(self.path), str(about), f"--chdir={folder}", *given, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
            check=False,
        )
