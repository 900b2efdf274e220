"""rille: trained vision on a planetary rover, within a latency budget, every frame accounted for.

The shortest program that does the main job:

    import rille

    pipeline = rille.Pipeline(
        classify=rille.load_bundle("moon-scene"),
        segment=rille.load_bundle("moon-rocks"),
        budget=rille.Budget(frame_ms=100),
    )
    with rille.open_source("sim://moon?seed=7&fps=10") as camera, pipeline:
        for result in pipeline.stream(camera):
            print(result.index, result.level, len(result.features), f"{result.age_ms:.1f} ms")
    print(pipeline.stats)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rille.budget import Budget
    from rille.bundle import Bundle, load_bundle, shipped_bundles
    from rille.ellipse import Ellipse
    from rille.errors import (
        BackendError,
        BundleError,
        CheckFailedError,
        ConfigError,
        RilleError,
        SinkError,
        SourceError,
    )
    from rille.fleet import Fleet
    from rille.frame import Frame, Truth
    from rille.pipeline import Pipeline
    from rille.result import Classification, Feature, Result, Segmentation, State
    from rille.sinks import Sink, open_sink
    from rille.sources import Source, open_source

__version__ = "0.1.0"

_HOMES = {
    "BackendError": "rille.errors",
    "Budget": "rille.budget",
    "Bundle": "rille.bundle",
    "BundleError": "rille.errors",
    "CheckFailedError": "rille.errors",
    "Classification": "rille.result",
    "ConfigError": "rille.errors",
    "Ellipse": "rille.ellipse",
    "Feature": "rille.result",
    "Fleet": "rille.fleet",
    "Frame": "rille.frame",
    "Pipeline": "rille.pipeline",
    "Result": "rille.result",
    "RilleError": "rille.errors",
    "Segmentation": "rille.result",
    "Sink": "rille.sinks",
    "SinkError": "rille.errors",
    "Source": "rille.sources",
    "SourceError": "rille.errors",
    "State": "rille.result",
    "Truth": "rille.frame",
    "load_bundle": "rille.bundle",
    "open_sink": "rille.sinks",
    "open_source": "rille.sources",
    "shipped_bundles": "rille.bundle",
}
"""Public name -> its module, which is imported when the name is first used: a supervisor must come
up, and stay, without NumPy, OpenCV and an engine."""

__all__ = [
    "BackendError",
    "Budget",
    "Bundle",
    "BundleError",
    "CheckFailedError",
    "Classification",
    "ConfigError",
    "Ellipse",
    "Feature",
    "Fleet",
    "Frame",
    "Pipeline",
    "Result",
    "RilleError",
    "Segmentation",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "State",
    "Truth",
    "__version__",
    "load_bundle",
    "open_sink",
    "open_source",
    "shipped_bundles",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
