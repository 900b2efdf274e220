"""What an export was made with, for the manifest."""

from __future__ import annotations

import platform
import time

import keras
import tensorflow as tf

import rille


def versions() -> dict[str, str]:
    """Return the packages that took part, and the day (UTC)."""
    return {
        "exported_with": f"rille {rille.__version__}, keras {keras.__version__}, "
        f"tensorflow {tf.__version__}, python {platform.python_version()}",
        "exported_on": time.strftime("%Y-%m-%d", time.gmtime()),
    }
