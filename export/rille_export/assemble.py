"""The whole way: run folder -> fp32 and int8 -> decision -> parity -> bundle."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

import rille
from rille.backends.litert import LiteRtBackend
from rille.bundle import Bundle, file_entries, write_bundle
from rille.bundle.manifest import SCHEMA, Contract, Decision, Manifest, Variant
from rille.datasets import Dataset, open_dataset, samples_of
from rille.datasets.readable import readable
from rille.errors import BundleError, CheckFailedError
from rille.evaluate import Evaluation, evaluate
from rille.images import decode_image
from rille.network import Network
from rille.sim import Descent, build_scene
from rille_export import calibration, convert, tune
from rille_export.card import model_card
from rille_export.decide import fit_decision
from rille_export.offsets import add_offsets, fit_offsets
from rille_export.parity import Parity, compare
from rille_export.run_folder import TrainedRun, read_run

_KERAS_TOLERANCE = 1e-3
_MODEL = {"fp32": "model.fp32.tflite", "int8": "model.int8.tflite"}
_GOLDEN = "golden.png"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How to export.

    Attributes:
        calibration_images: representative samples, 100 to 500 by custom.
        keep_fp32: whether the bundle also carries the float network.
        force: write the bundle although the parity check failed; recorded in the manifest.
        tune_steps: of tuning for int8, 0 for none; None tunes where int8 loses too much without.
        decision_from: take temperature, thresholds and class offsets from this bundle, of the same
            network trained on less, instead of fitting them on the validation split. For a network
            that has been trained on that split too, on which everything would look too good.
    """

    calibration_images: int = 240
    keep_fp32: bool = False
    force: bool = False
    tune_steps: int | None = None
    decision_from: Bundle | None = None


def export(
    folder: Path, root: Path, out: Path, options: ExportOptions, say: Callable[[str], None]
) -> tuple[Bundle, Parity]:
    """Export a finished training run to a bundle.

    Args:
        folder: the run folder.
        root: the data set it was trained on.
        out: the bundle's folder.
        options: how.
        say: called with a line at each step.

    Raises:
        BundleError: the run cannot be read or converted.
        DatasetError: the data set does not fit.
        CheckFailedError: the converted network differs from Keras, or int8 loses too much.
        SinkError: the bundle cannot be written.
    """
    run = read_run(folder)
    dataset, _ = readable(
        open_dataset(root, run.contract.task),
        f"{run.data.train}+{run.data.validation}",
        skip=bool(run.provenance.get("unreadable")),  # what training left out is left out here
    )
    model = convert.load_model(folder / "model.keras")
    source = options.decision_from
    if source is not None:
        _check_source(source, run.contract)
    offsets = _shift_classes(model, run, dataset, source, say)
    samples = calibration.choose(samples_of(dataset, run.data.train), options.calibration_images)
    say(f"calibrating on {len(samples)} images of split {run.data.train}")
    made = _attempt(run, model, samples, dataset, options, options.tune_steps or 0, say)
    if made.parity.failures and options.tune_steps is None:
        made = _second_attempt(run, model, samples, dataset, options, made, say)
    decision, parity, after, forms = made.decision, made.parity, made.after, made.forms
    if parity.failures and not options.force:
        raise CheckFailedError(
            f"{run.contract.name}: int8 loses too much, no bundle written: "
            f"{'; '.join(parity.failures)}\n{parity.table()}\n"
            "try more calibration images, or --force to write it all the same"
        )
    provenance = {
        **run.provenance,
        "calibration": {"split": run.data.train, "images": len(samples)},
        "tuned_for_int8_steps": made.steps,
        "largest_gap_keras_fp32": made.gap,
        "class_offsets": offsets,
        "decision_from": source.digest if source else None,
        "parity_failures": list(parity.failures),
        "forced": bool(parity.failures),
        **_versions(),
    }
    contract = replace(run.contract, decision=decision)
    card = model_card(
        contract, provenance, parity, after, {p: len(form.content) for p, form in forms.items()}
    )
    kept = {p: forms[p] for p in (("int8", "fp32") if options.keep_fp32 else ("int8",))}
    metrics = {
        "split": run.data.validation,
        "trained_on_this_split": run.data.seen,
        "selected_on_this_split": [] if source else _selected(after),
        "parity": parity.to_json(),
        "int8": after.detail,
    }
    return _write(out, contract, kept, card, metrics, provenance), parity


def _shift_classes(
    model: Any,
    run: TrainedRun,
    dataset: Dataset,
    source: Bundle | None,
    say: Callable[[str], None],
) -> list[float]:
    """Put offsets into a network with class maps or labels, and return them; else none."""
    if source is not None:
        offsets = [float(value) for value in source.manifest.provenance.get("class_offsets", [])]
        origin = f"from {source.where}"
    else:
        offsets = fit_offsets(model, run.contract, dataset, run.data.validation)
        origin = f"fitted on split {run.data.validation}"
    if offsets:
        add_offsets(model, offsets)
        shown = ", ".join(f"{value:+.2f}" for value in offsets)
        say(f"offsets of the classes, {origin}: {shown}")
    return offsets


def _check_source(source: Bundle, contract: Contract) -> None:
    """Refuse to take decisions from a bundle that answers another question."""
    theirs = source.manifest
    if (theirs.task, theirs.labels) != (contract.task, contract.labels):
        raise BundleError(
            f"{source.where}: its task or labels are not those of {contract.name}; --decision-from "
            "needs a bundle of the same recipe"
        )


def _versions() -> dict[str, str]:
    return {
        "exported_with": f"rille {rille.__version__}, keras {keras.__version__}, "
        f"tensorflow {tf.__version__}, python {platform.python_version()}",
        "exported_on": time.strftime("%Y-%m-%d", time.gmtime()),
    }


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """A quantised network beside its float form.

    Attributes:
        forms: both, by precision.
        gap: largest difference between Keras and fp32.
        decision: what both decide by.
        after: scores in int8.
        parity: the comparison.
        steps: of tuning for int8.
    """

    forms: dict[str, _Form]
    gap: float
    decision: Decision
    after: Evaluation
    parity: Parity
    steps: int


def _attempt(
    run: TrainedRun,
    model: Any,
    samples: list[Any],
    dataset: Dataset,
    options: ExportOptions,
    steps: int,
    say: Callable[[str], None],
) -> _Attempt:
    """Convert, decide and compare, after so many steps of tuning for int8."""
    forms, gap = _convert(run.contract, model, samples, steps, say)

    def score(precision: str, decision: Decision) -> Evaluation:
        say(f"scoring {precision} on split {run.data.validation}")
        network = _network(replace(run.contract, decision=decision), forms[precision])
        return evaluate(network, dataset, run.data.validation)

    source = options.decision_from
    decision = (
        fit_decision(run.contract.decision, score("int8", run.contract.decision))
        if source is None
        else source.manifest.decision
    )
    before, after = score("fp32", decision), score("int8", decision)
    return _Attempt(
        forms=forms,
        gap=gap,
        decision=decision,
        after=after,
        parity=compare(before, after, decision),
        steps=steps,
    )


def _second_attempt(
    run: TrainedRun,
    model: Any,
    samples: list[Any],
    dataset: Dataset,
    options: ExportOptions,
    first: _Attempt,
    say: Callable[[str], None],
) -> _Attempt:
    """Tune for int8 and try again, where a network can be tuned."""
    say(f"int8 loses too much as it is: {'; '.join(first.parity.failures)}")
    try:
        return _attempt(run, model, samples, dataset, options, tune.STEPS, say)
    except BundleError as wrong:
        say(str(wrong))
        return first


@dataclass(frozen=True)
class _Form:
    """A converted network."""

    content: bytes
    variant: Variant


def _convert(
    contract: Contract, model: Any, samples: list[Any], steps: int, say: Callable[[str], None]
) -> tuple[dict[str, _Form], float]:
    """Convert to fp32 and int8; return them and the largest gap between Keras and fp32."""
    tensors = calibration.inputs(contract, (1, *model.input_shape[1:]), samples)
    content = {"fp32": convert.to_tflite(model)}
    gap = convert.largest_gap(model, content["fp32"], tensors[:8])
    if not gap <= _KERAS_TOLERANCE:
        raise CheckFailedError(f"{contract.name}: fp32 TFLite differs from Keras by {gap:.3g}")
    small = tune.tuned(model, tensors, steps, say) if steps else model
    content["int8"] = convert.to_tflite(small, tensors)
    forms = {
        p: _Form(data, convert.describe_variant(data, _MODEL[p], p)) for p, data in content.items()
    }
    return forms, gap


def _write(
    out: Path,
    contract: Contract,
    forms: dict[str, _Form],
    card: str,
    metrics: dict[str, Any],
    provenance: dict[str, Any],
) -> Bundle:
    """Render the golden image, note what each network answers to it, and write the bundle."""
    _, height, width, _ = forms["int8"].variant.input.shape
    # A rendered image, in which nobody can hold rights.
    pixels, _ = Descent(build_scene(11), 11, width, height, 100).frame(40)
    good, picture = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert good
    files = {"MODEL_CARD.md": card.encode(), _GOLDEN: picture.tobytes()}
    variants = {}
    for precision, form in forms.items():
        network = _network(contract, form)
        tensor, _ = network.preprocessor(decode_image(files[_GOLDEN], _GOLDEN))
        golden = {}
        for role, values in network.backend.infer(tensor).items():
            golden[role] = f"golden.{precision}.{role}.bin"
            files[golden[role]] = np.ascontiguousarray(values).tobytes()
        files[form.variant.file] = form.content
        variants[f"tflite-{precision}"] = replace(form.variant, golden=golden)
    manifest = Manifest(
        **{f.name: getattr(contract, f.name) for f in fields(Contract)},
        schema=SCHEMA,
        variants=variants,
        files=file_entries(files),
        golden_image=_GOLDEN,
        metrics=metrics,
        provenance=provenance,
    )
    return write_bundle(out, manifest, files)


def _network(contract: Contract, form: _Form) -> Network:
    return Network(contract, form.variant, LiteRtBackend(form.content, form.variant, threads=2))


def _selected(after: Evaluation) -> list[str]:
    """Return what was fitted on the validation split, so that its figures flatter a little."""
    if after.task == "classification":
        return ["temperature", "abstain_below"]
    if after.task == "multilabel":
        return ["class_offsets", "temperature", "label_thresholds"]
    return ["feature_threshold"] if after.objects is not None else ["class_offsets"]


def default_say(line: str) -> None:
    """Write a line for people."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
