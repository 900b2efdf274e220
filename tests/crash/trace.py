"""Killing a child at each of its system calls, and seeing which it makes: ptrace, nothing else.

Linux alone. PTRACE_GET_SYSCALL_INFO (Linux 5.3) tells a call's number and arguments on every
processor; only the numbers differ, and they are needed for `calls` alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TRACEME, _CONT, _SYSCALL, _SETOPTIONS, _GET_INFO = 0, 7, 24, 0x4200, 0x420E
_SYSGOOD, _EXITKILL = 1, 0x100000
_INFO = struct.Struct("<B3xIQQ7Q")  # op, arch, instruction, stack; of an entry: number, arguments
_ENTRY = 1
_STOP = signal.SIGTRAP | 0x80
_NAMES = {
    "x86_64": {
        1: "write", 18: "pwrite64", 20: "writev", 74: "fsync", 75: "fdatasync", 77: "ftruncate",
        82: "rename", 264: "renameat", 316: "renameat2", 3: "close", 257: "openat", 87: "unlink",
    },
    "aarch64": {
        64: "write", 68: "pwrite64", 66: "writev", 82: "fsync", 83: "fdatasync", 46: "ftruncate",
        38: "renameat", 276: "renameat2", 57: "close", 56: "openat", 35: "unlinkat",
    },
}  # fmt: skip
_CHANGE_NOTHING = {
    # read, stat, fstat, lstat, lseek, mmap, mprotect, munmap, brk, rt_sigaction, ioctl, access,
    # madvise, getpid, fcntl, fsync, readlink, futex, getdents64, clock_gettime, newfstatat,
    # getrandom, statx, close
    "x86_64": {
        0, 4, 5, 6, 8, 9, 10, 11, 12, 13, 16, 21, 28, 39, 72, 74, 89, 202, 217, 228, 262, 318, 332,
        3,
    },
    "aarch64": {
        63, 79, 80, 62, 222, 226, 215, 214, 134, 29, 48, 233, 172, 25, 82, 78, 98, 61, 113, 278,
        291, 57,
    },
}  # fmt: skip
"""Calls after which a reader finds what it found before; on other processors every call counts."""


@dataclass(frozen=True)
class Call:
    """A system call: its name, "" where it does not matter here, and its arguments."""

    name: str
    arguments: tuple[int, ...]


class CannotTraceError(Exception):
    """This machine does not let a process watch its child."""


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is killed as it enters a system call.

    Args:
        number: which of the calls that can change a file, from 0; the call itself is never made.
        work: what to do; no threads, no children.

    Returns:
        Whether it came so far; False where it was done before.
    """
    child = _start(work)
    with _reaped(child):
        changing = (entry for entry in _entries(child) if _changes(*entry))
        for count, _ in enumerate(changing):
            if count == number:
                os.kill(child, signal.SIGKILL)
                return True
    return False


def calls(work: Callable[[], object]) -> list[tuple[Call, str]]:
    """Return the system calls of `work`, each with the file that its first argument stands for."""
    names = _NAMES.get(platform.machine(), {})
    child, found = _start(work), []
    with _reaped(child):
        for number, arguments in _entries(child):
            name, about = names.get(number, ""), ""
            if name in ("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate"):
                with contextlib.suppress(OSError):
                    about = str(Path(f"/proc/{child}/fd/{arguments[0]}").readlink())
            elif name.startswith("rename"):
                about = _text(child, arguments[0 if name == "rename" else 1])
            found.append((Call(name, arguments), about))
    return found


def _changes(number: int, arguments: tuple[int, ...]) -> bool:
    """Return whether a call can change what a reader finds."""
    machine = platform.machine()
    if _NAMES.get(machine, {}).get(number) == "openat":
        return bool(arguments[2] & (os.O_CREAT | os.O_TRUNC))
    return number not in _CHANGE_NOTHING.get(machine, ())


def _start(work: Callable[[], object]) -> int:
    """Fork a child that waits to be traced and then works."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if not child:
        code = 1
        try:
            if libc.ptrace(_TRACEME, 0, 0, 0):
                os._exit(99)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        raise CannotTraceError("the kernel does not let a process trace its child here")
    _ask(_SETOPTIONS, child, 0, _SYSGOOD | _EXITKILL)
    return child


def _entries(child: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Let a child run, and stop at each system call that it enters."""
    buffer = ctypes.create_string_buffer(_INFO.size)
    signalled = 0
    while True:
        _ask(_SYSCALL, child, 0, signalled)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            if status:
                raise RuntimeError(f"the child ended by itself: {status}")
            return
        signalled = os.WSTOPSIG(status)
        if signalled != _STOP:
            continue
        signalled = 0
        _ask(_GET_INFO, child, _INFO.size, ctypes.addressof(buffer))
        op, _, _, _, number, *arguments = _INFO.unpack(buffer.raw)
        if op == _ENTRY:
            yield number, tuple(arguments)


def _ask(request: int, child: int, address: int, data: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, child, address, data) < 0:
        wrong = ctypes.get_errno()
        raise CannotTraceError(f"ptrace request {request:#x}: {os.strerror(wrong)}")


@contextlib.contextmanager
def _reaped(child: int) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


def _text(child: int, address: int) -> str:
    with open(f"/proc/{child}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
        memory.seek(address)
        return memory.read(512).split(b"\0")[0].decode(errors="replace")
