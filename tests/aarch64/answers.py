"""What the shipped networks are shown of given pictures and answer, number by number, here.

Runs on both sides, with rille and nothing else: `python answers.py IMAGES ANSWERS.npz`.
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


def answers(pictures: list[NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
    """Run every shipped bundle over the pictures, with the kernels that fly, in one thread.

    Args:
        pictures: (H, W, 3) RGB, uint8.

    Returns:
        `bundle/frame/input`: the input tensor; `bundle/frame/ROLE`: the raw output of that name;
        both in the network's own type.
    """
    found: dict[str, NDArray[Any]] = {}
    for name in shipped_bundles():
        network = Network.load(load_bundle(name))
        for index, pixels in enumerate(pictures):
            tensor, _ = network.preprocessor(pixels)
            found[f"{name}/{index}/input"] = tensor.copy()
            for role, output in network.backend.infer(tensor).items():
                found[f"{name}/{index}/{role}"] = output.copy()
        network.close()
    return found


def main(words: list[str]) -> None:
    """See the module's description."""
    paths = sorted(Path(words[0]).iterdir())
    pictures = [decode_image(path.read_bytes(), path.name) for path in paths]
    np.savez(words[1], **answers(pictures))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1:])
