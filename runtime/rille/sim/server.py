"""Rendering in a process of its own, so that a consumer's latency is not the simulator's.

`python -m rille.sim.server SCENARIO WORKERS` writes frames to its standard output, each as eight
bytes of length and a pickle of (pixels, truth, vehicle); `RenderProcess` starts it and reads them.
The pipe holds the renderer back: it is never more than a frame or two ahead.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

import cv2

from rille.errors import SourceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth
    from rille.sim.scenario import Scenario, Simulator
    from rille.vehicle import Vehicle

_LENGTH = struct.Struct("<Q")
_YIELD = 5
"""Niceness: a real camera takes no processor from the networks, so a rendered one gives way."""


class RenderProcess:
    """A child process that renders a scenario's frames in order.

    Args:
        scenario: what to render.
        workers: its children, each at a frame of its own.
    """

    def __init__(self, scenario: Scenario, workers: int = 2) -> None:
        text = json.dumps(asdict(scenario))
        command = [sys.executable, "-m", "rille.sim.server", text, str(workers)]
        # The child must find the very package that started it.
        paths = [p for p in sys.path if p]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        # Each child works on a frame; threads of a linear algebra library would be in the way.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        self._child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
        )

    def next(self) -> tuple[NDArray[np.uint8], Truth | None, Vehicle]:
        """Return the next frame, what it shows and what the vehicle knows; waits until it is there.

        Raises:
            SourceError: the process has ended.
        """
        body = _receive(cast("BinaryIO", self._child.stdout))
        if not body:
            raise SourceError(
                f"the simulator's process ended (exit code {self._child.wait()}); "
                "is there enough memory? realtime=0 renders without it"
            )
        pixels, truth, vehicle = pickle.loads(body)
        return pixels, truth, vehicle

    def close(self) -> None:
        """End the process; safe to call twice."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        cast("BinaryIO", self._child.stdout).close()


def serve(text: str, workers: int, out: BinaryIO) -> None:
    """Render a scenario's frames to a stream until it is closed.

    The world is built once; then children that share its memory render every n-th frame each, and
    this process puts them in order. Threads would wait for one another's interpreter.

    Args:
        text: the scenario as JSON.
        workers: children.
        out: where the frames go.
    """
    from rille.sim.scenario import Scenario, open_simulator

    cv2.setNumThreads(1)
    scenario = Scenario(**json.loads(text))
    simulator = open_simulator(scenario)
    pipes: list[BinaryIO] = []
    for first in range(min(workers, scenario.frames)):
        reader, writer = os.pipe()
        if os.fork() == 0:
            for pipe in pipes:
                pipe.close()
            os.close(reader)
            _render(simulator, range(first, scenario.frames, workers), writer)
        os.close(writer)
        pipes.append(os.fdopen(reader, "rb"))
    for index in range(scenario.frames):
        body = _receive(pipes[index % workers])
        if not body:
            raise SystemExit(1)
        out.write(_LENGTH.pack(len(body)))
        out.write(body)
        out.flush()


def _render(simulator: Simulator, indices: range, writer: int) -> NoReturn:
    """Render some frames into a pipe, and end this process."""
    code = 1
    os.nice(_YIELD)
    try:
        with os.fdopen(writer, "wb") as pipe:
            for index in indices:
                found = (*simulator.frame(index), simulator.vehicle(index))
                body = pickle.dumps(found, protocol=5)
                pipe.write(_LENGTH.pack(len(body)))
                pipe.write(body)
                pipe.flush()
        code = 0
    except BrokenPipeError:
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        # Nothing of the parent's may be flushed or closed a second time.
        os._exit(code)


def _receive(pipe: BinaryIO) -> bytes:
    """Return the next message, or nothing where the other side has ended."""
    header = pipe.read(_LENGTH.size)
    return pipe.read(_LENGTH.unpack(header)[0]) if len(header) == _LENGTH.size else b""


if __name__ == "__main__":
    # Ctrl-C belongs to the reader, who closes the pipe when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(sys.argv[1], int(sys.argv[2]), sys.stdout.buffer)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
