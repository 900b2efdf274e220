"""Whether each package that the runtime needs is to be had ready-made for 64-bit ARM."""

from __future__ import annotations

from release.environments import PYTHONS
from release.tools import UV, checked
from tests.aarch64.machine import PLATFORM


def resolve(version: str, *requirements: str) -> list[str]:
    """Return what would be installed on a board, as `name==version`.

    Args:
        version: of Python, such as `3.10`.
        requirements: in place of the runtime's own.

    Raises:
        FailedError: some package has no wheel for this Python and aarch64 with glibc 2.28.
    """
    given = ["-"] if requirements else ["pyproject.toml"]
    target = ["--python-version", version, "--python-platform", PLATFORM]
    quiet = ["--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
    listed = checked([*UV, "pip", "compile", *quiet, *target, *given], "\n".join(requirements))
    return listed.split("\n")[:-1]


def check_wheels() -> None:
    """Resolve for each Python and print the three packages that hold machine code of weight.

    Raises:
        FailedError: see `resolve`.
    """
    for version in PYTHONS:
        found = resolve(version)
        heavy = [line for line in found if line.startswith(("numpy", "opencv", "ai-edge"))]
        print(f"wheels for aarch64, Python {version}: {len(found)} packages, {', '.join(heavy)}")
