"""USB and other Video4Linux cameras. Never yet tried on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from rille.capture import WATCHED
from rille.capture.shot import Shot
from rille.errors import ConfigError, SourceError, SourceNotFoundError
from rille.uri import SourceUri

_SIZE, _FORMAT = (640, 480), "MJPG"


def check(uri: SourceUri) -> None:
    """Refuse options that are not known or out of range.

    Raises:
        ConfigError: names the option.
    """
    uri.check_options([*WATCHED, "size", "format"])
    uri.size(_SIZE)
    if len(uri.options.get("format", _FORMAT)) != 4:
        raise ConfigError(f"{uri.shown}: format must be four letters, as MJPG or YUYV")


def read(uri: SourceUri) -> Iterator[Shot]:
    """Give the frames of a device until it is lost.

    Raises:
        SourceNotFoundError: no such device.
        SourceError: it cannot be opened, or gives nothing.
    """
    device = Path(uri.target)
    if not device.exists():
        here = sorted(str(p) for p in Path("/dev").glob("video*"))
        raise SourceNotFoundError(
            f"{uri.shown}: no such device (here: {', '.join(here) or 'none'})"
        )
    camera = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
    try:
        if not camera.isOpened():
            raise SourceError(
                f"{uri.shown}: cannot be opened; is it in use, and are you in the group video?"
            )
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*uri.options.get("format", _FORMAT)))
        width, height = uri.size(_SIZE)
        camera.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        camera.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        rate = uri.number("fps", None, 0.1, 1000)
        if rate is not None:
            camera.set(cv2.CAP_PROP_FPS, rate)
        while True:
            good, pixels = camera.read()
            if not good:
                raise SourceError(f"{uri.shown}: gives no more frames; was it unplugged?")
            yield Shot(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8))
    finally:
        camera.release()
