"""The flow: newest frame -> stages that still fit -> result, every frame accounted for."""

from rille.pipeline.core import Pipeline, default_threads

__all__ = ["Pipeline", "default_threads"]
