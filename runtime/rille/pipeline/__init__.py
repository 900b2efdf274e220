"""The flow: newest frame -> stages that still fit -> result, every frame accounted for."""

from rille.pipeline.core import Pipeline

__all__ = ["Pipeline"]
