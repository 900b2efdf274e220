"""Bundles that are damaged, incomplete, dishonest or somebody else's; before the start or later."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rille.bundle import load_bundle
from rille.bundle.install import install
from rille.bundle.write import copy
from rille.hil.scenario import Fault
from rille.hil.target import Setup, Target
from rille.hil.upset import Upset
from rille.site.slots import SLOTS

_MANIFEST = "manifest.json"
_STRANGER = "ab" * 32
"""A public key that signed nothing."""

Table = dict[str, Any]


class SpoiltBundle(Upset):
    """The device's first bundle, copied and spoilt before it starts."""

    def prepare(self, setup: Setup) -> None:
        """Put the spoilt copy in the bundle's place."""
        folder = setup.folder / "bundle"
        if self.fault.value == "unsigned":
            setup.settings.append(f"trust.keys={json.dumps([_STRANGER])}")
            return
        bundle = copy(load_bundle(setup.bundles[0]), folder)
        _, variant = bundle.variant()
        spoil(folder, variant.file, self.fault)
        setup.bundles[0] = str(folder)


def spoil(folder: Path, network: str, fault: Fault) -> None:
    """Spoil the bundle in a folder as a fault says.

    Args:
        folder: of the bundle.
        network: name of its network's file.
        fault: of the component "model".
    """
    manifest, file = folder / _MANIFEST, folder / network
    data = file.read_bytes()
    if fault.type == "off":
        {"bundle": lambda: shutil.rmtree(folder), "file": file.unlink, "manifest": manifest.unlink}[
            fault.value
        ]()
    elif fault.value in ("bit", "cut", "random", "weights"):
        file.write_bytes(_damaged(data, fault.value))
        if fault.value in ("random", "weights"):
            _refresh(manifest, file)
    elif fault.value == "symlink":
        file.rename(folder / "elsewhere")
        file.symlink_to("elsewhere")
    elif fault.value in _TEXTS:
        manifest.write_bytes(_TEXTS[fault.value](manifest.read_bytes()))
    else:
        table: Table = json.loads(manifest.read_text())
        _CHANGES[fault.value](table, network)
        manifest.write_text(json.dumps(table))


def _damaged(data: bytes, how: str) -> bytes:
    """Return a network with one bit flipped, cut short, made of noise, or with other weights."""
    middle = len(data) // 2
    if how == "bit":
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    if how == "cut":
        return data[:middle]
    noise = np.random.default_rng(1)
    if how == "random":
        return noise.bytes(len(data))
    # The longest stretch without four zeros in a row is weights: structure is full of them.
    weights = max(data.split(bytes(4)), key=len)
    start, count = data.index(weights) + len(weights) // 4, len(weights) // 2
    return data[:start] + noise.bytes(count) + data[start + count :]


def _refresh(manifest: Path, file: Path) -> None:
    """Bring a digest up to date, as somebody with bad intentions would."""
    table: Table = json.loads(manifest.read_text())
    data = file.read_bytes()
    table["files"][file.name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.write_text(json.dumps(table))


_TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "manifest": lambda text: text[: len(text) // 2],
    "nested": lambda text: b"[" * 100_000,
    "nan": lambda text: text.replace(b'"temperature": ', b'"temperature": NaN, "was": ', 1),
}


def _other_shape(table: Table, network: str) -> None:
    for variant in table["variants"].values():
        variant["input"]["shape"] = [1, 96, 96, variant["input"]["shape"][-1]]


_CHANGES: dict[str, Callable[[Table, str], Any]] = {
    "labels": lambda table, network: table["labels"].pop(),
    "task": lambda table, network: table.update(task="segmentation"),
    "shape": _other_shape,
    "schema": lambda table, network: table.update(schema=99),
    "preprocess": lambda table, network: table.update(
        preprocess=[op for op in table["preprocess"] if op["op"] not in ("clahe", "equalize")]
    ),
    "path": lambda table, network: table["files"].update(
        {"../../evil": table["files"].pop(network)}
    ),
}


class SpoiltSlot(Upset):
    """A bundle that is installed beside the one that flies, and is no good; SIGHUP asks for it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._site = Path()

    def prepare(self, setup: Setup) -> None:
        """Fly the device's first bundle from a folder with slots."""
        self._site = setup.folder / "site"
        install(load_bundle(setup.bundles[0]), self._site, lambda slot: None)
        setup.bundles[0] = str(self._site)

    def begin(self, target: Target) -> None:
        """Fill the other slot behind the installer's back, and ask the device to look."""
        assert target.pid is not None
        path = self._site / SLOTS
        table: Table = json.loads(path.read_text())
        if self.fault.value == "table":
            path.write_text('{"schema": 1, "current": ')
        else:
            other = "moon-rocks" if self.fault.type == "wrong" else self._site / table["current"]
            bundle = copy(load_bundle(other), self._site / "b")
            entry = {**table["slots"]["a"], "digest": bundle.digest, "name": bundle.name}
            if self.fault.type == "garbage":
                _, variant = bundle.variant()
                file = self._site / "b" / variant.file
                file.write_bytes(_damaged(file.read_bytes(), "bit"))
            table = {**table, "current": "b", "slots": {**table["slots"], "b": entry}}
            path.write_text(json.dumps(table))
        os.kill(target.pid, signal.SIGHUP)
