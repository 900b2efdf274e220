"""ONNX and float forms for a finished bundle whose training run is not at hand.

A bundle that flies holds int8 TFLite; TensorRT builds its engine from ONNX. What both compute with
is in the bundle: its float form if it has one, else its integers, whose weights are turned back
into the real numbers that they stand for. In `onnx-int8` these are rounded to the very same
integers again, because every channel's largest weight is its largest step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rille.bundle import Bundle, file_entries, write_bundle
from rille.bundle.manifest import Manifest
from rille.datasets import Dataset, open_dataset, samples_of
from rille.errors import BundleError, CheckFailedError, ConfigError
from rille.evaluate import Evaluation, evaluate
from rille.images import decode_image
from rille.seu.twin import float_model
from rille_export import calibration, to_onnx
from rille_export.card import score_table
from rille_export.convert import describe_variant
from rille_export.forms import FLOAT, Form, chosen_forms
from rille_export.golden import answers
from rille_export.parity import Parity, compare
from rille_export.qdq import float_weights
from rille_export.versions import versions

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What is added to, and with what."""

    bundle: Bundle
    dataset: Dataset
    validation: str
    calibrated_on: str
    tensors: list[Any]
    say: Say


def add_forms(
    bundle: Bundle,
    root: Path,
    out: Path,
    targets: Sequence[str],
    *,
    calibration_images: int,
    force: bool,
    say: Say,
) -> tuple[Bundle, dict[str, Parity]]:
    """Write a copy of a bundle that carries further forms of its network.

    Args:
        bundle: verified; holds a float or an int8 TFLite network.
        root: the data set that it was trained on, for ranges and scores.
        out: the new bundle's folder.
        targets: `onnx-fp32`, `onnx-fp16`, `onnx-int8`, `tensorrt` for the last two, `tflite-fp32`.
        calibration_images: representative samples.
        force: write although a form loses too much; recorded in the manifest.
        say: called with a line at each step.

    Returns:
        The bundle, and each new form's comparison with the float network.

    Raises:
        ConfigError: a target that needs the trained network itself.
        BundleError: the bundle does not say what it was scored on, or cannot be converted.
        DatasetError: the data set does not fit.
        CheckFailedError: a form loses too much.
        SinkError: the bundle cannot be written.
    """
    wanted = chosen_forms(targets)
    others = [name for name in wanted if name != FLOAT and not name.startswith("onnx")]
    if others:
        raise ConfigError(
            f"--target {others[0]}: can only be made of the trained network; to a finished bundle "
            "tflite-fp32, onnx-fp32, onnx-fp16, onnx-int8 and tensorrt can be added"
        )
    task = _task(bundle, root, calibration_images, say)
    content, origin = _float_network(bundle)
    forms = {FLOAT: Form(content, describe_variant(content, "model.fp32.tflite", "fp32"))}
    for name in wanted:
        if name == FLOAT:
            continue
        say(f"making {name} of {origin}")
        forms[name] = _onnx_form(content, forms[FLOAT], name, task.tensors)
    scores = {name: _score(task, name, form) for name, form in forms.items()}
    decision = bundle.manifest.decision
    parity = {name: compare(scores[FLOAT], scores[name], decision) for name in wanted}
    failures = [f"{name}: {why}" for name in wanted for why in parity[name].failures]
    if failures and not force:
        tables = "\n".join(f"{name}:\n{parity[name].table()}" for name in wanted)
        raise CheckFailedError(
            f"{bundle.manifest.name}: loses too much, no bundle written: {'; '.join(failures)}\n"
            f"{tables}\ntry more calibration images, or --force to write it all the same"
        )
    made = {name: forms[name] for name in wanted}
    return _write(out, task, made, parity, origin, failures), parity


def _task(bundle: Bundle, root: Path, images: int, say: Say) -> _Task:
    """Open the data that the bundle names and prepare the inputs for ranges."""
    manifest = bundle.manifest
    scored = manifest.metrics.get("split")
    calibrated_on = manifest.provenance.get("calibration", {}).get("split")
    if not isinstance(scored, str) or not isinstance(calibrated_on, str):
        raise BundleError(
            f"{bundle.where}: its manifest does not say which splits it was calibrated and scored "
            "on; export it from its training run: rille export RUN"
        )
    dataset = open_dataset(root, manifest.task)
    calibration.check_data(dataset, manifest, manifest.provenance.get("dataset"))
    samples = calibration.choose(samples_of(dataset, calibrated_on), images)
    say(f"calibrating on {len(samples)} images of split {calibrated_on}")
    _, form = bundle.variant(None, "tflite")
    return _Task(
        bundle=bundle,
        dataset=dataset,
        validation=scored,
        calibrated_on=calibrated_on,
        tensors=calibration.inputs(manifest, form.input.shape, samples),
        say=say,
    )


def _float_network(bundle: Bundle) -> tuple[bytes, str]:
    """Return the network in float32 as TFLite, and what it was made of."""
    variants = bundle.manifest.variants
    if FLOAT in variants:
        return bundle.files[variants[FLOAT].file], FLOAT
    name, form = bundle.variant(None, "tflite")
    if form.precision != "int8":
        raise BundleError(f"{bundle.where}: holds {name}, and ONNX is made of float32 or int8")
    return float_model(bundle.files[form.file]), f"the weights of {name}"


def _onnx_form(content: bytes, plain: Form, name: str, tensors: Sequence[Any]) -> Form:
    precision = name.partition("-")[2]
    roles = {role: entry.index for role, entry in plain.variant.outputs.items()}
    made = to_onnx.from_tflite(content, roles, precision, tensors)
    file = f"model.{precision}.onnx"
    variant = to_onnx.describe_variant(made, file, precision, list(roles))
    in_float = tuple(float_weights(made)) if precision == "int8" else ()
    return Form(made, variant, in_float)


def _score(task: _Task, name: str, form: Form) -> Evaluation:
    task.say(f"scoring {name} on split {task.validation}")
    return evaluate(form.network(task.bundle.manifest), task.dataset, task.validation)


def _write(
    out: Path,
    task: _Task,
    made: dict[str, Form],
    parity: dict[str, Parity],
    origin: str,
    failures: list[str],
) -> Bundle:
    """Note what each form answers to the golden images, and write everything."""
    before = task.bundle.manifest
    pictures = [decode_image(task.bundle.files[name], name) for name in before.golden_images]
    files = dict(task.bundle.files)
    variants = dict(before.variants)
    for name, form in made.items():
        golden = answers(form.network(before), pictures)
        named = {role: f"golden.{name}.{role}.bin" for role in golden}
        files |= {named[role]: content for role, content in golden.items()}
        files[form.variant.file] = form.content
        variants[name] = replace(form.variant, golden=named)
    card = files.get("MODEL_CARD.md", b"").decode().rstrip()
    files["MODEL_CARD.md"] = f"{card}\n\n{_addition(task, made, parity, origin)}\n".encode()
    in_float = {name: list(form.in_float) for name, form in made.items() if form.in_float}
    added = {
        "made_of": origin,
        "calibration": {"split": task.calibrated_on, "images": len(task.tensors)},
        "forms": list(made),
        "parity_failures": failures,
        "forced": bool(failures),
        **versions(),
    }
    provenance = {
        **before.provenance,
        "layers_in_float": {**before.provenance.get("layers_in_float", {}), **in_float},
        "added": [*before.provenance.get("added", []), added],
    }
    measured = {name: one.to_json() for name, one in parity.items()}
    metrics = {**before.metrics, "parity": {**before.metrics.get("parity", {}), **measured}}
    manifest: Manifest = replace(
        before,
        variants=variants,
        files=file_entries(files),
        metrics=metrics,
        provenance=provenance,
    )
    return write_bundle(out, manifest, files)


def _addition(task: _Task, made: dict[str, Form], parity: dict[str, Parity], origin: str) -> str:
    """Return what the model card says of the forms added."""
    sizes = ", ".join(f"{name} {len(form.content) / 1e6:.2f} MB" for name, form in made.items())
    lines = [
        "## Forms added",
        f"Made of {origin}, scored on split `{task.validation}`; *float* is that network in "
        f"float32. {sizes}.",
        score_table(parity),
        *(
            f"- {name} computes in float: {', '.join(form.in_float)}"
            for name, form in made.items()
            if form.in_float
        ),
    ]
    return "\n\n".join(lines)
