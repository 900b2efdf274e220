"""Batches for `keras.Model.fit`, the same on every backend: photographs, scenes, craters."""

from rille_train.batches.base import Batches, Progress
from rille_train.batches.choose import open_batches

__all__ = ["Batches", "Progress", "open_batches"]
