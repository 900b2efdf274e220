"""A double of picamera2, with what `rille.capture.picamera` uses of it, in the real one's names.

Never held against the real package on a Raspberry Pi. Like it, "BGR888" gives arrays in the order
red, green, blue, a request must be released before its buffer is used again, and a camera number
that is not there is an IndexError. After `LAST` frames capturing fails, as with a pulled cable.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

CAMERAS, BUFFERS, LAST = 1, 4, 40


class CompletedRequest:
    def __init__(self, camera: Picamera2, number: int) -> None:
        self._camera, self._number = camera, number

    def make_array(self, name: str) -> Any:
        assert name == "main" and self._camera.main["format"] == "BGR888"
        width, height = self._camera.main["size"]
        colour = np.array([200, 100, self._number], np.uint8)
        return np.broadcast_to(colour, (height, width, 3)).copy()

    def get_metadata(self) -> dict[str, Any]:
        return {
            "SensorTimestamp": self._number * 1_000_000,
            "ExposureTime": 4000,
            "AnalogueGain": 5.0,
            "DigitalGain": 2.0,
        }

    def release(self) -> None:
        self._camera.held -= 1


class Picamera2:
    def __init__(self, camera_num: int = 0) -> None:
        if camera_num >= CAMERAS:
            raise IndexError("list index out of range")
        self.main: dict[str, Any] = {}
        self.held = self._number = 0
        self._rate, self._running = 30.0, False

    def create_video_configuration(
        self, main: dict[str, Any], controls: dict[str, Any]
    ) -> dict[str, Any]:
        return {"main": main, "controls": controls}

    def configure(self, configuration: dict[str, Any]) -> None:
        self.main = configuration["main"]
        self._rate = configuration["controls"]["FrameRate"]

    def start(self) -> None:
        self._running = True

    def capture_request(self) -> CompletedRequest:
        if not self._running or self.held >= BUFFERS or self._number == LAST:
            raise RuntimeError("camera frontend has timed out")
        time.sleep(1 / self._rate)
        self._number += 1
        self.held += 1
        return CompletedRequest(self, self._number)

    def close(self) -> None:
        self._running = False
