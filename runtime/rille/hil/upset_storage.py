"""Storage that is full, never takes anything, is read-only, slow, or fails now and then."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from rille.hil.scenario import Fault
from rille.hil.target import Setup, Target
from rille.hil.upset import SkippedError, Upset

_ROOM_KB = 96


class TinyDisk(Upset):
    """A file system of a few kilobytes, in memory; needs root.

    "full": holds a further sink's file, is filled up by somebody else, and emptied again.
    "results", "readonly": holds the output folder.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._disk: Path | None = None

    def prepare(self, setup: Setup) -> None:
        """Mount it, and have the device write there."""
        disk = setup.folder / "disk"
        disk.mkdir()
        self._mount(disk, f"size={_ROOM_KB}k")
        self._disk = disk
        if self.fault.value == "full":
            setup.sinks.append(f"jsonl://{disk}/further.jsonl?max_mb=0.02&keep=1")
            return
        setup.out = disk / "out"
        if self.fault.value == "readonly":
            self._mount(disk, "remount,ro")

    def _mount(self, disk: Path, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            raise SkippedError(f"{self.fault}: only root may mount a tiny file system") from None

    def begin(self, target: Target) -> None:
        """Fill it up."""
        assert self._disk is not None
        with contextlib.suppress(OSError), (self._disk / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(512))
                filler.flush()

    def end(self) -> None:
        """Make room again."""
        if self._disk is not None and self.fault.value == "full":
            (self._disk / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it, lazily: the device may not be quite gone."""
        if self._disk is not None:
            subprocess.run(["umount", "-l", str(self._disk)], check=False, capture_output=True)
            self._disk = None


class BadPlace(Upset):
    """Storage that is wrong from the start: a file in the folder's place, a cap, leftovers."""

    def prepare(self, setup: Setup) -> None:
        """Make it so."""
        if self.fault.value == "folder":
            setup.folder.joinpath("taken").write_text("a file")
            setup.out = setup.folder / "taken" / "out"
        elif self.fault.value == "limit":
            if shutil.which("prlimit") is None:
                raise SkippedError(f"{self.fault}: needs the program prlimit (util-linux)")
            setup.prefix += ["prlimit", f"--fsize={round(self.fault.amount * 1000)}"]
        else:
            _leave_behind(setup.out)


def _leave_behind(out: Path) -> None:
    """Leave what a run leaves that is killed in the middle of everything."""
    out.mkdir()
    (out / "results.jsonl").write_bytes(b'{"frame":0,"state":"ok"}\n{"frame":1,"sta')
    (out / ".summary.json.partial").write_bytes(b'{"source": "')
    (out / ".run.toml.partial").write_bytes(b"[source")
    (out / "run.toml").write_bytes(b"\x00" * 4096)
    (out / ".writable").write_bytes(b"rille")


class DeadPipe(Upset):
    """A further sink whose file is a pipe that somebody opened and never reads."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._reader: int | None = None

    def prepare(self, setup: Setup) -> None:
        """Make the pipe, and open its other end."""
        pipe = setup.folder / "pipe"
        os.mkfifo(pipe)
        self._reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        setup.sinks.append(f"jsonl://{pipe}")

    def close(self) -> None:
        """Close it."""
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None


class TracedWrites(Upset):
    """Real system calls of a further sink that are delayed or fail, by `strace`."""

    def prepare(self, setup: Setup) -> None:
        """Start the device under the tracer."""
        probe = ["strace", "-o", "/dev/null", "-e", "trace=none", "true"]
        try:
            subprocess.run(probe, check=True, capture_output=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            raise SkippedError(f"{self.fault}: needs strace, and the right to trace") from None
        file = (setup.folder / "further.jsonl").resolve()
        setup.sinks.append(f"jsonl://{file}")
        how = f"delay_enter={round(self.fault.amount * 1e6)}"
        if self.fault.type == "intermittent":
            every = max(2, round(self.fault.amount))
            how = f"error=EIO:when={every}+{every}"
        words = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-P", str(file)]
        setup.prefix += [*words, "-e", "trace=write", "-e", f"inject=write:{how}"]
