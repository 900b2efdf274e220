"""Labelled data sets in their published layouts.

They live in the runtime because training, calibration, parity and scoring on the device itself
(`rille eval`) must all read exactly the same samples.
"""

from rille.datasets.base import BoxSample, Dataset, ImageSample, Label, open_dataset
from rille.datasets.msl import MslDataset
from rille.datasets.yolo import YoloDataset

__all__ = [
    "BoxSample",
    "Dataset",
    "ImageSample",
    "Label",
    "MslDataset",
    "YoloDataset",
    "open_dataset",
]
