"""Preprocessing as data: the one implementation that training, calibration and flight all call.

A bundle's manifest lists operations in order, for example::

    [{"op": "gray"}, {"op": "letterbox", "width": 416, "height": 416}, {"op": "standardize"}]

The list is read by `parse_ops` and run by a `Preprocessor`. Everything up to the last operation
works on 8-bit pixels; the last one (`normalize` or `standardize`) turns them into the network's
numbers. Because its input has 256 possible values, that last step and the quantisation to int8
fold into one look-up table: an exact result at the cost of one pass over the image.
"""

from rille.preprocess.ops import (
    Clahe,
    Equalize,
    Geometry,
    Gray,
    Letterbox,
    Normalize,
    Op,
    Resize,
    Rgb,
    Standardize,
    ops_to_json,
    parse_ops,
)
from rille.preprocess.run import Preprocessor, evened, normalized
from rille.preprocess.views import Views, coloured

__all__ = [
    "Clahe",
    "Equalize",
    "Geometry",
    "Gray",
    "Letterbox",
    "Normalize",
    "Op",
    "Preprocessor",
    "Resize",
    "Rgb",
    "Standardize",
    "Views",
    "coloured",
    "evened",
    "normalized",
    "ops_to_json",
    "parse_ops",
]
