"""A share of `make fuzz`: what is read from outside is taken, or refused by an error of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz.broken import break_on
from tests.fuzz.catalogue import TARGETS
from tests.fuzz.hunt import hunt
from tests.fuzz.worker import dice_for
from tests.runtime.recorded import record, worked

from rille.backends import open_backend
from rille.bundle import Bundle, load_bundle
from rille.config import parse_config
from rille.errors import BundleError, ConfigError, ManifestError, SourceError, SourceNotFoundError
from rille.recording import open_recording
from rille.seu.flatbuffer import weight_spans
from rille.sources.base import parse_uri

ROOT = Path(__file__).resolve().parent.parent.parent
INPUTS = int(os.environ.get("RILLE_FUZZ_INPUTS", "2000"))


@pytest.mark.slow
def test_nothing_breaks_on_nonsense(tmp_path: Path) -> None:
    """Names the words that make a failing input again."""
    words = ["--inputs", str(INPUTS), "--keep", str(tmp_path / "found"), "--nice", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["runtime", "."])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failures" in done.stdout


def test_an_input_can_be_made_again(tmp_path: Path) -> None:
    target = TARGETS["config"]
    corpus = target.corpus(tmp_path)
    made = [target.spoil(corpus, dice_for(5, target.name, k)) for k in range(200)]
    again = [target.spoil(corpus, dice_for(5, target.name, k)) for k in range(200)]
    assert made == again and len(set(made)) > 150


def test_a_length_beyond_all_memory(tmp_path: Path) -> None:
    """Found by `make fuzz`: a chunk that states 2^63 bytes and more raised OverflowError."""
    path = record(tmp_path / "a.mcap", [worked(0)])
    content = bytearray(path.read_bytes())
    name = content.index(b"zstd") if b"zstd" in content else content.index(b"lz4")
    at = name + (4 if content[name : name + 4] == b"zstd" else 3)
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(SourceError, match="damaged"):
        list(open_recording(path).frames())


def test_brackets_without_end(tmp_path: Path) -> None:
    """Found by `make fuzz`: 2000 brackets in a configuration raised RecursionError."""
    text = "[output]\nsinks = " + "[" * 3000
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse_config(text, "run.toml", [])
    with pytest.raises(ConfigError):
        parse_config("", "run.toml", ["output.sinks=" + "[" * 3000])


def test_a_name_that_no_file_can_have() -> None:
    """Found by `make fuzz`: a source of 5000 letters raised OSError; so did a bundle."""
    with pytest.raises(SourceNotFoundError, match="neither a file"):
        parse_uri("x" * 5000)
    with pytest.raises(BundleError, match="no such bundle"):
        load_bundle("x" * 5000)


def test_a_tensor_whose_name_is_no_text(craters_bundle: Bundle) -> None:
    """Found by `make fuzz`: LiteRT raised UnicodeDecodeError when asked for the inputs."""
    _, form = craters_bundle.variant()
    model = craters_bundle.files[form.file]
    names = [span.name for span in weight_spans(model)] + ["serving_default_input:0"]
    spoilt = model
    for name in names:
        spoilt = spoilt.replace(name.encode(), b"\xee" * len(name))
    assert spoilt != model
    with pytest.raises(ManifestError, match="cannot be set up"):
        open_backend(spoilt, form, threads=1)


def test_the_hunt_notices_what_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: what raises, dies and hangs is told apart from what refuses."""
    monkeypatch.setattr("tests.fuzz.hunt.LIMIT_S", 2.0)
    bag = hunt("broken", 1, 0, 6, break_on)
    assert "ZeroDivisionError" in bag.failures[1]
    assert bag.deaths[2] == "SIGSEGV" and "no answer" in bag.deaths[4]
    assert (bag.taken, bag.refused) == (2, 1)
