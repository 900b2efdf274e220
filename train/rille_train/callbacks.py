"""What happens between epochs: checkpoints, progress, validation, a stop on nonsense."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rille.errors import RilleError
from rille.files import write_whole
from rille_train.batches import Batches


class DivergedError(RilleError):
    """The loss is no longer a finite number."""


class EpochSeed(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Makes chance depend on seed and epoch alone, also after a resumed start.

    The batches are told which epoch runs; dropout starts every epoch from a state of its own,
    because weights files do not hold it.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the epoch."""
        self._batches.epoch = epoch
        states = [v for v in self.model.variables if "seed_generator_state" in v.path]
        for place, state in enumerate(states):
            sequence = np.random.SeedSequence([self._batches.recipe.fit.seed, epoch, place])
            state.assign((sequence.generate_state(2) >> 1).astype(state.dtype))


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves weights, optimiser and history after every epoch, so that a killed run can go on.

    Each epoch gets a file of its own under a name it only gets when it is whole; the one before is
    removed afterwards. Killed at any moment, the folder holds a complete epoch or none.

    Args:
        folder: where; made if needed.
    """

    _SUFFIX = ".weights.h5"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.history: dict[str, list[float]] = {}

    def resume(self, model: Any) -> int:
        """Load the last complete epoch into a compiled model; return how many epochs are done."""
        found = self._epochs()
        if not found:
            return 0
        done = max(found)
        model.optimizer.build(model.trainable_variables)
        model.load_weights(found[done])
        table = json.loads((self._folder / f"{done}.json").read_text(encoding="utf-8"))
        self.history = {name: [float(v) for v in values] for name, values in table.items()}
        return done

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the epoch that has ended."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self._folder.mkdir(parents=True, exist_ok=True)
        done = epoch + 1
        write_whole(self._folder / f"{done}.json", json.dumps(self.history))
        partial = self._folder / f"partial{self._SUFFIX}"
        self.model.save_weights(partial, overwrite=True)
        partial.replace(self._folder / f"{done}{self._SUFFIX}")
        for earlier, path in self._epochs().items():
            if earlier < done:
                path.unlink()
                (self._folder / f"{earlier}.json").unlink(missing_ok=True)

    def _epochs(self) -> dict[int, Path]:
        names = {p: p.name.removesuffix(self._SUFFIX) for p in self._folder.glob("*.h5")}
        return {int(name): path for path, name in names.items() if name.isdigit()}


class Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """One line an epoch on stderr, rewritten within it on a terminal, with the time left."""

    def __init__(self, epochs: int, steps: int) -> None:
        super().__init__()
        self._epochs, self._steps = epochs, steps
        self._live = sys.stderr.isatty()
        self._done = 0  # steps in this process: a resumed run starts from 0
        self._start = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember which epoch runs."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the loss; rewrite the line."""
        loss = (logs or {}).get("loss", math.nan)
        if not math.isfinite(loss):
            raise DivergedError(
                f"epoch {self._epoch + 1}, step {batch + 1}: the loss is {loss}; try a smaller "
                "learning rate (--set fit.learning_rate=...) or --set fit.precision=float32"
            )
        self._done += 1
        self._step = batch + 1
        if self._live and batch % 5 == 0:
            self._show(f"step {batch + 1}/{self._steps}  loss {loss:.4f}", end="\r")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch's line."""
        shown = "  ".join(
            f"{name} {value:.4f}"
            for name, value in (logs or {}).items()
            if isinstance(value, float) and name != "learning_rate"
        )
        self._show(shown, end="\n")

    def _show(self, text: str, end: str) -> None:
        spent = time.monotonic() - self._start
        steps_left = (self._epochs - self._epoch) * self._steps - self._step
        times = f"{_clock(spent)}, {_clock(spent / max(self._done, 1) * steps_left)} left"
        line = f"epoch {self._epoch + 1}/{self._epochs}  {text}  {times}"
        sys.stderr.write(f"\r\x1b[2K{line}{end}" if self._live else f"{line}\n")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


class Validation(keras.callbacks.Callback):  # type: ignore[misc]
    """Scores the weights that would be kept if training ended now, every few epochs.

    Args:
        score: called with the model's weights (moving average applied); returns figures.
        every: epochs between two scores.
        epochs: number of the last epoch.
        last: score the last one too; otherwise it is left to the final score.
    """

    def __init__(
        self,
        score: Callable[[list[Any]], dict[str, float]],
        every: int,
        epochs: int,
        last: bool = False,
    ) -> None:
        super().__init__()
        self._score, self._every, self._epochs, self._last = score, every, epochs, last

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score, and add the figures to the epoch's log."""
        final = epoch + 1 == self._epochs
        if not (self._last if final else (epoch + 1) % self._every == 0):
            return
        figures = self._score(averaged_weights(self.model))
        if logs is not None:
            logs.update({f"val_{name}": float(value) for name, value in figures.items()})


def averaged_weights(model: Any) -> list[Any]:
    """Return a model's weights, trainable ones replaced by their moving average if it has one."""
    optimizer = model.optimizer
    averages = {}
    if getattr(optimizer, "use_ema", False):
        averages = {
            variable.path: average
            for variable, average in zip(
                model.trainable_variables, optimizer._model_variables_moving_average, strict=True
            )
        }
    return [
        keras.ops.convert_to_numpy(averages.get(variable.path, variable))
        for variable in model.weights
    ]
