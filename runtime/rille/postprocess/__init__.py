"""From a network's numbers to answers: classes with calibrated probability, masks, features."""

from rille.postprocess.classification import classify, decide_labels
from rille.postprocess.features import FeatureDecoder
from rille.postprocess.guard import OutputGuard

__all__ = ["FeatureDecoder", "OutputGuard", "classify", "decide_labels"]
