"""Cameras and streams, each read in a process of its own that can hang or crash without harm.

A module reads one kind: `check(uri)` refuses what cannot be asked of it, `read(uri)` gives frames.
"""

from __future__ import annotations

import importlib
from typing import Any

MODULES = {
    "http": "mjpeg",
    "https": "mjpeg",
    "rtsp": "av",
    "rtsps": "av",
    "udp": "av",
    "v4l2": "v4l2",
    "csi": "tools",
    "libcamera": "tools",
    "picamera2": "picamera",
    "shm": "shm",
    "udpraw": "udpraw",
}
"""Scheme -> module. No other scheme is opened."""
VEHICLE = ("vehicle", "vehicle_peer", "max_age_s")
"""Options of every source; see `rille.sources.feed`."""
WATCHED = ("fps", "connect_s", "stall_s", "barcode", *VEHICLE)
"""Options of every live source; see `rille.sources.live`."""


def module_of(scheme: str) -> Any:
    """Return the module that reads a scheme."""
    return importlib.import_module(f"rille.capture.{MODULES[scheme]}")
