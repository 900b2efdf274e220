"""What is released is refused when something is wrong with it, and bounds and wheels resolve."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
from pathlib import Path

import pytest
import tomllib
from release.contents import (
    SHIPPED_BUNDLES,
    SOURCE_FILES,
    SOURCE_FOLDERS,
    source_troubles,
    wheel_troubles,
)
from release.kernels import FOLDER, TARGETS, build, name_of
from release.tools import FailedError, checked

ROOT = Path(__file__).resolve().parent.parent
POINTS = (
    b"[console_scripts]\nrille = rille.cli:main\n\n[rille.commands]\ntrain = rille_train.cli:main\n"
)
ABOUT = b"Name: rille\nRequires-Python: >=3.10\nLicense-Expression: Apache-2.0\n"


@pytest.fixture
def wheel() -> dict[str, bytes]:
    """A wheel that is as it should be, in miniature."""
    files = {"rille/cli/__init__.py": b"", "rille_train/cli.py": b"", "rille_export/py.typed": b""}
    for bundle in SHIPPED_BUNDLES:
        network = bundle.encode() + b"\xff\x00"
        entry = {"model.tflite": {"sha256": hashlib.sha256(network).hexdigest()}}
        files[f"rille/bundles/{bundle}/model.tflite"] = network
        files[f"rille/bundles/{bundle}/manifest.json"] = json.dumps({"files": entry}).encode()
    files["rille-1.dist-info/entry_points.txt"] = POINTS
    files["rille-1.dist-info/METADATA"] = ABOUT
    files["rille-1.dist-info/licenses/LICENSE"] = b"Apache"
    return files


def known(wheel: dict[str, bytes]) -> list[str]:
    """The files of the work tree that the wheel is made of."""
    homes = {"rille": "runtime", "rille_train": "train", "rille_export": "export"}
    return [f"{homes[n.split('/')[0]]}/{n}" for n in wheel if ".dist-info/" not in n]


def test_a_good_wheel_passes(wheel: dict[str, bytes]) -> None:
    assert wheel_troubles(wheel, known(wheel)) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rille/frames.npz", b"\x93NUMPY\x00", "looks like data"),
        ("rille/labels.csv", b"a,b\n1,2\n", "looks like data"),
        ("rille/photo.png", b"\x89PNG\xff", "looks like data"),
        ("rille/test_frame.py", b"", "is a test"),
        ("tests/conftest.py", b"", "is a test"),
        ("rille/large.py", b"#" * (8 * 2**20 + 1), "bytes, at most"),
    ],
)
def test_what_has_no_place_in_a_wheel_is_named(
    wheel: dict[str, bytes], name: str, content: bytes, said: str
) -> None:
    # Even if it was committed.
    listed = [*known(wheel), f"runtime/{name}"]
    troubles = wheel_troubles({**wheel, name: content}, listed)
    assert any(name in line and said in line for line in troubles)


def test_a_wheel_holds_what_git_knows_and_nothing_else(wheel: dict[str, bytes]) -> None:
    listed = known(wheel)
    left_over = wheel_troubles({**wheel, "rille/scratch.py": b""}, listed)
    assert left_over == ["the wheel: rille/scratch.py is in it and git does not know it"]
    assert wheel_troubles(wheel, [*listed, "runtime/rille/frame.py"]) == [
        "the wheel: rille/frame.py is missing"
    ]


def test_a_bundle_that_is_spoilt_or_missing_is_named(wheel: dict[str, bytes]) -> None:
    listed = known(wheel)
    spoilt = {**wheel, "rille/bundles/moon-rocks/model.tflite": b"\xff\x01"}
    assert wheel_troubles(spoilt, listed) == [
        "bundle moon-rocks: model.tflite is not the file its manifest states"
    ]
    del wheel["rille/bundles/moon-scene/manifest.json"]
    assert any(
        line.startswith("bundle moon-scene: no manifest") for line in wheel_troubles(wheel, listed)
    )


def test_entry_points_and_metadata_are_held_to_account(wheel: dict[str, bytes]) -> None:
    listed = known(wheel)
    wheel["rille-1.dist-info/entry_points.txt"] = (
        b"[rille.commands]\ntrain = rille_train.gone:main\n"
    )
    wheel["rille-1.dist-info/METADATA"] = b"Name: rille\n"
    del wheel["rille-1.dist-info/licenses/LICENSE"]
    said = "\n".join(wheel_troubles(wheel, listed))
    for part in ("no command `rille`", "rille_train.gone", "Requires-Python", "licence text"):
        assert part in said


def test_a_source_archive_needs_its_licence_and_no_data(wheel: dict[str, bytes]) -> None:
    files = {f"runtime/{n}": data for n, data in wheel.items() if n.startswith("rille/")}
    files |= {"pyproject.toml": b"", "PKG-INFO": b"", "LICENSE": b"", "docs/a.jpg": b"\xff\xd8"}
    assert source_troubles(files, list(files)) == []
    del files["LICENSE"]
    files["tests/drive.mcap"] = b"\x89MCAP"
    said = "\n".join(source_troubles(files, list(files)))
    assert "no LICENSE" in said and "tests/drive.mcap looks like data" in said


def test_the_table_of_requirements_is_no_data(wheel: dict[str, bytes]) -> None:
    files = {f"runtime/{n}": data for n, data in wheel.items() if n.startswith("rille/")}
    files |= {"pyproject.toml": b"", "LICENSE": b"", "docs/requirements.csv": b"id,test\n"}
    assert source_troubles(files, list(files)) == []
    files["docs/labels.csv"] = b"a,b\n"
    assert source_troubles(files, list(files)) == [
        "the source archive: docs/labels.csv looks like data"
    ]


def test_a_source_archive_is_asked_to_hold_what_it_is_built_to_hold() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert {*build["targets"]["sdist"]["include"]} == {
        f"/{name}" for name in (*SOURCE_FOLDERS, *SOURCE_FILES, "*.md")
    }


def test_a_tool_that_fails_is_quoted() -> None:
    with pytest.raises(FailedError, match=r"ended with 3:\nno such thing"):
        checked(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_each_target_of_the_makefile_leads_to_a_module() -> None:
    ours = r"-m ((?:release|tests|benchmarks)(?:\.\w+)*)"
    modules = re.findall(ours, (ROOT / "Makefile").read_text())
    assert set(modules) == {
        "benchmarks",
        "release.dist",
        "release.kernels",
        "release.matrix",
        "release.bounds",
        "tests.aarch64.prove",
        "tests.fuzz",
        "tests.soak",
    }
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize("kind", TARGETS)
def test_the_compiled_kernels_are_those_of_the_sources(kind: str, tmp_path: Path) -> None:
    """To the bit, so that nobody has to trust a library that came ready made."""
    pytest.importorskip("ziglang", reason="the compiler is not installed: pip install ziglang")
    assert build(kind, tmp_path) == (FOLDER / name_of(kind)).read_bytes(), "run: make kernels"


def test_every_processor_has_its_kernels_and_there_are_no_others() -> None:
    assert {path.name for path in FOLDER.glob("*.so")} == {name_of(kind) for kind in TARGETS}


@pytest.mark.slow
def test_no_kernel_reads_or_writes_beyond_what_it_is_given(tmp_path: Path) -> None:
    """Their tests once more, compiled to stop at the first such access, or at any overflow."""
    watchers = [_library_of_gcc(f"lib{name}.so") for name in ("asan", "ubsan")]
    for folder in ("runtime", "tests/runtime"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("bundles"))
    for file in (
        "pyproject.toml",
        "tests/conftest.py",
        "tests/requirements.py",
        "tests/small_bundle.py",
    ):
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.jpg"))
    kernels = tmp_path / "runtime/rille/kernels"
    flags = ["-O1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-math-errno"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    for kind, processor in (("x86_64", "x86-64"), ("x86_64_v3", "haswell")):
        out = ["-o", name_of(kind), *sorted(path.name for path in kernels.glob("*.c"))]
        checked(["gcc", f"-march={processor}", *flags, *out], folder=kernels)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not c_library"]
    tests = ("test_kernels", "test_kernels_masks")
    watched = {"LD_PRELOAD": " ".join(watchers), "ASAN_OPTIONS": "detect_leaks=0"}
    said = checked(
        [sys.executable, *words, *(f"tests/runtime/{name}.py" for name in tests)],
        folder=tmp_path,
        environment={**os.environ, **watched},
    )
    assert " passed" in said


def _library_of_gcc(name: str) -> str:
    """Return the path of a library of the compiler's; skip where there is none."""
    if platform.machine() != "x86_64" or shutil.which("gcc") is None:
        pytest.skip("no gcc for x86-64 here")
    path = checked(["gcc", f"-print-file-name={name}"]).strip()
    if not Path(path).is_absolute():
        pytest.skip(f"gcc has no {name} here")
    return path
