"""What may and must be in a wheel and in a source archive.

Build tools say nothing when a folder's name is mistyped, and take along what happens to lie in a
folder. So an archive has to hold exactly the files that git knows, no data among them, and the
bundles as their manifests state them.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

PACKAGES = {"rille": "runtime", "rille_train": "train", "rille_export": "export"}
"""Import package -> the folder it is in."""
SHIPPED_BUNDLES = ("mars-msl24", "moon-craters", "moon-rocks", "moon-rocks-small", "moon-scene")
SOURCE_FOLDERS = (
    *("runtime", "train", "export", "benchmarks", "tests", "docs", "docker", "release"),
    ".github",  # its workflows and forms are tested
)
SOURCE_FILES = {"LICENSE", "Makefile", ".dockerignore", ".pre-commit-config.yaml"}
"""Beside those, and beside the pages (`*.md`), what a source archive takes from the root."""
_REQUIREMENTS = "docs/requirements.csv"
"""A table that is no data: what is promised, and which test shows it."""
_TABLES = {".csv", ".jsonl", ".tsv", ".ipynb"}
_IN_BUNDLES = {".tflite", ".png", ".bin"}
_MOST_BYTES = 8 * 2**20
"""Of one file; the largest network that comes with rille has 3.2 MB."""

Archive = Mapping[str, bytes]
"""Path inside the archive -> content."""


def read_wheel(path: Path) -> Archive:
    """Read a wheel into memory."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_source_archive(path: Path) -> Archive:
    """Read a source archive into memory, without the folder that everything in it is in."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            handle = archive.extractfile(member)
            if handle is not None:
                found[member.name.partition("/")[2]] = handle.read()
    return found


def wheel_troubles(wheel: Archive, known: Iterable[str]) -> list[str]:
    """Say what is wrong with a wheel.

    Args:
        wheel: its files.
        known: the files that git knows, from the root of the work tree.

    Returns:
        One line for each trouble; empty if there is none.
    """
    code = {n: data for n, data in wheel.items() if ".dist-info/" not in n}
    asked = {
        name.partition("/")[2]
        for name in known
        for package, folder in PACKAGES.items()
        if name.startswith(f"{folder}/{package}/")
    }
    return [
        *_differences("the wheel", set(code), asked),
        *_data("the wheel", code),
        *_tests(code),
        *_bundles(code, "rille/bundles"),
        *_entry_points(wheel),
        *_metadata(wheel),
    ]


def source_troubles(source: Archive, known: Iterable[str]) -> list[str]:
    """Say what is wrong with a source archive; arguments and result as in `wheel_troubles`."""
    asked = {
        name
        for name in known
        if name.split("/")[0] in SOURCE_FOLDERS
        or ("/" not in name and (name.endswith(".md") or name in SOURCE_FILES))
    }
    always = {"PKG-INFO", "pyproject.toml", ".gitignore"}
    missing = [f"the source archive: no {name}" for name in ("pyproject.toml", "LICENSE")]
    return [
        *(line for line in missing if line.rpartition(" ")[2] not in source),
        *_differences("the source archive", set(source) - always, asked - always),
        *_data("the source archive", source),
        *_bundles(source, "runtime/rille/bundles"),
    ]


def _differences(what: str, found: set[str], asked: set[str]) -> list[str]:
    return [
        *(f"{what}: {name} is in it and git does not know it" for name in sorted(found - asked)),
        *(f"{what}: {name} is missing" for name in sorted(asked - found)),
    ]


def _data(what: str, files: Archive) -> list[str]:
    """Data sets, trainings and recordings have no place in what is released."""
    found = []
    for name, content in sorted(files.items()):
        path = PurePosixPath(name)
        allowed = _is_text(content) and path.suffix not in _TABLES
        allowed |= path.suffix in _IN_BUNDLES and "bundles" in path.parts
        allowed |= path.suffix == ".so" and path.parts[-3:-1] == ("rille", "kernels")
        allowed |= path.suffix == ".jpg" and path.parts[0] == "docs"
        allowed |= name == _REQUIREMENTS and _is_text(content)
        if not allowed:
            found.append(f"{what}: {name} looks like data")
        if len(content) > _MOST_BYTES:
            found.append(f"{what}: {name} has {len(content)} bytes, at most {_MOST_BYTES}")
    return found


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _tests(files: Archive) -> list[str]:
    return [
        f"the wheel: {name} is a test"
        for name in sorted(files)
        if "tests" in PurePosixPath(name).parts
        or PurePosixPath(name).name.startswith(("test_", "conftest"))
    ]


def _bundles(files: Archive, folder: str) -> list[str]:
    """Every file that a manifest names is there, with the digest that it states."""
    found = []
    for bundle in SHIPPED_BUNDLES:
        manifest = files.get(f"{folder}/{bundle}/manifest.json")
        if manifest is None:
            found.append(f"bundle {bundle}: no manifest.json in {folder}")
            continue
        for name, entry in json.loads(manifest)["files"].items():
            content = files.get(f"{folder}/{bundle}/{name}", b"")
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                found.append(f"bundle {bundle}: {name} is not the file its manifest states")
    return found


def _about(wheel: Archive, name: str) -> str:
    paths = [path for path in wheel if path.endswith(f".dist-info/{name}")]
    return wheel[paths[0]].decode() if paths else ""


def _entry_points(wheel: Archive) -> list[str]:
    points = configparser.ConfigParser()
    points.read_string(_about(wheel, "entry_points.txt"))
    found = []
    if not points.has_option("console_scripts", "rille"):
        found.append("the wheel: no command `rille`")
    for group in points.sections():
        for name, target in points.items(group):
            path = target.partition(":")[0].replace(".", "/")
            if not {f"{path}.py", f"{path}/__init__.py"} & set(wheel):
                found.append(f"the wheel: entry point {name} leads to {target}, which is not there")
    return found


def _metadata(wheel: Archive) -> list[str]:
    text = _about(wheel, "METADATA")
    wanted = ("Name: rille", "Requires-Python: >=3.10", "License-Expression: Apache-2.0")
    found = [f"the wheel's metadata: no line `{line}`" for line in wanted if line not in text]
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel):
        found.append("the wheel: no licence text")
    return found
