"""What is in the wheel, and that set-up on a bare machine is what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built as pip would build it; hatchling skips a mistyped package silently."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    packages = {t for t in tops if not t.endswith(".dist-info")}
    assert packages == {"rille", "rille_train", "rille_export"}
    for package in packages:
        assert f"{package}/py.typed" in wheel.namelist()


def test_every_module_of_the_source_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for folder in ("runtime", "train", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            assert str(path.relative_to(ROOT / folder)) in names


def test_bundles_and_recipes_travel_along(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for bundle in ("mars-msl24", "moon-craters"):
        assert f"rille/bundles/{bundle}/manifest.json" in names
        assert f"rille/bundles/{bundle}/model.int8.tflite" in names
        assert f"rille_train/recipes/{bundle}.toml" in names
    for file in (ROOT / "runtime/rille/service").glob("[!_]*"):
        assert file.is_dir() or f"rille/service/{file.name}" in names
    assert not any(name.endswith((".jpg", ".JPG", ".keras", ".npz")) for name in names)


def test_every_verb_outside_the_runtime_leads_somewhere() -> None:
    verbs = PROJECT["project"]["entry-points"]["rille.commands"]
    assert set(verbs) == {"train", "search", "explain", "export"}
    for target in verbs.values():
        module, _, name = target.partition(":")
        (path,) = ROOT.glob(f"*/{module.replace('.', '/')}.py")
        assert f"def {name}(arguments" in path.read_text()


def test_the_runtime_stands_on_few_dependencies() -> None:
    names = [re.split(r"[<>=;\[ ]", d)[0] for d in PROJECT["project"]["dependencies"]]
    assert len(names) <= 6
    assert not {"tensorflow", "keras", "torch", "jax", "onnx"} & set(names)


def test_the_version_is_the_same_everywhere(wheel: zipfile.ZipFile) -> None:
    import rille

    assert f"rille-{rille.__version__}.dist-info/METADATA" in wheel.namelist()
    assert f"## {rille.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_makefile_names_what_a_bare_machine_lacks(tmp_path: Path) -> None:
    """Without a usable Python, make says in one line what to install."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "make", "test", "echo"):
        for place in ("/usr/bin", "/bin"):
            if (Path(place) / tool).exists() and not (tools / tool).exists():
                (tools / tool).symlink_to(Path(place) / tool)
    done = subprocess.run(
        ["make", "-B", "python"],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:{tools}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "sudo apt install python3 python3-venv" in done.stderr
    no_venv = tmp_path / "novenv"
    no_venv.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *) exit 0;; esac\n')
    no_venv.chmod(0o755)
    done = subprocess.run(
        ["make", "python", f"PYTHON={no_venv}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "sudo apt install python3-venv" in done.stderr
