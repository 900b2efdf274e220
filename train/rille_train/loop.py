"""Training from a recipe to a run folder: weights, contract, history, scores."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from rille.bundle.manifest import Contract, LabelEntry
from rille.datasets import (
    Dataset,
    ImageSample,
    Label,
    open_dataset,
    refuse_folder_labels,
    samples_of,
)
from rille.datasets.check import leaks_between
from rille.datasets.readable import readable
from rille.errors import ConfigError, DatasetError
from rille.evaluate import Evaluation, evaluate
from rille_train.batches import Batches, open_batches
from rille_train.batches.photos import LabelBatches, PhotoBatches
from rille_train.head import fit_head
from rille_train.keras_backend import keras_network
from rille_train.models import assign_weights, build_model, for_flight
from rille_train.models.application import freeze_base, load_base
from rille_train.models.classifier import freeze, load_mobilenet_v2_backbone
from rille_train.one_mask import merged_values, with_published
from rille_train.phases import one_phase, two_phases
from rille_train.recipe import Recipe
from rille_train.report import write_examples, write_training_report
from rille_train.run_folder import claim_run, write_run

PLAIN_CONVOLUTIONS = ("crater-unet", "unet", "resunet")
"""Kinds of networks without depthwise convolutions."""


def train(
    recipe: Recipe,
    root: Path,
    out: Path,
    weights: Path | None = None,
    extra: Sequence[Path] = (),
    *,
    skip_unreadable: bool = False,
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
        skip_unreadable: leave damaged images out, and record which, instead of stopping.

    Returns:
        Scores of the final weights on the validation split.

    Raises:
        DatasetError: the data set does not fit the recipe.
        ConfigError: backbone weights are missing, or `out` holds another run.
        DivergedError: the loss is no longer finite.
    """
    datasets = [open_dataset(folder, recipe.task) for folder in (root, *extra)]
    return train_on(recipe, datasets, out, weights, skip_unreadable=skip_unreadable)


def train_on(
    recipe: Recipe,
    datasets: Sequence[Dataset],
    out: Path,
    weights: Path | None = None,
    *,
    skip_unreadable: bool = False,
) -> Evaluation:
    """Train on open data sets, the first of which is scored; see `train`.

    A run folder that is finished is scored again and not trained again.
    """
    refuse_folder_labels(datasets[0].labels, str(datasets[0].root))
    datasets, damaged = _readable(recipe, datasets, skip_unreadable)
    dataset = datasets[0]
    leaks = find_leaks(recipe, datasets)
    claim_run(out, recipe)
    keras.utils.set_random_seed(recipe.fit.seed)
    contract = _contract(recipe, dataset)
    validate = _validator(recipe, contract, dataset)
    if (out / "validation.json").is_file():
        finished = keras.models.load_model(out / "model.keras", compile=False)
        network = keras_network(finished, contract)
        done: Evaluation = evaluate(network, dataset, recipe.data.validation)
        return with_published(done, network, dataset, recipe) if recipe.one_mask else done
    if leaks:
        sys.stderr.write(f"{recipe.name}: scores will flatter: {'; '.join(leaks[:3])}\n")
    set_precision(recipe.fit.precision, recipe.model.kind)
    batches = open_batches(recipe, datasets, contract)
    source = _backbone_file(recipe, dataset.root, weights)

    def begin(phase: str, before: list[Any] | None) -> Any:
        return _begin(recipe, contract, batches, source, phase, before)

    folder = out / "resume"
    if recipe.fit.head_epochs:
        outcome = two_phases(recipe.fit, begin, batches, validate, folder)
    else:
        outcome = one_phase(recipe.fit, begin("all", None), batches, validate, folder)
    keras.config.set_dtype_policy("float32")
    model = build_model(recipe, len(contract.labels))
    assign_weights(model, outcome.weights)
    flown = for_flight(model)
    if recipe.one_mask:
        network = keras_network(flown, contract)
        result = with_published(outcome.result, network, dataset, recipe)
        outcome = replace(outcome, result=result)
    flaws = {"leaks": leaks, "unreadable": damaged}
    write_run(out, recipe, contract, flown, outcome, datasets, backbone=source, flaws=flaws)
    network, split = keras_network(flown, contract), recipe.data.validation
    write_examples(out / "examples", network, dataset, split, outcome.result)
    write_training_report(out)
    return outcome.result


def _begin(
    recipe: Recipe,
    contract: Contract,
    batches: Batches,
    source: Path | None,
    phase: str,
    before: list[Any] | None,
) -> Any:
    """Build the model that a phase trains, with the weights it starts from, frozen as it shall be.

    Args:
        recipe, contract, batches: what is trained on what.
        source: file of backbone weights, or None.
        phase: "all", "head" or "tune"; see `rille_train.phases`.
        before: weights from the phase before.
    """
    if phase == "tune":
        keras.utils.set_random_seed(recipe.fit.seed + 1)
    # Statistics that came with pretrained weights are never mixed with those of a few batches.
    fixed = phase != "all" or source is not None
    model = build_model(recipe, len(contract.labels), _side(recipe), fixed=fixed)
    below = recipe.model.freeze_below
    if recipe.model.kind == "application":
        if before is not None:
            assign_weights(model, before)
        elif source is not None:
            load_base(model, source, recipe.model.base)
        if fixed:
            freeze_base(model, "*" if phase == "head" else below)
        return model
    if source is not None:
        load_mobilenet_v2_backbone(model, source)
    if recipe.fit.head_steps and isinstance(batches, PhotoBatches | LabelBatches):
        fit_head(model, batches)
    freeze(model, below)
    return model


def _readable(
    recipe: Recipe, datasets: Sequence[Dataset], skip: bool
) -> tuple[list[Dataset], list[str]]:
    """Return the data sets without damaged images, and a sentence on each of those."""
    splits = [f"{recipe.data.train}+{recipe.data.validation}", *[recipe.data.train] * len(datasets)]
    found = [readable(d, split, skip=skip) for d, split in zip(datasets, splits, strict=False)]
    damaged = [reason for _, reasons in found for reason in reasons]
    if damaged:
        sys.stderr.write(f"{recipe.name}: {len(damaged)} damaged images left out\n")
    return [dataset for dataset, _ in found], damaged


def find_leaks(recipe: Recipe, datasets: Sequence[Dataset]) -> list[str]:
    """Return in words why training and validation samples are not independent.

    Raises:
        DatasetError: they share groups or files, and the recipe does not allow it.
    """
    train = [sample for d in datasets for sample in samples_of(d, recipe.data.train)]
    leaks = leaks_between(train, samples_of(datasets[0], recipe.data.validation))
    if leaks and not recipe.data.allow_leaks:
        more = f" (and {len(leaks) - 3} more)" if len(leaks) > 3 else ""
        raise DatasetError(
            f"{datasets[0].root}: splits {recipe.data.train} and {recipe.data.validation} are not "
            f"independent: {'; '.join(leaks[:3])}{more}. Scores would flatter: cross-validate "
            "with --folds, or allow it with --set data.allow_leaks=true"
        )
    return leaks


def set_precision(precision: str, kind: str) -> None:
    """Choose the number format of the computation; weights stay float32.

    "auto" takes bfloat16 on an accelerator, and on processors with bfloat16 arithmetic for networks
    of plain convolutions: there a step takes .7 of the time (of the crater network .96), and one
    with depthwise convolutions a third more (TensorFlow on two cores of a Xeon with AMX).

    Args:
        precision: "auto", "float32" or "bfloat16".
        kind: of the network; see `rille_train.recipe.ModelRecipe`.
    """
    if precision == "auto":
        flags = Path("/proc/cpuinfo")
        native = flags.is_file() and "avx512_bf16" in flags.read_text(encoding="utf-8")
        native = native and kind in PLAIN_CONVOLUTIONS
        precision = "bfloat16" if native or _has_gpu() else "float32"
    keras.config.set_dtype_policy("float32" if precision == "float32" else "mixed_bfloat16")


def _has_gpu() -> bool:
    return any("gpu" in str(device).lower() for device in keras.distribution.list_devices())


def _side(recipe: Recipe) -> int | None:
    return recipe.augment.window_px if recipe.task == "segmentation" else None


def _contract(recipe: Recipe, dataset: Dataset) -> Contract:
    """Keep the published ids of the classes that have training images."""
    samples = samples_of(dataset, recipe.data.train)
    labels = dataset.labels
    if recipe.task == "classification":
        seen = {s.label_id for s in samples if isinstance(s, ImageSample)}
        labels = tuple(label for label in labels if label.id in seen)
    elif recipe.one_mask:
        merged_values(dataset, recipe.data.labels)  # refuses labels that are not there
        inside = [x for x in labels if x.name in recipe.data.labels or not recipe.data.labels]
        labels = (Label(inside[0].id, "+".join(label.name for label in inside)),)
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
        # Such a network tells left from right by itself; it never saw the Sun above or below.
        light="horizontal" if recipe.model.canonical_light else "",
    )


def _validator(recipe: Recipe, contract: Contract, dataset: Dataset) -> Any:
    """Return a function that scores weights on the validation split in float32."""
    keras.config.set_dtype_policy("float32")
    model = build_model(recipe, len(contract.labels))
    flown = for_flight(model)

    def validate(weights: Sequence[Any]) -> Evaluation:
        assign_weights(model, weights)
        return evaluate(keras_network(flown, contract), dataset, recipe.data.validation)

    return validate


def _backbone_file(recipe: Recipe, root: Path, weights: Path | None) -> Path | None:
    """Return the file of backbone weights, or None for random ones, which is said for people."""
    if recipe.model.backbone:
        return _find_backbone(recipe, root, weights)
    if recipe.model.kind != "application":
        return None
    if weights is None:
        sys.stderr.write(
            f"{recipe.name}: no --weights: {recipe.model.base} starts from random weights"
            + ("; no use frozen: --set fit.head_epochs=0" if recipe.fit.head_epochs else "")
            + "\n"
        )
    elif not weights.is_file():
        raise ConfigError(f"{weights}: no such file; --weights names one for {recipe.model.base}")
    return weights


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
