"""Labelled data sets in their published layouts.

They live in the runtime because training, calibration, parity and scoring on the device itself
(`rille eval`) must all read exactly the same samples.
"""

from rille.datasets.base import (
    IGNORED,
    BoxSample,
    Dataset,
    ImageSample,
    Label,
    MaskSample,
    MultiLabelSample,
    Sample,
    open_dataset,
    samples_of,
)
from rille.datasets.msl import MslDataset
from rille.datasets.scenes import ChangeScenes, SimulatedScenes
from rille.datasets.yolo import YoloDataset

__all__ = [
    "IGNORED",
    "BoxSample",
    "ChangeScenes",
    "Dataset",
    "ImageSample",
    "Label",
    "MaskSample",
    "MslDataset",
    "MultiLabelSample",
    "Sample",
    "SimulatedScenes",
    "YoloDataset",
    "open_dataset",
    "samples_of",
]
