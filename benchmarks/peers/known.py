"""The peers there are. A new one is a module here and a line in `PEERS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rille.errors import ConfigError
from rille.registry import Registry

if TYPE_CHECKING:
    from benchmarks.peers.peer import Peer

PEERS = Registry(
    kind="peer",
    group="rille.bench_peers",
    known={
        "rille": "benchmarks.peers.ours:Rille",
        "plain": "benchmarks.peers.plain:PlainLoop",
        "plain-careless": "benchmarks.peers.plain:CarelessLoop",
        "onnxruntime": "benchmarks.peers.ort:OnnxRuntime",
        "opencv-dnn": "benchmarks.peers.opencv_dnn:OpenCvDnn",
        "mediapipe-image": "benchmarks.peers.mediapipe_tasks:MediaPipeImage",
        "mediapipe-live": "benchmarks.peers.mediapipe_tasks:MediaPipeLive",
    },
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A peer as it takes part.

    Attributes:
        shown: what it is called on the results page.
        peer: its name in `PEERS`.
        threads: for one inference; 0 for its own choice.
        elsewhere: whether it may live in the other environment (`make peers`).
        cameras: whether it is tried with cameras too.
    """

    shown: str
    peer: str
    threads: int = 0
    elsewhere: bool = False
    cameras: bool = True

    def resolve(self) -> type[Peer]:
        """Import it.

        Raises:
            ConfigError: there is no such peer.
        """
        found: type[Peer] = PEERS.resolve(self.peer, ConfigError)
        return found


ENTRIES = (
    Entry(shown="rille", peer="rille"),
    Entry(shown="plain OpenCV + LiteRT, 1 thread", peer="plain", threads=1),
    Entry(shown="plain OpenCV + LiteRT, 2 threads", peer="plain", threads=2),
    Entry(
        shown="the same, careless resize, 1 thread",
        peer="plain-careless",
        threads=1,
        cameras=False,
    ),
    Entry(
        shown="the same, careless resize, 2 threads",
        peer="plain-careless",
        threads=2,
        cameras=False,
    ),
    Entry(shown="ONNX Runtime, 1 thread", peer="onnxruntime", threads=1, elsewhere=True),
    Entry(shown="ONNX Runtime, 2 threads", peer="onnxruntime", threads=2, elsewhere=True),
    Entry(shown="OpenCV dnn, 2 threads", peer="opencv-dnn", threads=2),
    Entry(shown="MediaPipe Tasks, image", peer="mediapipe-image", elsewhere=True),
    Entry(shown="MediaPipe Tasks, live stream", peer="mediapipe-live", elsewhere=True),
)
"""Who takes part, rille first."""
