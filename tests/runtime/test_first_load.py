"""A network that ends the process which loads it, in a bundle whose digests are all right."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rille.bundle import Bundle, file_entries, install, load_bundle, write_bundle
from rille.cli import first_load as module
from rille.cli.first_load import first_load
from rille.errors import BundleError


@pytest.fixture(autouse=True)
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rille" / "tried.json"


@pytest.fixture
def foreign(mars_bundle: Bundle, tmp_path: Path) -> Bundle:
    """The shipped network under another version, in a folder."""
    manifest = replace(mars_bundle.manifest, version="9.9.9")
    return write_bundle(tmp_path / "foreign", manifest, mars_bundle.files)


def test_it_is_tried_once_for_each_digest(
    foreign: Bundle, tried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_load(foreign, "")
    (key,) = json.loads(tried.read_text())
    assert key.startswith(f"{foreign.digest} tflite-int8 ")
    monkeypatch.setattr(module, "_tried_aside", lambda *words: BundleError("called again"))
    first_load(foreign, "")
    tried.write_text("[[[")
    with pytest.raises(BundleError, match="called again"):
        first_load(foreign, "")


def test_what_is_vouched_for_is_loaded_at_once(
    mars_bundle: Bundle, foreign: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_tried_aside", lambda *words: BundleError("not vouched for"))
    first_load(mars_bundle, "")
    first_load(replace(foreign, trusted=("a" * 64,)), "")
    install(foreign, tmp_path / "site", lambda slot: None)
    installed = load_bundle(tmp_path / "site")
    first_load(installed, "")
    with pytest.raises(BundleError, match="not vouched for"):
        first_load(replace(installed, digest="b" * 64), "")


def test_a_network_that_crashes_does_not_end_the_run(
    rille: Callable[..., int],
    foreign: Bundle,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    """The engine itself is replaced by one that aborts: which bytes do so changes with LiteRT."""
    site = tmp_path / "code"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        "import ai_edge_litert.interpreter as engine\n"
        "if 'trial' in sys.orig_argv:\n"
        "    engine.Interpreter.allocate_tensors = lambda self: os.abort()\n"
    )
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    words = ["run", "--source", f"images://{image_folder}", "--out", tmp_path / "out"]
    words += ["--set", f"classify.bundle={foreign.where}", "--set", 'segment.bundle=""']
    assert rille(*words) == BundleError.exit_code
    said = capsys.readouterr().err
    assert "crashed (SIGABRT)" in said and "Traceback" not in said


def test_a_network_that_refuses(foreign: Bundle, tmp_path: Path) -> None:
    files = {**foreign.files, "model.int8.tflite": b"TFL3" * 100}
    manifest = replace(foreign.manifest, files=file_entries(files))
    spoilt = write_bundle(tmp_path / "spoilt", manifest, files)
    with pytest.raises(BundleError, match="not a network"):
        first_load(spoilt, "")
