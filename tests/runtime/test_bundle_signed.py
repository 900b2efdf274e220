"""Signed bundles, packed ones, and the command that makes both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the signing extra is not installed")

from rille.bundle import Bundle, load_bundle, make_key, pack, read_public_key, sign
from rille.errors import ConfigError, SignatureError

Rille = Callable[..., int]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "mine.key")
    return tmp_path / "mine.key"


@pytest.fixture
def signed(mars_bundle: Bundle, key: Path, tmp_path: Path) -> Path:
    return Path(sign(mars_bundle, key, tmp_path / "signed").where)


def trusted(key: Path) -> list[str]:
    return [read_public_key(f"{key}.pub")]


def test_a_signed_bundle_is_the_same_bundle(
    signed: Path, key: Path, mars_bundle: Bundle, tmp_path: Path
) -> None:
    assert load_bundle(signed, trusted(key)).digest == mars_bundle.digest
    assert load_bundle(signed).digest == mars_bundle.digest
    pack(load_bundle(signed), tmp_path / "one.zip")
    pack(load_bundle(tmp_path / "one.zip"), tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert load_bundle(tmp_path / "one.zip", trusted(key)).digest == mars_bundle.digest


def test_what_nobody_trusted_signed_is_refused(
    signed: Path, key: Path, mars_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(SignatureError, match="not signed, and only signed bundles"):
        load_bundle(mars_bundle.where, trusted(key))
    with pytest.raises(SignatureError, match="not signed"):
        load_bundle("mars-msl24", trusted(key))  # also where it comes with rille
    make_key(tmp_path / "other.key")
    with pytest.raises(SignatureError, match="which is not trusted here"):
        load_bundle(signed, trusted(tmp_path / "other.key"))
    both = [*trusted(tmp_path / "other.key"), *trusted(key)]
    assert load_bundle(signed, both).name == "mars-msl24"


def test_a_change_after_signing_is_noticed(signed: Path, key: Path) -> None:
    """Also one that leaves the manifest whole: another digest for a file put in its place."""
    manifest = signed / "manifest.json"
    table = json.loads(manifest.read_text())
    table["decision"]["abstain_below"] = 0.01
    manifest.write_text(json.dumps(table))
    assert load_bundle(signed).manifest.decision.abstain_below == 0.01
    with pytest.raises(SignatureError, match="changed since it was signed"):
        load_bundle(signed, trusted(key))


def test_the_signature_of_another_bundle_is_none(signed: Path, key: Path, tmp_path: Path) -> None:
    other = Path(sign(load_bundle("moon-scene"), key, tmp_path / "other").where)
    shutil.copy(other / "manifest.sig", signed / "manifest.sig")
    with pytest.raises(SignatureError, match="changed since it was signed"):
        load_bundle(signed, trusted(key))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[1]",
        b"{}",
        b"\xff\xfe",
        b'{"key": 5, "signature": "00"}',
        b'{"key": "zz", "signature": "' + b"00" * 64 + b'"}',
        b"[" * 3000,
        b" " * 5000,
    ],
)
def test_a_signature_file_that_is_none(
    signed: Path, key: Path, text: bytes, rille: Rille, capsys: pytest.CaptureFixture[str]
) -> None:
    (signed / "manifest.sig").write_bytes(text)
    with pytest.raises(SignatureError, match="is not a signature"):
        load_bundle(signed, trusted(key))
    for verb in ("verify", "inspect"):  # also where nobody asks for a key
        assert rille("bundle", verb, signed) == 4
        assert "is not a signature" in capsys.readouterr().err


def test_keys_are_private_and_never_overwritten(key: Path, tmp_path: Path) -> None:
    assert key.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="a key is never overwritten"):
        make_key(key)
    (tmp_path / "bad.key").write_text("not a key")
    for path in (tmp_path / "bad.key", tmp_path / "none.key", tmp_path):
        with pytest.raises(ConfigError, match="not a key"):
            sign(load_bundle("moon-scene"), path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_runtime_that_asks_for_a_key_takes_nothing_else(
    rille: Rille, key: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "run", "--source", f"images://{image_folder}", "--out", tmp_path / "run",
        "--set", "segment.bundle=", "--set", f'trust.keys=["{key}.pub"]', "--set", "output.limit=2",
    ]  # fmt: skip
    assert rille(*words, "--set", "classify.bundle=moon-scene") == 4
    assert "only signed bundles are accepted here" in capsys.readouterr().err
    copy = sign(load_bundle("moon-scene"), key, tmp_path / "copy").where
    assert rille(*words, "--set", f"classify.bundle={copy}") == 0


def test_the_command(
    rille: Rille, tmp_path: Path, capsys: pytest.CaptureFixture[str], mars_bundle: Bundle
) -> None:
    key, copy, file = tmp_path / "k", tmp_path / "copy", tmp_path / "b.zip"
    assert rille("bundle", "key", key) == 0
    public = capsys.readouterr().out.split()[-1]
    assert public == read_public_key(f"{key}.pub")
    assert rille("bundle", "sign", "mars-msl24", "--key", key, "--out", copy) == 0
    assert rille("bundle", "pack", copy, "--out", file) == 0
    capsys.readouterr()
    assert rille("bundle", "verify", file, "--key", public) == 0
    said = capsys.readouterr().out
    assert mars_bundle.digest in said and f"signed by {public}" in said
    assert "golden answers within 0 of 3" in said
    assert rille("bundle", "inspect", "mars-msl24") == 0
    said = capsys.readouterr().out
    for words in ("not signed", "drill holes", "abstains", "XNNPACK part", "inferences here"):
        assert words in said
    assert rille("bundle", "inspect", "mars-msl24", "--json") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "mars-msl24"
    assert rille("bundle", "verify", "mars-msl24", "--key", f"{key}.pub") == 4
    assert rille("bundle", "pack", "mars-msl24", "--out", tmp_path / "no" / "b.zip") == 3
    assert "cannot be written" in capsys.readouterr().err
