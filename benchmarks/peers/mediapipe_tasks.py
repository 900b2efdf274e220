"""MediaPipe Tasks in its image mode and in its live-stream mode.

It has no setting for threads. It takes uint8 or float networks of three channels; int8 ones get
uint8 doors (`benchmarks.peers.doors`), which is said beside the figures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.peers.camera import Streamed
from benchmarks.peers.peer import Answer, Peer, PeerRefusedError, Workload
from benchmarks.peers.script import variant_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle import Bundle
    from rille.sources import Source

_WAIT_S = 5.0


class _Tasks(Peer):
    """One task for each bundle, in one running mode.

    Attributes:
        tasks: stage -> the task.
    """

    needs = ("mediapipe",)
    install = "make peers"

    def __init__(self, workload: Workload, threads: int) -> None:
        import mediapipe

        self.versions = {"mediapipe": mediapipe.__version__, "opencv": cv2.__version__}
        self.how = "its own choice of threads"
        self._grids: dict[str, tuple[int, int]] = {}
        self.tasks = {stage: self._open(stage, b) for stage, b in workload.bundles().items()}

    def _open(self, stage: str, bundle: Bundle) -> Any:
        """Return the task for a bundle, with uint8 doors where it refuses the network without."""
        if bundle.manifest.task == "multilabel":
            raise PeerRefusedError(f"{bundle.name} has independent labels, ImageClassifier has one")
        variant = variant_of(bundle, "tflite", ("int8",))
        if stage == "segment":
            entry = variant.outputs.get("classes") or variant.outputs["mask"]
            self._grids[stage] = (entry.tensor.shape[2], entry.tensor.shape[1])
        model = bundle.files[variant.file]
        try:
            return self._task(stage, model)
        except (ValueError, RuntimeError) as wrong:
            if "uint8" not in str(wrong):
                raise
            from benchmarks.peers.doors import with_uint8_doors

            task = self._task(stage, with_uint8_doors(model))
            self.how = f'uint8 doors added; without them: "{str(wrong).splitlines()[0]}"'
            return task

    def _task(self, stage: str, model: bytes) -> Any:
        from mediapipe.tasks.python import BaseOptions, vision

        base = BaseOptions(model_asset_buffer=model)
        if stage == "classify":
            return vision.ImageClassifier.create_from_options(
                vision.ImageClassifierOptions(base, max_results=1, **self._mode(stage))
            )
        return vision.ImageSegmenter.create_from_options(
            vision.ImageSegmenterOptions(base, output_category_mask=True, **self._mode(stage))
        )

    def _mode(self, stage: str) -> dict[str, Any]:
        return {}

    def put_together(self, results: dict[str, Any]) -> Answer:
        """Return the answer in the results of all stages."""
        label, mask = -1, None
        for stage, result in results.items():
            if stage == "classify":
                label = int(result.classifications[0].categories[0].index)
            else:
                grid = self._grids[stage]
                full = np.ascontiguousarray(result.category_mask.numpy_view())
                mask = np.asarray(cv2.resize(full, grid, interpolation=cv2.INTER_NEAREST), np.uint8)
        return Answer(label=label, mask=mask)

    def close(self) -> None:
        """Close the tasks."""
        for task in self.tasks.values():
            task.close()


class MediaPipeImage(_Tasks):
    """One call for each frame, which returns its answer."""

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Answer for one frame; see `Peer.answer`."""
        picture = _picture(pixels)
        return self.put_together(
            {
                stage: task.classify(picture) if stage == "classify" else task.segment(picture)
                for stage, task in self.tasks.items()
            }
        )


class MediaPipeLive(_Tasks):
    """Frames are handed in, answers come by callback; it keeps one in work and none waiting."""

    def __init__(self, workload: Workload, threads: int) -> None:
        self._lock = threading.Lock()
        self._found: dict[int, dict[str, Any]] = {}
        self._done: Callable[[int], None] = lambda stamp: None
        self._stamp = 0
        super().__init__(workload, threads)

    def _mode(self, stage: str) -> dict[str, Any]:
        from mediapipe.tasks.python import vision

        def heard(result: Any, picture: Any, stamp: int) -> None:
            with self._lock:
                found = self._found.setdefault(stamp, {})
                found[stage] = result
                whole = len(found) == len(self.tasks)
            if whole:
                self._done(stamp)

        return {
            "running_mode": vision.RunningMode.LIVE_STREAM,
            "result_callback": heard,
        }

    def _hand_in(self, pixels: NDArray[np.uint8], stamp: int) -> None:
        picture = _picture(pixels)
        for stage, task in self.tasks.items():
            (task.classify_async if stage == "classify" else task.segment_async)(picture, stamp)

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Hand in one frame and wait for its callback."""
        there = threading.Event()
        self._done = lambda stamp: there.set()
        self._stamp += 1
        self._hand_in(pixels, self._stamp)
        if not there.wait(_WAIT_S):
            raise PeerRefusedError(f"no callback for a frame within {_WAIT_S:g} s, and no error")
        return self.put_together(self._found.pop(self._stamp))

    def stream(self, camera: Source) -> Streamed:
        """Hand in every frame when it comes, as its guide says; count the callbacks."""
        captured: dict[int, int] = {}
        ages_ms: list[float] = []

        def done(stamp: int) -> None:
            ages_ms.append((time.monotonic_ns() - captured[stamp]) / 1e6)

        self._done = done
        while not camera.ended:
            frame = camera.read(0.1)
            if frame is not None:
                self._stamp = max(self._stamp + 1, frame.captured_ns // 1_000_000)
                captured[self._stamp] = frame.captured_ns
                self._hand_in(frame.pixels, self._stamp)
        before = -1
        while before != len(ages_ms):  # until no callback came for a while
            before = len(ages_ms)
            time.sleep(0.3)
        self._found.clear()
        return Streamed(offered=camera.index, ages_ms=ages_ms, told=0)


def _picture(pixels: NDArray[np.uint8]) -> Any:
    import mediapipe

    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
