"""`rille run`: the main job."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from rille.cli.camera import Camera
from rille.cli.proving import Proving
from rille.cli.reload import reload_on_hangup
from rille.cli.run_options import RunOptions, read_run_options
from rille.cli.supervision import supervision
from rille.config import RunConfig, read_config
from rille.errors import ConfigError, RilleError, SinkError, SourceError
from rille.fleet import Fleet
from rille.health.beats import Heartbeats


def main(arguments: list[str]) -> int:
    """Run `rille run`; see `rille run --help`."""
    options = read_run_options("run", arguments)
    if len(options.configs) > 1:
        return run(_several(options))
    return run({"": read_config(options.config, options.settings)})


def _several(options: RunOptions) -> dict[str, RunConfig]:
    """Return the configurations of several cameras, each named by its file.

    Raises:
        ConfigError: one cannot be read, or two files have the same name.
    """
    configs: dict[str, RunConfig] = {}
    for path in options.configs:
        config = read_config(path, options.settings)
        if path.stem in configs:
            raise ConfigError(f"{path}: there is a camera {path.stem!r} already; rename the file")
        # Whatever the folder, which may be the same for all, each camera has its own part of it.
        folder = str(Path(config.output.folder) / path.stem)
        configs[path.stem] = replace(config, output=replace(config.output, folder=folder))
    return configs


def run(configs: Mapping[str, RunConfig], recording: str = "") -> int:
    """Stream the frames of one camera or of several as configured; return the exit code.

    Args:
        configs: camera -> its run; one camera is called "".
        recording: URI of one more sink, which the run cannot do without; empty for none.

    Raises:
        RilleError: what ended the run; what it wrote until then is there.
    """
    with supervision() as beats, Proving(configs, beats) as proving:
        return _fly(configs, recording, beats, proving)


def _fly(
    configs: Mapping[str, RunConfig], recording: str, beats: Heartbeats, proving: Proving
) -> int:
    """Open everything, stream, and complete what is written; see `run`."""
    with contextlib.ExitStack() as stack:
        cameras = {
            name: Camera(config, stack, beats, name, number if name else 0, recording)
            for number, (name, config) in enumerate(configs.items(), 1)
        }
        fleet = Fleet({name: camera.pipeline for name, camera in cameras.items()})
        interrupted = stack.enter_context(_signals(fleet, cameras))
        proving.attach(cameras)
        for name, camera in cameras.items():
            stack.enter_context(
                reload_on_hangup(
                    camera.config,
                    camera.pipeline,
                    beats.supervised,
                    partial(proving.started, name),
                )
            )
        beats.run()
        _stream(fleet, cameras, beats, proving)
        beats.finish()
        for camera in cameras.values():
            camera.end()
    for camera in cameras.values():
        camera.conclude()
    for camera in cameras.values():
        camera.check()
    return 130 if interrupted == [signal.SIGINT] else 0


def _stream(
    fleet: Fleet, cameras: Mapping[str, Camera], beats: Heartbeats, proving: Proving
) -> None:
    """Feed every result to the sinks of its camera; keep what ends a camera, or all of them."""
    for camera in cameras.values():
        camera.start()
    sources = {name: camera.source for name, camera in cameras.items()}
    results = fleet.stream(sources, losses=True)
    try:
        for name, result in results:
            camera = cameras[name]
            try:
                camera.fan.write(result)
            except SinkError as wrong:
                camera.problem = wrong
            beats.published()
            proving.saw(name, result)
            if camera.done or camera.problem is not None:
                fleet.leave(name)
    except SourceError:
        pass  # kept below, with the camera that it concerns
    except RilleError as wrong:
        for camera in cameras.values():
            camera.problem = camera.problem or wrong
    results.close()  # type: ignore[attr-defined]  # a generator: accounts for frames in hand
    for name, error in fleet.errors.items():
        if not isinstance(error, RilleError):
            raise error
        cameras[name].problem = cameras[name].problem or error


@contextlib.contextmanager
def _signals(fleet: Fleet, cameras: Mapping[str, Camera]) -> Iterator[list[int]]:
    """End the stream at the first Ctrl-C or SIGTERM; a second Ctrl-C interrupts at once."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        fleet.stop()
        for camera in cameras.values():
            camera.fan.hurry()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
