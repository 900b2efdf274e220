"""`picamera2://0`: a Raspberry Pi's camera through the Python package picamera2.

It comes with Raspberry Pi OS (`sudo apt install python3-picamera2`) and not from PyPI's wheels, so
a virtual environment needs `--system-site-packages`. Never yet run on a Raspberry Pi: the tests put
a double in its place. `libcamera://` does the same through a program. Options: `size`, `fps`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.capture import WATCHED
from rille.capture.shot import Shot
from rille.capture.tools import sensor_of
from rille.errors import SourceError
from rille.vehicle import Vehicle

if TYPE_CHECKING:
    from rille.uri import SourceUri

_SIZE = (640, 480)


def check(uri: SourceUri) -> None:
    """Refuse options that are not known or out of range.

    Raises:
        ConfigError: names the option.
    """
    uri.check_options([*WATCHED, "size"])
    uri.size(_SIZE)
    sensor_of(uri)


def read(uri: SourceUri) -> Iterator[Shot]:
    """Give the frames of a camera for ever.

    Raises:
        SourceError: picamera2 is not installed, there is no such camera, or it fails.
    """
    try:
        picamera2: Any = importlib.import_module("picamera2")
    except ImportError as wrong:
        raise SourceError(
            f"{uri.shown}: needs picamera2 ({wrong}): sudo apt install python3-picamera2, and a "
            "virtual environment made with --system-site-packages; or use libcamera://"
        ) from None
    try:
        camera = picamera2.Picamera2(int(sensor_of(uri)))
    except (IndexError, RuntimeError) as wrong:
        raise SourceError(f"{uri.shown}: no such camera, or it is in use ({wrong})") from None
    try:
        # Its "BGR888" lies in memory as red, green, blue.
        main = {"size": uri.size(_SIZE), "format": "BGR888"}
        rate = uri.number("fps", 30, 0.1, 240) or 30
        camera.configure(camera.create_video_configuration(main=main, controls={"FrameRate": rate}))
        camera.start()
        while True:
            request = camera.capture_request()
            try:
                pixels = np.array(request.make_array("main"), np.uint8)
                told = request.get_metadata()
            finally:
                request.release()  # the buffer goes back to the camera
            yield Shot(pixels, told.get("SensorTimestamp"), vehicle=_light(told))
    except RuntimeError as wrong:
        raise SourceError(f"{uri.shown}: {str(wrong)[:160]}") from None
    finally:
        camera.close()


def _light(told: Mapping[str, Any]) -> Vehicle | None:
    """Return exposure and gain from libcamera's controls; None where they are missing or absurd.

    ExposureTime is in microseconds; AnalogueGain and DigitalGain are factors.
    """
    micros, analogue = told.get("ExposureTime"), told.get("AnalogueGain")
    gain = None if analogue is None else analogue * told.get("DigitalGain", 1.0)
    try:
        return Vehicle(
            exposure_ms=None if micros is None else micros / 1000,
            gain_db=None if not gain or gain < 0 else 20 * math.log10(gain),
        )
    except ValueError:
        return None
