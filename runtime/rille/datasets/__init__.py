"""Labelled data sets in their published layouts.

They live in the runtime because training, calibration, parity and scoring on the device itself
(`rille eval`) must all read exactly the same samples.
"""

from rille.datasets.alrl import AlrlDataset
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
from rille.datasets.guard import refuse_folder_labels
from rille.datasets.msl import MslDataset, sol_of
from rille.datasets.polygons import PolygonFolder
from rille.datasets.scenes import ChangeScenes, SimulatedScenes
from rille.datasets.yolo import YoloDataset

__all__ = [
    "IGNORED",
    "AlrlDataset",
    "BoxSample",
    "ChangeScenes",
    "Dataset",
    "ImageSample",
    "Label",
    "MaskSample",
    "MslDataset",
    "MultiLabelSample",
    "PolygonFolder",
    "Sample",
    "SimulatedScenes",
    "YoloDataset",
    "open_dataset",
    "refuse_folder_labels",
    "samples_of",
    "sol_of",
]
