"""What a peer is: a program that answers for frames, one by one and from a camera."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from benchmarks.peers.camera import Streamed, read_as_a_driver_does
from rille.bundle import Bundle, load_bundle
from rille.closing import Closing
from rille.errors import BackendUnavailableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.sources import Source


class PeerRefusedError(BackendUnavailableError):
    """A peer cannot do the work; the message says why, in its own words where it has some."""


class NothingToRunError(PeerRefusedError):
    """A bundle holds no form of its network that a peer could run, so it was never asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What is to be done with each frame.

    Attributes:
        classify: a classification or multilabel bundle, or "".
        segment: a segmentation bundle whose mask is of one class or of several, or "".
    """

    classify: str = ""
    segment: str = ""

    def bundles(self) -> dict[str, Bundle]:
        """Return stage -> verified bundle.

        Raises:
            BundleError: one cannot be used.
        """
        stages = {"classify": self.classify, "segment": self.segment}
        return {stage: load_bundle(name) for stage, name in stages.items() if name}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a program says of a frame.

    Attributes:
        label: the most probable class, from 0; of independent labels bit k for label k; -1 for
            none.
        mask: (h, w) uint8 on the network's own grid, k for label k - 1; None without segmentation.
    """

    label: int = -1
    mask: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def digest(self) -> int:
        """A checksum of all of it."""
        return zlib.crc32(b"" if self.mask is None else self.mask.tobytes(), self.label + 1)


class Peer(Closing):
    """A program that answers for frames.

    Args of every constructor: the workload, and threads for one inference (0: its own choice).
    It loads everything, and raises `PeerRefusedError`, or what its library raises, if it cannot.

    Attributes:
        needs: modules without which it cannot run.
        install: how to get them.
        versions: library -> version, as far as they matter for speed.
        how: a few words on the settings in use, for people.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""
    versions: Mapping[str, str]
    how: str = ""

    @abstractmethod
    def __init__(self, workload: Workload, threads: int) -> None: ...

    @abstractmethod
    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Answer for one frame, (H, W, 3) RGB uint8, and return when the answer is there."""

    def stream(self, camera: Source) -> Streamed:
        """Answer for the frames of a camera until it ends, the way this program is used.

        The usual way is a loop that reads, and a driver with four buffers below it.
        """
        return read_as_a_driver_does(camera, self.answer)

    def close(self) -> None:
        """Let go of everything."""
