"""Bundles: nothing is loaded that is not exactly what the manifest names."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rille.bundle import Bundle, load_bundle, shipped_bundles, write_bundle
from rille.errors import (
    BundleError,
    CheckFailedError,
    DigestError,
    ManifestError,
    RilleError,
    SinkError,
)
from rille.network import Network

Spoil = Callable[..., Path]
MODEL, GOLDEN = "model.int8.tflite", "golden.tflite-int8.logits.bin"


def test_the_shipped_bundles_are_whole_and_small() -> None:
    names = ["mars-msl24", "moon-craters", "moon-rocks", "moon-rocks-small", "moon-scene"]
    assert sorted(shipped_bundles()) == names
    for name in shipped_bundles():
        bundle = load_bundle(name)
        assert bundle.name == name
        assert sum(map(len, bundle.files.values())) <= 4_000_000
        assert "MODEL_CARD.md" in bundle.files


def test_the_digest_names_every_file(spoil: Spoil, mars_bundle: Bundle) -> None:
    def longer(table: dict[str, Any]) -> None:
        table["summary"] += " "

    assert load_bundle(spoil(manifest=longer)).digest != mars_bundle.digest


def test_a_zip_of_the_folder_is_the_same_bundle(tmp_path: Path, mars_bundle: Bundle) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in Path(mars_bundle.where).iterdir():
            archive.write(file, file.name)
    assert load_bundle(path).digest == mars_bundle.digest


def flip(name: str, at: int = 1000) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        data = bytearray(files[name])
        data[at % len(data)] ^= 1
        files[name] = bytes(data)

    return change


@pytest.mark.parametrize(
    "name", [MODEL, "MODEL_CARD.md", "golden.0.png", "golden.tflite-int8.logits.bin"]
)
def test_one_flipped_bit_anywhere_is_refused(spoil: Spoil, name: str) -> None:
    with pytest.raises(DigestError, match=f"{name} is not the file its manifest names"):
        load_bundle(spoil(files=flip(name)))


def test_truncated_and_missing_and_grown_files_are_refused(spoil: Spoil) -> None:
    def cut(files: dict[str, bytes]) -> None:
        files[MODEL] = files[MODEL][:-1]

    def grow(files: dict[str, bytes]) -> None:
        files[MODEL] += b"x"

    def drop(files: dict[str, bytes]) -> None:
        del files[MODEL]

    for change, words in ((cut, "bytes, not"), (grow, "more than"), (drop, "is missing")):
        with pytest.raises(DigestError, match=words):
            load_bundle(spoil(files=change))


def setter(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(table: dict[str, Any]) -> None:
        inner: Any = table
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


def remover(key: str) -> Callable[[dict[str, Any]], None]:
    def change(table: dict[str, Any]) -> None:
        del table[key]

    return change


def remover_last_label(table: dict[str, Any]) -> None:
    table["labels"].pop()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setter("schema", value=99), "schema 99 is not supported"),
        (remover("schema"), "schema None is not supported"),
        (remover("labels"), "lacks the key 'labels'"),
        (setter("lables", value=[]), "no key 'lables'; did you mean 'labels'"),
        (setter("labels", value=[]), "labels: at least one"),
        (setter("labels", 1, value={"id": 0, "name": "again"}), "each with its own id"),
        (setter("labels", 0, value={"id": "0", "name": "apxs"}), "must be a whole number"),
        (setter("task", value="divination"), "task 'divination' is not known"),
        (setter("name", value="../evil"), "lower-case letters"),
        (setter("preprocess", 0, value={"op": "bgr"}), "no operation 'bgr'"),
        (setter("decision", "temperature", value=0), "temperature must be above 0"),
        (setter("decision", "abstain_below", value=1.5), "from 0 to 1"),
        (setter("decision", "temperature", value="hot"), "must be a number"),
        (setter("files", MODEL, "sha256", value="abc"), "64 hexadecimal digits"),
        (setter("files", MODEL, "bytes", value=10**12), "a file may have up to"),
        (setter("files", "../../evil", value={"bytes": 1, "sha256": "0" * 64}), "not a plain name"),
        (setter("variants", value={}), "at least one variant"),
        (setter("variants", "tflite-int8", "file", value="other.tflite"), "not among the files"),
        (setter("variants", "tflite-int8", "target", value="pickle"), "target 'pickle'"),
        (
            setter("variants", "tflite-int8", "input", "dtype", value="object"),
            "type 'object' is not supported",
        ),
        (setter("variants", "tflite-int8", "input", "shape", value=[1, -1, 4]), "not fixed"),
        (setter("variants", "tflite-int8", "input", "scale", value=0), "above 0 and finite"),
        (setter("variants", "tflite-int8", "outputs", value={}), "golden outputs"),
        (setter("task", value="segmentation"), "needs outputs 'mask'"),
        (remover_last_label, "with 23 numbers"),
        (setter("golden_images", value=["absent.png"]), "not among the files"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(spoil: Spoil, change: Any, words: str) -> None:
    with pytest.raises(ManifestError, match=words) as caught:
        load_bundle(spoil(manifest=change))
    assert "manifest.json" in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[" * 100_000, b'{"schema": NaN}', b"[]", b"\xff\xfe", b"null"]
)
def test_text_that_is_no_manifest_is_refused(spoil: Spoil, text: bytes) -> None:
    folder = spoil()
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(ManifestError):
        load_bundle(folder)


def test_a_manifest_of_absurd_length_is_not_read_to_its_end(spoil: Spoil) -> None:
    folder = spoil()
    (folder / "manifest.json").write_bytes(b" " * (2 << 20))
    with pytest.raises(ManifestError, match="longer than"):
        load_bundle(folder)


def test_a_link_is_not_followed(spoil: Spoil, mars_bundle: Bundle) -> None:
    folder = spoil()
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to(Path(mars_bundle.where) / MODEL)
    with pytest.raises(DigestError, match="is missing"):
        load_bundle(folder)


def test_places_that_are_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="did you mean 'moon-craters'"):
        load_bundle("moon-crater")
    with pytest.raises(ManifestError, match=r"holds no manifest\.json"):
        load_bundle(tmp_path)
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(BundleError, match="nor a sound zip"):
        load_bundle(tmp_path / "b.zip")


def test_zips_with_tricks_are_refused(tmp_path: Path, mars_bundle: Bundle) -> None:
    source = Path(mars_bundle.where)
    packed, twice = tmp_path / "packed.zip", tmp_path / "twice.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in source.iterdir():
            archive.write(file, file.name)
    with pytest.raises(BundleError, match="is compressed"):
        load_bundle(packed)
    with zipfile.ZipFile(twice, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for file in source.iterdir():
            archive.write(file, file.name)
        archive.writestr("manifest.json", "{}")
    with pytest.raises(BundleError, match="two members"):
        load_bundle(twice)


def test_a_network_that_contradicts_its_manifest_is_refused(spoil: Spoil) -> None:
    """The digests are right, the shapes or scales are not: nothing may run on a guess."""
    zero = setter("variants", "tflite-int8", "input", "zero_point", value=-2)
    with pytest.raises(ManifestError, match=r"its manifest states .*export the bundle again"):
        Network.load(load_bundle(spoil(manifest=zero)))
    far = setter("variants", "tflite-int8", "outputs", "logits", "index", value=3)
    with pytest.raises(ManifestError, match="has no output 3"):
        Network.load(load_bundle(spoil(manifest=far)))


def test_bytes_that_are_no_network_are_refused(spoil: Spoil) -> None:
    def nonsense(files: dict[str, bytes]) -> None:
        files[MODEL] = b"TFL3" * 1000

    with pytest.raises(ManifestError, match="not a network"):
        Network.load(load_bundle(spoil(files=nonsense, refresh=True)))


def test_the_self_test_catches_a_changed_weight(spoil: Spoil) -> None:
    """Digests brought up to date by whoever changed the network: the golden image still tells."""

    def change(files: dict[str, bytes]) -> None:
        data = bytearray(files[GOLDEN])
        data[0] = (data[0] + 40) % 256
        files[GOLDEN] = bytes(data)

    network = Network.load(load_bundle(spoil(files=change, refresh=True)))
    with pytest.raises(CheckFailedError, match="self-test failed"):
        network.self_test()


def test_every_shipped_bundle_passes_its_self_test() -> None:
    for name in shipped_bundles():
        assert Network.load(load_bundle(name)).self_test() <= 3


def test_an_unknown_variant_lists_the_known_ones(mars_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="did you mean 'tflite-int8'"):
        Network.load(mars_bundle, variant="tflite-int4")


def test_writing_replaces_the_old_bundle_whole(tmp_path: Path, mars_bundle: Bundle) -> None:
    target = tmp_path / "deep" / "bundle"
    first = write_bundle(target, mars_bundle.manifest, mars_bundle.files)
    second = write_bundle(target, replace(mars_bundle.manifest, version="9.9.9"), mars_bundle.files)
    assert first.digest == mars_bundle.digest
    assert load_bundle(target).digest == second.digest
    assert [p.name for p in target.parent.iterdir()] == ["bundle"]


def test_a_bundle_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, mars_bundle: Bundle
) -> None:
    target = tmp_path / "bundle"
    write_bundle(target, mars_bundle.manifest, mars_bundle.files)
    wrong = {**mars_bundle.files, MODEL: b"other bytes than the manifest names"}
    with pytest.raises(RilleError):
        write_bundle(target, mars_bundle.manifest, wrong)
    assert load_bundle(target).digest == mars_bundle.digest
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_no_room_to_write(tmp_path: Path, mars_bundle: Bundle) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(SinkError, match="cannot be written"):
        write_bundle(file / "bundle", mars_bundle.manifest, mars_bundle.files)


def test_random_damage_never_passes(spoil: Spoil, mars_bundle: Bundle) -> None:
    """300 random changes to any byte of any file: each is refused, none crashes."""
    import random

    dice = random.Random(4)
    good = spoil()
    names = sorted(p.name for p in good.iterdir())
    for _ in range(300):
        name = dice.choice(names)
        path = good / name
        before = path.read_bytes()
        data = bytearray(before)
        kind = dice.randrange(3)
        at = dice.randrange(len(data))
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del data[at:]
        else:
            data[at:at] = bytes(dice.randrange(256) for _ in range(4))
        path.write_bytes(data)
        try:
            loaded = load_bundle(good)
        except RilleError:
            pass
        else:
            # Only a change of text inside the manifest can pass, and it changes the digest.
            assert name == "manifest.json" and loaded.digest != mars_bundle.digest
            assert json.loads(data) != json.loads(before) or loaded.manifest is not None
        path.write_bytes(before)
    shutil.rmtree(good)
