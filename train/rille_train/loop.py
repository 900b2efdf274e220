"""Training from a recipe to a run folder: weights, contract, history, scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from rille.bundle.manifest import Contract, LabelEntry
from rille.datasets import Dataset, ImageSample, Label, open_dataset, samples_of
from rille.datasets.check import leaks_between
from rille.errors import ConfigError, DatasetError
from rille.evaluate import Evaluation, evaluate
from rille_train.batches import open_batches
from rille_train.batches.photos import LabelBatches, PhotoBatches
from rille_train.callbacks import Checkpoint, EpochSeed, Progress, Validation, averaged_weights
from rille_train.head import fit_head
from rille_train.keras_backend import keras_network
from rille_train.models import build_model, for_flight
from rille_train.models.classifier import freeze, load_mobilenet_v2_backbone
from rille_train.recipe import FitRecipe, Recipe
from rille_train.report import write_examples, write_training_report
from rille_train.run_folder import claim_run, write_run


def train(
    recipe: Recipe,
    root: Path,
    out: Path,
    weights: Path | None = None,
    extra: Sequence[Path] = (),
) -> Evaluation:
    """Train a recipe's network and write the run folder.

    The folder holds `model.keras` (float32), `contract.json` (what `rille export` needs),
    `recipe.toml` (resolved), `history.json`, `validation.json`, `examples/` and `report.html`. A
    killed run continues from its last complete epoch when it is started again with the same recipe
    and folder.

    Args:
        recipe: what to do.
        root: folder of the data set, in its published layout.
        out: the run folder.
        weights: file or folder with backbone weights.
        extra: folders of further data sets to draw training images from; scored is `root` alone.

    Returns:
        Scores of the final weights on the validation split.

    Raises:
        DatasetError: the data set does not fit the recipe.
        ConfigError: backbone weights are missing, or `out` holds another run.
        DivergedError: the loss is no longer finite.
    """
    datasets = [open_dataset(folder, recipe.task) for folder in (root, *extra)]
    return train_on(recipe, datasets, out, weights)


def train_on(
    recipe: Recipe, datasets: Sequence[Dataset], out: Path, weights: Path | None = None
) -> Evaluation:
    """Train on open data sets, the first of which is scored; see `train`.

    A run folder that is finished is scored again and not trained again.
    """
    dataset = datasets[0]
    refuse_leaks(recipe, datasets)
    claim_run(out, recipe)
    keras.utils.set_random_seed(recipe.fit.seed)
    contract = _contract(recipe, dataset)
    validate = _validator(recipe, contract, dataset)
    if (out / "validation.json").is_file():
        finished = keras.models.load_model(out / "model.keras", compile=False)
        done: Evaluation = evaluate(
            keras_network(finished, contract), dataset, recipe.data.validation
        )
        return done
    set_precision(recipe.fit.precision)
    batches = open_batches(recipe, datasets, contract)
    model = build_model(recipe, len(contract.labels), _side(recipe))
    if recipe.model.backbone:
        load_mobilenet_v2_backbone(model, _find_backbone(recipe, dataset.root, weights))
    if recipe.fit.head_steps and isinstance(batches, PhotoBatches | LabelBatches):
        fit_head(model, batches)
    freeze(model, recipe.model.freeze_below)
    steps = len(batches)
    model.compile(_optimizer(recipe.fit, steps), loss=dict(batches.losses), jit_compile=_jit())
    checkpoint = Checkpoint(out / "resume")
    score = Validation(
        lambda kept: validate(kept).scores, recipe.fit.validate_every, recipe.fit.epochs
    )
    model.fit(
        batches,
        epochs=recipe.fit.epochs,
        initial_epoch=checkpoint.resume(model),
        # The batches are random by themselves; a shuffled order would not survive a resume.
        shuffle=False,
        verbose=0,
        callbacks=[EpochSeed(batches), score, checkpoint, Progress(recipe.fit.epochs, steps)],
    )
    kept = averaged_weights(model)
    result: Evaluation = validate(kept)
    keras.config.set_dtype_policy("float32")
    model = build_model(recipe, len(contract.labels))
    model.set_weights(kept)
    flown = for_flight(model)
    write_run(out, recipe, contract, flown, checkpoint.history, result, datasets)
    split = recipe.data.validation
    write_examples(out / "examples", keras_network(flown, contract), dataset, split, result)
    write_training_report(out)
    return result


def refuse_leaks(recipe: Recipe, datasets: Sequence[Dataset]) -> None:
    """Refuse to train where training and validation samples are not independent.

    Raises:
        DatasetError: they share groups or files, and the recipe does not allow it.
    """
    if recipe.data.allow_leaks:
        return
    train = [sample for d in datasets for sample in samples_of(d, recipe.data.train)]
    leaks = leaks_between(train, samples_of(datasets[0], recipe.data.validation))
    if leaks:
        more = f" (and {len(leaks) - 3} more)" if len(leaks) > 3 else ""
        raise DatasetError(
            f"{datasets[0].root}: splits {recipe.data.train} and {recipe.data.validation} are not "
            f"independent: {'; '.join(leaks[:3])}{more}. Scores would flatter: cross-validate "
            "with --folds, or allow it with --set data.allow_leaks=true"
        )


def set_precision(precision: str) -> None:
    """Choose the number format of the computation; weights stay float32.

    "auto" takes bfloat16 on an accelerator and on processors with bfloat16 arithmetic.
    """
    if precision == "auto":
        flags = Path("/proc/cpuinfo")
        native = flags.is_file() and "avx512_bf16" in flags.read_text(encoding="utf-8")
        precision = "bfloat16" if native or _has_gpu() else "float32"
    keras.config.set_dtype_policy("float32" if precision == "float32" else "mixed_bfloat16")


def _has_gpu() -> bool:
    return any("gpu" in str(device).lower() for device in keras.distribution.list_devices())


def _jit() -> Any:
    """XLA pays on JAX; TensorFlow on a CPU runs these networks faster without."""
    return keras.backend.backend() == "jax"


def _side(recipe: Recipe) -> int | None:
    return recipe.augment.window_px if recipe.task == "segmentation" else None


def _contract(recipe: Recipe, dataset: Dataset) -> Contract:
    """Keep the published ids of the classes that have training images."""
    samples = samples_of(dataset, recipe.data.train)
    labels = dataset.labels
    if recipe.task == "classification":
        seen = {s.label_id for s in samples if isinstance(s, ImageSample)}
        labels = tuple(label for label in labels if label.id in seen)
    elif recipe.data.labels:
        labels = tuple(Label(i, name) for i, name in enumerate(recipe.data.labels, 1))
    return Contract(
        name=recipe.name,
        version=recipe.version,
        task=recipe.task,
        summary=recipe.summary,
        licence=recipe.licence,
        labels=tuple(LabelEntry(id=label.id, name=label.name) for label in labels),
        preprocess=recipe.preprocess,
        decision=recipe.decision,
    )


def _validator(recipe: Recipe, contract: Contract, dataset: Dataset) -> Any:
    """Return a function that scores weights on the validation split in float32."""
    keras.config.set_dtype_policy("float32")
    model = build_model(recipe, len(contract.labels))
    flown = for_flight(model)

    def validate(weights: Sequence[Any]) -> Evaluation:
        model.set_weights(weights)
        return evaluate(keras_network(flown, contract), dataset, recipe.data.validation)

    return validate


def _find_backbone(recipe: Recipe, root: Path, weights: Path | None) -> Path:
    name = recipe.model.backbone
    places = [root.resolve().parent / "backbones", Path("data/backbones")]
    if weights is not None:
        places = [weights.parent if weights.is_file() else weights]
        name = weights.name if weights.is_file() else name
    for place in places:
        if (place / name).is_file():
            return place / name
    raise ConfigError(
        f"backbone weights {name} not found in {', '.join(map(str, places))}; name them with "
        '--weights PATH, or start from random ones with --set model.backbone=""'
    )


def _optimizer(fit: FitRecipe, steps_per_epoch: int) -> Any:
    steps = fit.epochs * steps_per_epoch
    warmup = round(steps * fit.warmup_share)
    schedule = keras.optimizers.schedules.CosineDecay(
        fit.learning_rate * fit.final_share if warmup else fit.learning_rate,
        max(steps - warmup, 1),
        alpha=fit.final_share,
        warmup_target=fit.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=fit.weight_decay,
        clipnorm=fit.clip_norm,
        use_ema=fit.ema > 0,
        ema_momentum=fit.ema or 0.99,
    )
    # Normalisation and biases are not pulled towards zero.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
