"""Cameras on a ribbon cable, through the vendor's own program: raw frames from its output.

On a Jetson that is GStreamer with NVIDIA's camera element, on a Raspberry Pi `rpicam-vid`. A
program can be killed, needs no special build of OpenCV, and was the fastest way measured. Never yet
tried on either board: what reads the programs' output was tried with others in their place.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

import cv2
import numpy as np

from rille.capture import WATCHED
from rille.capture.shot import Shot
from rille.errors import ConfigError, SourceError
from rille.uri import SourceUri

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_WORDS = 400


def check(uri: SourceUri) -> None:
    """Refuse options that are not known or out of range.

    Raises:
        ConfigError: names the option.
    """
    uri.check_options([*WATCHED, "size"])
    command_of(uri)


def read(uri: SourceUri) -> Iterator[Shot]:
    """Give the frames of a camera until its program ends.

    Raises:
        SourceError: the program is missing, or ended; says what it said last.
    """
    command, frame_bytes, picture = command_of(uri)
    if shutil.which(command[0]) is None:
        package = {"csi": "gstreamer1.0-tools, and NVIDIA's elements from JetPack"}
        raise SourceError(
            f"{uri.shown}: needs the program {command[0]}: sudo apt install "
            f"{package.get(uri.scheme, 'rpicam-apps')}"
        )
    with (
        tempfile.TemporaryFile() as spoken,  # a pipe that nobody reads would fill up and stop it
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=spoken
        ) as child,
    ):
        pipe = cast("BinaryIO", child.stdout)
        try:
            while True:
                raw = pipe.read(frame_bytes)
                if len(raw) < frame_bytes:
                    break
                yield Shot(picture(np.frombuffer(raw, np.uint8)))
        finally:
            child.kill()
        spoken.seek(max(0, spoken.tell() - 4096))
        said = spoken.read(4096).decode(errors="replace").split()
        raise SourceError(
            f"{uri.shown}: {command[0]} ended ({child.wait()}): "
            f"{' '.join(said)[-_MAX_WORDS:] or 'it says nothing'}"
        )


Command = tuple[list[str], int, "Callable[[NDArray[np.uint8]], NDArray[np.uint8]]"]


def command_of(uri: SourceUri) -> Command:
    """Return the command, the bytes of a frame, and what unpacks one."""
    return csi(uri) if uri.scheme == "csi" else libcamera(uri)


def csi(uri: SourceUri) -> Command:
    """Return the command for a Jetson's camera, the bytes of a frame, and what unpacks one."""
    width, height = uri.size((1280, 720))
    rate = int(uri.number("fps", 30, 1, 240) or 30)
    elements = [
        f"nvarguscamerasrc sensor-id={sensor_of(uri)}",
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={rate}/1",
        "nvvidconv",
        "video/x-raw,format=BGRx",
        "videoconvert",
        "video/x-raw,format=RGB",
        "queue leaky=downstream max-size-buffers=1",
        "fdsink",
    ]
    words = " ! ".join(elements).split()
    return (
        ["gst-launch-1.0", "-q", *words],
        width * height * 3,
        lambda raw: raw.reshape(height, width, 3),
    )


def libcamera(uri: SourceUri) -> Command:
    """Return the command for a Raspberry Pi's camera, the bytes of a frame, and what unpacks one.

    The frames are planar YUV with half the resolution of colour (I420). Sides are multiples of
    64 and 2 here, for which the program adds no padding.
    """
    width, height = uri.size((640, 480))
    if width % 64 or height % 2:
        raise ConfigError(f"{uri.shown}: the width must be a multiple of 64, the height even")
    rate = uri.number("fps", 30, 0.1, 240) or 30
    command = ["rpicam-vid", "--camera", sensor_of(uri), "--timeout", "0", "--nopreview"]
    command += ["--width", str(width), "--height", str(height), "--framerate", f"{rate:g}"]
    command += ["--codec", "yuv420", "--flush", "--output", "-"]
    return (
        command,
        width * height * 3 // 2,
        lambda raw: np.asarray(
            cv2.cvtColor(raw.reshape(height * 3 // 2, width), cv2.COLOR_YUV2RGB_I420), np.uint8
        ),
    )


def sensor_of(uri: SourceUri) -> str:
    """Return the number of a camera, as text.

    Raises:
        ConfigError: not a number.
    """
    number = uri.target.strip("/") or "0"
    if not number.isdigit():
        raise ConfigError(f"{uri.shown}: cameras have numbers: {uri.scheme}://0")
    return number
