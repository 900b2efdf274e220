"""What every frame goes through, compiled: the same bits on every processor, and fast.

The sources lie beside this file, in C without any library. `make kernels` compiles them for each
kind of processor; see `release/kernels.py`. Functions here check what they are given, as a kernel
cannot, and may be called by several threads at once.
"""

from rille.kernels.centres import PeakFinder, believed, boxes
from rille.kernels.found import chosen, spread
from rille.kernels.masks import RegionFinder, Sums, counts, largest
from rille.kernels.picture import Look, look
from rille.kernels.pixels import clahe, gray, halve, resize
from rille.kernels.products import ProductSums

__all__ = [
    "Look",
    "PeakFinder",
    "ProductSums",
    "RegionFinder",
    "Sums",
    "believed",
    "boxes",
    "chosen",
    "clahe",
    "counts",
    "gray",
    "halve",
    "largest",
    "look",
    "resize",
    "spread",
]
