"""`make dist`: build, check, try and list what is released, in `dist/`."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from release.contents import read_source_archive, read_wheel, source_troubles, wheel_troubles
from release.fresh import try_wheel
from release.tools import ROOT, FailedError, checked
from release.wheel import build, copy_committed

DIST = ROOT / "dist"


def main() -> int:
    """Make everything; print what was done. Returns 0, or 1 with what was wrong on stderr."""
    try:
        shutil.rmtree(DIST, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            made = build(ROOT, Path(scratch) / "first")
            _check(made)
            _build_again(made, Path(scratch))
            _write_bill(try_wheel(made[0]), Path(scratch))
            DIST.mkdir()
            for path in [*made, *Path(scratch).glob("*.cdx.json")]:
                shutil.copy(path, DIST)
    except FailedError as wrong:
        print(f"dist: {wrong}", file=sys.stderr)
        return 1
    sums = [f"{_digest(path)}  {path.name}" for path in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="ascii")
    print("\n".join(sums))
    return 0


def _build_again(first: list[Path], scratch: Path) -> None:
    """Build from a copy of the tree with other times, and from the source archive, and compare."""
    second = build(copy_committed(scratch / "elsewhere"), scratch / "second")
    with_source = tempfile.mkdtemp(dir=scratch)
    with tarfile.open(first[1]) as archive:
        # Debian 12's Python 3.11.2 has no filters yet, and does not look at this.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(with_source)
    (unpacked,) = Path(with_source).iterdir()
    third = build(unpacked, scratch / "third", wheel_only=True)
    for one, other, whence in (
        (first[0], second[0], "another folder"),
        (first[1], second[1], "another folder"),
        (first[0], third[0], "the source archive"),
    ):
        if one.read_bytes() != other.read_bytes():
            raise FailedError(f"{one.name} built from {whence} is not the same to the bit")
    print("built three times (here, from another folder, from the source archive): the same bits")


def _check(made: list[Path]) -> None:
    """Check contents and metadata."""
    known = [name for name in checked(["git", "ls-files", "-z"]).split("\0") if name]
    wheel, source = read_wheel(made[0]), read_source_archive(made[1])
    troubles = wheel_troubles(wheel, known) + source_troubles(source, known)
    if troubles:
        raise FailedError("\n".join(troubles))
    checked([sys.executable, "-m", "twine", "check", "--strict", *map(str, made)])
    print(f"contents and metadata good: {len(wheel)} files, {len(source)} in the source archive")


def _write_bill(python: Path, folder: Path) -> None:
    """Write the bill of materials of the environment that the wheel was tried in (CycloneDX)."""
    words = ["cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON"]
    bill = checked(
        [sys.executable, "-m", *words, "--pyproject", str(ROOT / "pyproject.toml"), str(python)]
    )
    wheel = next((folder / "first").glob("*.whl"))
    name = "-".join(wheel.name.split("-")[:2])
    (folder / f"{name}.cdx.json").write_text(bill, encoding="utf-8")
    print("in a fresh environment `rille doctor` said GO and `rille run` worked on 5 of 5 frames")
    print(f"bill of materials: {len(json.loads(bill)['components'])} components")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
