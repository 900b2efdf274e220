"""The whole way: run folder -> fp32 and int8 -> decision -> parity -> bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rille.bundle import Bundle, file_entries, write_bundle
from rille.bundle.manifest import SCHEMA, Contract, Decision, Manifest
from rille.datasets import Dataset, open_dataset, samples_of
from rille.datasets.readable import readable
from rille.errors import BundleError, CheckFailedError
from rille.evaluate import Evaluation, evaluate
from rille_export import calibration, convert, tune
from rille_export.card import model_card
from rille_export.decide import fit_decision
from rille_export.extra import further_samples
from rille_export.familiarity import Fitted, fit_familiarity
from rille_export.foreign import check_logits, read_foreign
from rille_export.forms import FLOAT, Form, chosen_forms, make_forms, quantised
from rille_export.golden import golden_files
from rille_export.noise import noisiest_layers
from rille_export.offsets import add_offsets, fit_offsets
from rille_export.parity import Parity, compare
from rille_export.run_folder import TrainedRun, read_run
from rille_export.speed import measure, warned
from rille_export.versions import versions


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How to export.

    Attributes:
        calibration_images: representative samples, 100 to 500 by custom.
        targets: forms that the bundle shall carry; see `rille_export.forms`.
        force: write the bundle although the parity check failed; recorded in the manifest.
        tune_steps: of tuning for int8, 0 for none; None tunes where int8 loses too much without.
        allow_float: operations that may work on floats in integer forms of TFLite.
        decision_from: take temperature, thresholds and class offsets from this bundle, of the same
            network trained on less, instead of fitting them on the validation split. For a network
            that has been trained on that split too, on which everything would look too good.
        contract: what a network from elsewhere is for; see `rille_export.foreign`.
        extra: folders of the further data sets that it was trained on.
    """

    calibration_images: int = 240
    targets: tuple[str, ...] = ("tflite-int8",)
    force: bool = False
    tune_steps: int | None = None
    allow_float: tuple[str, ...] = ()
    decision_from: Bundle | None = None
    contract: Path | None = None
    extra: tuple[Path, ...] = ()


def export(
    folder: Path, root: Path, out: Path, options: ExportOptions, say: Callable[[str], None]
) -> tuple[Bundle, dict[str, Parity]]:
    """Export a finished training run to a bundle.

    Args:
        folder: the run folder; with a contract in the options, a `.keras` file or a SavedModel.
        root: the data set it was trained on.
        out: the bundle's folder.
        options: how.
        say: called with a line at each step.

    Returns:
        The bundle, and each form's comparison with the float network.

    Raises:
        BundleError: the run cannot be read or converted.
        DatasetError: the data set does not fit.
        CheckFailedError: the converted network differs from Keras, or int8 loses too much.
        SinkError: the bundle cannot be written.
    """
    chosen_forms(options.targets)  # a name that is none is refused before any work
    run, model = _opened(folder, options)
    dataset, _ = readable(
        open_dataset(root, run.contract.task),
        f"{run.data.train}+{run.data.validation}",
        skip=bool(run.provenance.get("unreadable")),  # what training left out is left out here
    )
    calibration.check_data(dataset, run.contract, run.provenance.get("dataset"))
    source = options.decision_from
    if source is not None:
        _check_source(source, run.contract)
    model, offsets = _shift_classes(model, run, dataset, source, say)
    extra = further_samples(run, options.extra, say)
    samples = calibration.choose(samples_of(dataset, run.data.train), options.calibration_images)
    if options.contract is not None:
        _check_answers(model, run.contract, samples[:8], folder)
    say(f"calibrating on {len(samples)} images of split {run.data.train}")
    task = _Task(run=run, model=model, dataset=dataset, samples=samples, options=options, say=say)
    made = _attempt(task, options.tune_steps or 0)
    if made.failures and options.tune_steps is None:
        made = _second_attempt(task, made)
    if made.failures and not options.force:
        raise CheckFailedError(_complaint(task, made))
    provenance = _provenance(task, made, offsets)
    contract = replace(run.contract, decision=made.decision)
    fitted = fit_familiarity(
        contract, made.forms[made.first], dataset, run.data, source, extra, say
    )
    kept = {name: made.forms[name] for name in made.parity}
    sizes = {name: len(form.content) for name, form in kept.items()}
    speeds = measure(made.forms)
    after = made.after[made.first]
    warnings = warned(speeds, say)
    told = {} if fitted is None else fitted.record
    card = model_card(contract, provenance, made.parity, after, sizes, warnings, told)
    metrics = _metrics(task, made) | {"speed": {k: s.to_json() for k, s in speeds.items()}}
    metrics |= {"out_of_distribution": told} if told else {}
    bundle = _write(out, contract, kept, made.first, card, metrics, provenance, fitted)
    return bundle, made.parity


def _metrics(task: _Task, made: _Attempt) -> dict[str, Any]:
    """Return the scores, and what they are worth."""
    after, data = made.after[made.first], task.run.data
    return {
        "split": data.validation,
        "trained_on_this_split": data.seen,
        "selected_on_this_split": [] if task.options.decision_from else _selected(after),
        "parity": {name: parity.to_json() for name, parity in made.parity.items()},
        made.first: after.detail,
    }


def _opened(path: Path, options: ExportOptions) -> tuple[TrainedRun, Any]:
    """Return what is to be exported: a run of ours, or a network from elsewhere."""
    if options.contract is not None:
        return read_foreign(path, options.contract)
    return read_run(path), convert.load_model(path / "model.keras")


def _check_answers(model: Any, contract: Contract, samples: list[Any], folder: Path) -> None:
    shape = (1, *model.input_shape[1:])
    check_logits(model, calibration.inputs(contract, shape, samples), folder)


def _provenance(task: _Task, made: _Attempt, offsets: list[float]) -> dict[str, Any]:
    """Return what the run says of itself, and how it was exported."""
    run, source = task.run, task.options.decision_from
    return {
        **run.provenance,
        "calibration": {"split": run.data.train, "images": len(task.samples)},
        "tuned_for_int8_steps": made.steps,
        "largest_gap_keras_fp32": made.gap,
        "layers_in_float": {
            name: list(made.forms[name].in_float)
            for name in made.parity
            if made.forms[name].in_float
        },
        "class_offsets": offsets,
        "decision_from": source.digest if source else None,
        "parity_failures": made.failures,
        "forced": bool(made.failures),
        **versions(),
    }


def _shift_classes(
    model: Any,
    run: TrainedRun,
    dataset: Dataset,
    source: Bundle | None,
    say: Callable[[str], None],
) -> tuple[Any, list[float]]:
    """Return a network with class maps or labels with offsets, and these; others as they are."""
    if source is not None:
        offsets = [float(value) for value in source.manifest.provenance.get("class_offsets", [])]
        origin = f"from {source.where}"
    else:
        offsets = fit_offsets(model, run.contract, dataset, run.data.validation)
        origin = f"fitted on split {run.data.validation}"
    if offsets:
        model = add_offsets(model, offsets)
        shown = ", ".join(f"{value:+.2f}" for value in offsets)
        say(f"offsets of the classes, {origin}: {shown}")
    return model, offsets


def _check_source(source: Bundle, contract: Contract) -> None:
    """Refuse to take decisions from a bundle that answers another question."""
    theirs = source.manifest
    if (theirs.task, theirs.labels) != (contract.task, contract.labels):
        raise BundleError(
            f"{source.where}: its task or labels are not those of {contract.name}; --decision-from "
            "needs a bundle of the same recipe"
        )


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What is exported, and how: everything that an attempt needs."""

    run: TrainedRun
    model: Any
    dataset: Dataset
    samples: list[Any]
    options: ExportOptions
    say: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """A network in the forms asked for, beside its float form.

    Attributes:
        forms: all of them by name, the float one among them.
        first: the form that decisions were fitted on, if any were.
        gap: largest difference between Keras and a float form.
        decision: what all decide by.
        after: scores of each form asked for.
        parity: its comparison with the float form.
        steps: of tuning for int8.
    """

    forms: dict[str, Form]
    first: str
    gap: float
    decision: Decision
    after: dict[str, Evaluation]
    parity: dict[str, Parity]
    steps: int

    @property
    def failing(self) -> list[str]:
        """The forms that lose too much."""
        return [form for form, parity in self.parity.items() if parity.failures]

    @property
    def failures(self) -> list[str]:
        """What is beyond its limit, in words."""
        return [f"{form}: {why}" for form in self.failing for why in self.parity[form].failures]


def _complaint(task: _Task, made: _Attempt) -> str:
    """Return why no bundle is written, with the layers to blame where integers are."""
    name = task.run.contract.name
    tables = [f"{form}:\n{made.parity[form].table()}" for form in made.failing]
    if any(quantised(form) for form in made.failing):
        shape = (1, *task.model.input_shape[1:])
        images = calibration.inputs(task.run.contract, shape, task.samples[:60])
        worst = noisiest_layers(task.model, images)
        shown = ", ".join(f"{layer} {ratio:.0f} dB" for layer, ratio in worst)
        tables.append(f"least signal over rounding noise in int8: {shown}")
    return "\n".join(
        [
            f"{name}: loses too much, no bundle written: {'; '.join(made.failures)}",
            *tables,
            "try more calibration images, or --force to write it all the same",
        ]
    )


def _attempt(
    task: _Task, steps: int, kept: Mapping[str, Form] | None = None, gap: float = 0.0
) -> _Attempt:
    """Convert, decide and compare.

    Args:
        task: what is exported.
        steps: of tuning for int8.
        kept: forms of an earlier attempt that tuning leaves as they are.
        gap: the largest between Keras and those.
    """
    run, wanted = task.run, chosen_forms(task.options.targets)
    shape = (1, *task.model.input_shape[1:])
    tensors = calibration.inputs(run.contract, shape, task.samples)
    kept = kept or {}
    missing = [name for name in (FLOAT, *wanted) if name not in kept]
    made, found = make_forms(
        run.contract, task.model, tensors, missing, steps, task.say, task.options.allow_float
    )
    forms = {name: kept.get(name) or made[name] for name in dict.fromkeys((FLOAT, *wanted))}

    def score(form: str, decision: Decision) -> Evaluation:
        task.say(f"scoring {form} on split {run.data.validation}")
        network = forms[form].network(replace(run.contract, decision=decision))
        return evaluate(network, task.dataset, run.data.validation)

    source = task.options.decision_from
    first = min(wanted, key=lambda form: (form != "tflite-int8", wanted.index(form)))
    decision = (
        fit_decision(run.contract.decision, score(first, run.contract.decision))
        if source is None
        else source.manifest.decision
    )
    before = score(FLOAT, decision)
    after = {form: before if form == FLOAT else score(form, decision) for form in wanted}
    return _Attempt(
        forms=forms,
        first=first,
        gap=max(gap, found),
        decision=decision,
        after=after,
        parity={form: compare(before, scores, decision) for form, scores in after.items()},
        steps=steps,
    )


def _second_attempt(task: _Task, first: _Attempt) -> _Attempt:
    """Tune for int8 and try again, where integers are to blame and the network can be tuned."""
    if not any(quantised(form) and not first.parity[form].mute for form in first.failing):
        return first  # a student learns nothing from a float network that says nothing
    task.say(f"loses too much as it is: {'; '.join(first.failures)}")
    kept = {name: form for name, form in first.forms.items() if not quantised(name)}
    try:
        return _attempt(task, tune.STEPS, kept, first.gap)
    except BundleError as wrong:
        task.say(str(wrong))
        return first


def _write(
    out: Path,
    contract: Contract,
    forms: dict[str, Form],
    judge: str,
    card: str,
    metrics: dict[str, Any],
    provenance: dict[str, Any],
    fitted: Fitted | None,
) -> Bundle:
    """Choose golden images, note what each network answers to them, and write the bundle."""
    files, variants = golden_files(contract, forms, judge)
    pictures = tuple(name for name in files if name.endswith(".png"))
    files |= {form.variant.file: form.content for form in forms.values()}
    files["MODEL_CARD.md"] = card.encode()
    if fitted is not None:
        files[fitted.known.file] = fitted.content
    manifest = Manifest(
        **{f.name: getattr(contract, f.name) for f in fields(Contract)},
        schema=SCHEMA,
        variants=variants,
        files=file_entries(files),
        golden_images=pictures,
        familiarity=fitted.known if fitted is not None else None,
        metrics=metrics,
        provenance=provenance,
    )
    return write_bundle(out, manifest, files)


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
