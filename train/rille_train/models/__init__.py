"""The networks that recipes can name. All give logits: the softmax or sigmoid lives in rille."""

from rille_train.models.application import assign_weights
from rille_train.models.build import build_model, for_flight, input_shape

__all__ = ["assign_weights", "build_model", "for_flight", "input_shape"]
