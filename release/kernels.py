"""Compiles the runtime's kernels for every processor that rille runs on: `make kernels`.

The compiler is Zig's, which is a package for Python and compiles for any of them on any other. What
it makes depends on its version and the sources alone, so the libraries that come with rille can be
made again by anybody, and a test holds that they come out the same to the bit.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from release.tools import checked

FOLDER = Path(__file__).parents[1] / "runtime" / "rille" / "kernels"
TARGETS = {
    "x86_64": ("x86_64-linux-gnu.2.17", "x86_64"),
    "x86_64_v3": ("x86_64-linux-gnu.2.17", "x86_64_v3"),
    "aarch64": ("aarch64-linux-gnu.2.17", "cortex_a53"),
}
"""Kind of processor -> the target and the oldest processor that the library runs on."""
_FLAGS = (
    *("-std=c11", "-O3", "-shared", "-fPIC", "-s", "-fvisibility=hidden"),
    *("-Wall", "-Wextra", "-Werror"),
    # The same bits on every processor: no multiplication and addition in one rounding.
    *("-ffp-contract=off", "-fno-fast-math"),
    # A root is one instruction, without a library that would note what went wrong.
    "-fno-math-errno",
    # The same bytes in every folder.
    *("-Wl,--build-id=none", "-ffile-prefix-map={folder}=."),
)


def name_of(kind: str) -> str:
    """Return the file name of the library, by which `rille.kernels.library` finds it."""
    return f"kernels-{kind}.so"


def build(kind: str, out: Path) -> bytes:
    """Compile the library for one kind of processor.

    Args:
        kind: one of `TARGETS`.
        out: a folder for it.

    Returns:
        Its content.

    Raises:
        FailedError: it does not compile, or there is no compiler.
    """
    target, processor = TARGETS[kind]
    made = out / name_of(kind)
    flags = [flag.format(folder=FOLDER) for flag in _FLAGS]
    compiler = (sys.executable, "-m", "ziglang", "cc", "-target", target, f"-mcpu={processor}")
    sources = sorted(path.name for path in FOLDER.glob("*.c"))
    checked([*compiler, *flags, "-o", str(made), *sources], folder=FOLDER)
    return made.read_bytes()


def main() -> int:
    """Compile all of them into the package."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in TARGETS:
            content = build(kind, Path(folder))
            (FOLDER / name_of(kind)).write_bytes(content)
            sys.stdout.write(f"{name_of(kind)}: {len(content)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
