"""One self-contained page about a training run: scores, curves, confusions, calibration."""

from rille_train.report.examples import write_examples
from rille_train.report.page import write_training_report

__all__ = ["write_examples", "write_training_report"]
