"""Building what is released: one wheel and one source archive, the same bits each time."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from release.tools import ROOT, FailedError, checked


def build(tree: Path, folder: Path, *, wheel_only: bool = False) -> list[Path]:
    """Build a wheel, and a source archive unless told otherwise.

    Args:
        tree: where `pyproject.toml` is.
        folder: takes the archives; made if it is not there.

    Returns:
        Their paths: the wheel, then the source archive.

    Raises:
        FailedError: the build failed, or made something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    forms = ["--wheel"] if wheel_only else ["--wheel", "--sdist"]
    command = [sys.executable, "-m", "build", "--no-isolation", *forms, "--outdir", str(folder)]
    checked([*command, str(tree)], environment=os.environ | {"SOURCE_DATE_EPOCH": epoch()})
    made = sorted(folder.glob("*.whl")) + sorted(folder.glob("*.tar.gz"))
    if len(made) != len(forms):
        names = ", ".join(path.name for path in made) or "nothing"
        raise FailedError(f"{folder}: one archive of each kind was to be there, not {names}")
    return made


def epoch() -> str:
    """Return the seconds that archives carry as the age of their files.

    `SOURCE_DATE_EPOCH` if it is set, or when the last commit was made.

    Raises:
        FailedError: this is no git work tree, and the variable is not set.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return given
    return checked(["git", "log", "-1", "--format=%ct"]).strip()


def copy_committed(folder: Path) -> Path:
    """Copy the files that git knows, as they are now, to another folder with other times.

    Raises:
        FailedError: this is no git work tree.
    """
    for name in filter(None, checked(["git", "ls-files", "-z"]).split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(source.stat().st_mode & 0o777)
    return folder
