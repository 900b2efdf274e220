"""What validation decides while a network is trained: the rate, the end, the weights kept.

Every decision follows from the history of validation alone, which each checkpoint holds, so a run
that was killed decides as an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rille_train.callbacks import averaged_weights
from rille_train.recipe import FitRecipe

FACTOR = 0.5
"""What the learning rate is multiplied with on a plateau."""
_MONITORED = ("accuracy", "macro_ap", "object_f1", "macro_dice", "dice")


def monitored(scores: Mapping[str, float], one_mask: bool = False) -> tuple[str, float]:
    """Return the name and value of the score that decides.

    Accuracy for one class among many, macro average precision for independent labels, object F1
    for craters, mean Dice for masks.

    Args:
        scores: the scores of an `rille.evaluate.Evaluation`.
        one_mask: Dice decides, whatever is found besides.
    """
    names = ("dice", "macro_dice") if one_mask else _MONITORED
    name = next(name for name in names if name in scores)
    return name, float(scores[name])


def epochs_without_gain(values: Sequence[float], every: int) -> int:
    """Return how many epochs ago the best validation was.

    Args:
        values: the score at each validation, higher is better; NaN counts as worst.
        every: epochs between two validations.
    """
    return (len(values) - 1 - _best(values)) * every if values else 0


def reductions(values: Sequence[float], every: int, patience: int) -> int:
    """Return how often the learning rate has been reduced: on each `patience` epochs without gain.

    Args:
        values, every: see `epochs_without_gain`.
        patience: epochs.
    """
    count, best, waited = 0, -np.inf, 0
    for value in values:
        if value > best:
            best, waited = value, 0
            continue
        waited += every
        if waited >= patience:
            count, waited = count + 1, 0
    return count


def _best(values: Sequence[float]) -> int:
    return int(np.argmax([-np.inf if np.isnan(v) else v for v in values]))


class Course(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Keeps the best weights, lowers the learning rate on a plateau, stops without gain.

    It stands after `Validation` and before `Checkpoint`.

    Args:
        fit: schedule, patience, what is kept.
        peak: learning rate to start from.
        history: of the checkpoint; read, never written.
        one_mask: see `monitored`.
        folder: where the best weights are kept.
    """

    def __init__(
        self,
        fit: FitRecipe,
        peak: float,
        history: Mapping[str, list[float]],
        folder: Path,
        one_mask: bool,
    ) -> None:
        super().__init__()
        self._fit, self._peak, self._history = fit, peak, history
        self._one_mask, self._file = one_mask, folder / "best.npz"

    @property
    def values(self) -> list[float]:
        """The deciding score at every validation that a checkpoint holds."""
        found = {k[4:]: v for k, v in self._history.items() if k.startswith("val_")}
        if not found:
            return []
        name, _ = monitored({key: values[-1] for key, values in found.items()}, self._one_mask)
        return found[name]

    def over(self, values: Sequence[float]) -> bool:
        """Return whether training has gone on for long enough without gain."""
        patience = self._fit.patience
        return bool(patience) and epochs_without_gain(values, self._fit.validate_every) >= patience

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the learning rate, where no schedule does."""
        if self._fit.schedule != "plateau":
            return
        fit = self._fit
        factor = FACTOR ** reductions(self.values, fit.validate_every, fit.plateau_epochs)
        self._rate = self._peak * max(factor, fit.final_share)
        self.model.optimizer.learning_rate = self._rate

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights if they are the best; stop if that has not happened for long."""
        if logs is not None and self._fit.schedule == "plateau":
            logs["learning_rate"] = self._rate
        scores = {k[4:]: v for k, v in (logs or {}).items() if k.startswith("val_")}
        if not scores:
            return
        values = [*self.values, monitored(scores, self._one_mask)[1]]
        if self._fit.keep == "best" and _best(values) == len(values) - 1:
            save_arrays(self._file, averaged_weights(self.model))
        if self.over(values):
            self.model.stop_training = True

    def kept(self) -> list[Any]:
        """Return the weights to keep: the best ones, or those of the last epoch."""
        if self._fit.keep == "best" and self._file.is_file():
            return load_arrays(self._file)
        return averaged_weights(self.model)


def save_arrays(path: Path, arrays: Sequence[Any]) -> None:
    """Write arrays in their order, the file complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    np.savez(partial, *[np.asarray(array) for array in arrays])
    partial.replace(path)


def load_arrays(path: Path) -> list[Any]:
    """Read what `save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return [archive[f"arr_{index}"] for index in range(len(archive.files))]
