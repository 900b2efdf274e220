"""What the shipped networks answer to given pictures, number by number, on this machine.

Runs on both sides, with rille and nothing else: `python answers.py IMAGES ANSWERS.npz [OTHER.npz]`.
With the answers of another machine as OTHER the networks get that machine's input tensors, so that
inference is compared apart from preprocessing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bundle import load_bundle, shipped_bundles
from rille.images import decode_image
from rille.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray


def answers(
    pictures: list[NDArray[np.uint8]], tensors: dict[str, NDArray[Any]] | None = None
) -> dict[str, NDArray[Any]]:
    """Run every shipped bundle over the pictures, with the kernels that fly, in one thread.

    Args:
        pictures: (H, W, 3) RGB, uint8.
        tensors: input tensors to take in place of one's own, by their names in what this returns.

    Returns:
        `bundle/frame/input`: the input tensor as preprocessed here; `bundle/frame/ROLE`: the raw
        output of that name, in the network's own type; `bundle/frame/own/ROLE`: the same of the
        input tensor as preprocessed here, where that is another.
    """
    found: dict[str, NDArray[Any]] = {}
    for name in shipped_bundles():
        network = Network.load(load_bundle(name))
        for index, pixels in enumerate(pictures):
            own = network.preprocessor(pixels)[0].copy()
            found[f"{name}/{index}/input"] = own
            given = own if tensors is None else tensors[f"{name}/{index}/input"]
            for role, output in network.backend.infer(given).items():
                found[f"{name}/{index}/{role}"] = output.copy()
            if not np.array_equal(own, given):
                for role, output in network.backend.infer(own).items():
                    found[f"{name}/{index}/own/{role}"] = output.copy()
        network.close()
    return found


def read(path: str) -> dict[str, NDArray[Any]]:
    """Read arrays by name."""
    with np.load(path, allow_pickle=False) as kept:
        return dict(kept)


def main(words: list[str]) -> None:
    """See the module's description."""
    paths = sorted(Path(words[0]).iterdir())
    pictures = [decode_image(path.read_bytes(), path.name) for path in paths]
    tensors = read(words[2]) if len(words) > 2 else None
    np.savez(words[1], **answers(pictures, tensors))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1:])
