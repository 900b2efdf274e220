"""Bundles on probation in a run: those that fly well are confirmed, while they fly."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rille.errors import BundleError, ConfigError, RilleError
from rille.health.beats import Heartbeats
from rille.health.probation import Probation, says_nothing
from rille.site.probation import confirm, count_start, on_probation

if TYPE_CHECKING:
    from rille.cli.camera import Camera
    from rille.config import RunConfig
    from rille.result import Result

_AGAIN_S = 5.0
_INTERRUPTED = 130


@dataclass(kw_only=True, slots=True)
class _Flight:
    """What a bundle on probation did so far in one camera's frames."""

    camera: str
    digest: str
    sites: set[Path] = field(default_factory=set)
    frames: int = 0
    began_ns: int = 0


class Proving:
    """Keeps the probation of a run's bundles; a context manager around the run.

    Under a supervisor, which counts starts and rolls back itself, it only confirms.

    Args:
        configs: camera -> its run.
        beats: a supervisor's memory, or one that nobody reads.
    """

    def __init__(self, configs: Mapping[str, RunConfig], beats: Heartbeats) -> None:
        self._configs, self._beats = configs, beats
        self._sites = {
            name: [Path(stage.bundle) for stage in config.stages.values() if stage.bundle]
            for name, config in configs.items()
        }
        self._cameras: Mapping[str, Camera] = {}
        self._before: list[tuple[str, str, dict[str, Any]]] = []
        self._probation = Probation(
            [site for sites in self._sites.values() for site in sites],
            min(config.health.probation_tries for config in configs.values()),
            lambda *event: self._before.append(event),
            _say,
        )
        self._flights: dict[tuple[str, str], _Flight] = {}
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def attach(self, cameras: Mapping[str, Camera]) -> None:
        """Take the cameras, once they are open: their networks fly, and their events are heard."""
        self._cameras = cameras
        for name, text, values in self._before:
            told = [c for c, sites in self._sites.items() if Path(values["site"]) in sites]
            cameras[told[0]].pipeline.events.emit(name, text, **values)
        for name, sites in self._sites.items():
            for site in sites:
                self._watch(name, site)

    def started(self, camera: str, site: Path) -> None:
        """Count the start of a bundle that is about to be taken up in flight."""
        try:
            count_start(site)
        except RilleError as wrong:
            _say(f"starts on probation are not counted: {wrong}")
        self._watch(camera, site)

    def saw(self, camera: str, result: Result) -> None:
        """Count a frame for the bundles that answered it, where one is on probation."""
        if not self._flights or not result.published:
            return
        answers = {"classify": result.classification, "segment": result.segmentation}
        for stage, digest in result.bundles.items():
            flight = self._flights.get((camera, digest))
            if flight is None or answers.get(stage) is None:
                continue
            flight.frames += 1
            health = self._configs[camera].health
            flown_s = (time.monotonic_ns() - flight.began_ns) / 1e9
            if flight.frames >= health.probation_frames and flown_s >= health.probation_s:
                del self._flights[camera, digest]
                self._begin_confirming(flight, flown_s)

    def _watch(self, camera: str, site: Path) -> None:
        try:
            entry = on_probation(site)
        except BundleError:
            return  # whoever loads the bundle says what is wrong
        if entry is None:
            return
        made = _Flight(camera=camera, digest=entry.digest, began_ns=time.monotonic_ns())
        self._flights.setdefault((camera, entry.digest), made).sites.add(site)

    def _begin_confirming(self, flight: _Flight, flown_s: float) -> None:
        """Confirm in another thread: a slow disk must not hold up frames."""
        words = f"{flight.frames} frames answered in {flown_s:.0f} s"
        for site in flight.sites:
            thread = threading.Thread(
                target=self._confirm, args=(flight, site, words), name="rille-proven", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def _confirm(self, flight: _Flight, site: Path, words: str) -> None:
        while True:
            try:
                good = confirm(site, flight.digest)
                break
            except ConfigError:  # an installation is at work there
                if self._closing.wait(_AGAIN_S):
                    return
            except RilleError as wrong:
                _say(f"a bundle that has proven itself stays on probation: {wrong}")
                return
        if good is not None:
            self._cameras[flight.camera].pipeline.events.emit(
                "BUNDLE_CONFIRMED",
                f"{site}: {good} has proven itself: {words}",
                site=str(site),
                digest=good.digest,
                frames=flight.frames,
            )

    def __enter__(self) -> Proving:
        if not self._beats.supervised:
            self._probation.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        if not self._beats.supervised and says_nothing(_code(error), self._beats.account()):
            self._probation.spare()


def _code(error: BaseException | None) -> int:
    """Return the exit code that an error amounts to."""
    if isinstance(error, RilleError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    return 0 if error is None else 1


def _say(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
