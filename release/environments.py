"""Virtual environments to try rille in, and the Pythons for them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from release.tools import ROOT, UV, checked

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
FOLDER = ROOT / "build" / "environments"
_DOWNLOAD_S = 180


def find_python(version: str) -> Path | None:
    """Return an interpreter of a version such as `3.10`: one that is here, or one fetched by uv.

    One that is fetched stays in `FOLDER`. None if there is none and none can be had.
    """
    for path in _candidates(version):
        code = f"import sys, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
        if (
            path.is_file()
            and subprocess.run([path, "-c", code], capture_output=True).returncode == 0
        ):
            return path
    return None


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    for folder in os.get_exec_path():
        yield Path(folder) / name
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"))
    kept = FOLDER / "pythons"
    try:
        subprocess.run(
            [*UV, "python", "install", "--quiet", "--install-dir", str(kept), version],
            capture_output=True,
            timeout=_DOWNLOAD_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return
    yield from sorted(kept.glob(f"*{version}*/bin/{name}"))


def make(name: str, python: Path, requirements: Sequence[str], *options: str) -> Path:
    """Make a virtual environment anew and install into it.

    Args:
        name: of its folder.
        python: the interpreter.
        requirements: as for `uv pip install`.
        options: further ones, such as `--resolution=lowest-direct`.

    Returns:
        Its interpreter.

    Raises:
        FailedError: it cannot be made, or there is no such set of packages.
    """
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    checked([*UV, "venv", "--quiet", "--python", str(python), str(folder)])
    inside = folder / "bin" / "python"
    checked([*UV, "pip", "install", "--quiet", "--python", str(inside), *options, *requirements])
    return inside


def installed(python: Path) -> list[str]:
    """Return what an environment holds, as `name==version`."""
    return checked([*UV, "pip", "freeze", "--quiet", "--python", str(python)]).split("\n")[:-1]


def only_installed() -> dict[str, str]:
    """Return variables for a process that is to see what is installed and not the source tree."""
    return {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
