"""Training in one phase, or in two: the head alone first, then everything gently.

The second phase starts from what the first one kept, in a network built anew, so that a run killed
between or within them ends with the same weights. Where fine-tuning ends worse than the head alone
was, the head alone is kept, and every record says so: the first reference project went from 88.87
to 67.90 % there, and nothing noticed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from rille.evaluate import Evaluation
from rille.files import write_whole
from rille_train.batches import Batches
from rille_train.callbacks import Checkpoint, EpochSeed, Progress, Validation
from rille_train.course import Course, load_arrays, monitored, save_arrays
from rille_train.memory import check_memory, explained
from rille_train.recipe import FitRecipe

COLLAPSE = 0.01
"""Fine-tuning may end this much below the head alone, in the deciding score."""
Validate = Callable[[Any], Evaluation]


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One stretch of training.

    Attributes:
        name: "all", "head" or "tune".
        first: number of epochs before it.
        epochs: its length at most.
        learning_rate: peak.
    """

    name: str
    first: int
    epochs: int
    learning_rate: float

    @property
    def end(self) -> int:
        """The number of its last epoch."""
        return self.first + self.epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What training led to.

    Attributes:
        weights: those to keep.
        result: their scores.
        history: losses and scores by epoch, those of a head phase under "head_...".
        phases: with two phases: the deciding score after each, and which weights were kept.
    """

    weights: list[Any]
    result: Evaluation
    history: dict[str, Any]
    phases: dict[str, Any] = field(default_factory=dict)


def one_phase(
    fit: FitRecipe, model: Any, batches: Batches, validate: Validate, folder: Path
) -> Outcome:
    """Train everything at once.

    Args:
        fit: how.
        model: with its first weights, and frozen where it shall be.
        batches: training data.
        validate: weights -> scores on the validation split.
        folder: for what a killed run goes on from.
    """
    phase = Phase(name="all", first=0, epochs=fit.epochs, learning_rate=fit.learning_rate)
    weights, history = run_phase(fit, phase, model, batches, validate, folder)
    return Outcome(weights=weights, result=validate(weights), history=dict(history))


def two_phases(
    fit: FitRecipe,
    begin: Callable[[str, list[Any] | None], Any],
    batches: Batches,
    validate: Validate,
    folder: Path,
) -> Outcome:
    """Train the head alone, then fine-tune, and keep the head alone if that was better.

    Args:
        fit: how.
        begin: name of a phase, and weights (None for the first ones) -> the model to train.
        batches: training data.
        validate: weights -> scores on the validation split.
        folder: for what a killed run goes on from.
    """
    first, total = fit.head_epochs, fit.head_epochs + fit.epochs
    head = Phase(name="head", first=0, epochs=first, learning_rate=fit.head_learning_rate)
    tune = Phase(name="tune", first=first, epochs=fit.epochs, learning_rate=fit.learning_rate)
    stored = folder / "head.npz"
    if not stored.is_file():
        sys.stderr.write(f"epochs 1 to {first} of {total}: the head alone\n")
        model = begin("head", None)
        kept, history = run_phase(fit, head, model, batches, validate, folder / "head")
        write_whole(folder / "head.json", json.dumps(history))
        save_arrays(stored, kept)
    kept_head = load_arrays(stored)
    before = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    result_head = validate(kept_head)
    sys.stderr.write(f"epochs {first + 1} to {total}: fine-tuning, batch normalisation fixed\n")
    model = begin("tune", kept_head)
    weights, after = run_phase(fit, tune, model, batches, validate, folder / "tune")
    result = validate(weights)
    history = {**{f"head_{name}": values for name, values in before.items()}, **after}
    phases = compared(result_head, result)
    if phases["kept"] == "head":
        sys.stderr.write(f"{phases['verdict']}\n")
        weights, result = kept_head, result_head
    result.detail["phases"] = phases
    return Outcome(weights=weights, result=result, history=history, phases=phases)


def compared(head: Evaluation, tuned: Evaluation) -> dict[str, Any]:
    """Decide which of two phases is kept.

    Returns:
        The deciding score of each, "kept" ("head" or "tune"), "collapsed", and words for people.
    """
    name, before = monitored(head.scores)
    _, after = monitored(tuned.scores)
    collapsed = not after >= before - COLLAPSE  # also where it is not a number
    verdict = (
        f"fine-tuning collapsed: {name} {before:.4f} with the head alone, {after:.4f} after it; "
        "the head alone is kept"
        if collapsed
        else f"fine-tuned weights kept: {name} {before:.4f} with the head alone, {after:.4f} after"
    )
    return {
        "metric": name,
        "head_alone": before,
        "fine_tuned": after,
        "kept": "head" if collapsed else "tune",
        "collapsed": collapsed,
        "verdict": verdict,
    }


def run_phase(
    fit: FitRecipe,
    phase: Phase,
    model: Any,
    batches: Batches,
    validate: Validate,
    folder: Path,
) -> tuple[list[Any], dict[str, list[float]]]:
    """Train one phase to its end, from its last complete epoch if it was killed.

    Returns:
        The weights to keep, and the history.
    """
    steps = len(batches)
    model.compile(
        optimizer_of(fit, phase, steps),
        loss=dict(batches.losses),
        # XLA pays on JAX; TensorFlow on a CPU runs these networks faster without.
        jit_compile=keras.backend.backend() == "jax",
    )
    # Left to the first step, its variables are made inside the traced graph, which takes longer.
    model.optimizer.build(model.trainable_variables)
    checkpoint = Checkpoint(folder)
    start = max(phase.first, checkpoint.resume(model))
    recipe = batches.recipe
    course = Course(fit, phase.learning_rate, checkpoint.history, folder, recipe.one_mask)
    course.set_model(model)
    decides = fit.keep == "best" or fit.patience > 0 or fit.schedule == "plateau"
    score = Validation(lambda w: validate(w).scores, fit.validate_every, phase.end, decides)
    if start < phase.end and not course.over(course.values):
        check_memory(model, fit.batch)
        progress = Progress(phase.end, steps)
        with explained(fit.batch):
            model.fit(
                batches,
                epochs=phase.end,
                initial_epoch=start,
                # The batches are random by themselves; a shuffled order would not survive a resume.
                shuffle=False,
                verbose=0,
                callbacks=[EpochSeed(batches), score, course, checkpoint, progress],
            )
    return course.kept(), checkpoint.history


def optimizer_of(fit: FitRecipe, phase: Phase, steps_per_epoch: int) -> Any:
    """Return AdamW with the one controller of its learning rate: its schedule, or `Course`.

    Args:
        fit: how.
        phase: which stretch: its length and peak.
        steps_per_epoch: batches in an epoch.
    """
    peak, steps = phase.learning_rate, phase.epochs * steps_per_epoch
    warmup = round(steps * fit.warmup_share)
    rate: Any = peak
    if fit.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            peak * fit.final_share if warmup else peak,
            max(steps - warmup, 1),
            alpha=fit.final_share,
            warmup_target=peak if warmup else None,
            warmup_steps=warmup,
        )
    optimizer = keras.optimizers.AdamW(
        rate,
        weight_decay=fit.weight_decay,
        clipnorm=fit.clip_norm,
        use_ema=fit.ema > 0,
        ema_momentum=fit.ema or 0.99,
    )
    # Normalisation and biases are not pulled towards zero.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
