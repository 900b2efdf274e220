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
