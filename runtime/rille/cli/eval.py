"""`rille eval`: score a bundle on a labelled split, through the path that flies."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rille.bundle import Bundle, load_bundle
from rille.datasets import Dataset, open_dataset, samples_of
from rille.errors import BundleError
from rille.evaluate import Evaluation, evaluate
from rille.files import write_whole
from rille.network import Network
from rille.plan import default_threads
from rille.unfamiliar_pictures import told_apart


def main(arguments: list[str]) -> int:
    """Run `rille eval`; see `rille eval --help`."""
    parser = argparse.ArgumentParser(
        prog="rille eval", description="Score a bundle on one split of a labelled data set."
    )
    parser.add_argument("bundle", help="name of a shipped bundle, or path of a folder or zip")
    parser.add_argument("root", type=Path, help="folder of the data set, in its published layout")
    parser.add_argument("--split", required=True, help="split named in the data set's own files")
    parser.add_argument("--variant", help="which form of the network (default: int8)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave damaged images out, and list them"
    )
    parser.add_argument(
        "--unfamiliar",
        action="append",
        default=[],
        metavar="FOLDER",
        help="images (or a source's URI) of what the network was not made for: how well its "
        "out-of-distribution score tells them from the split; may be repeated",
    )
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    bundle = load_bundle(options.bundle)
    network = Network.load(bundle, variant=options.variant, threads=options.threads)
    if options.unfamiliar and not network.scores_familiarity:
        raise BundleError(
            f"{bundle.where}: has no out-of-distribution score, which --unfamiliar asks for; "
            "classifiers get one when they are exported again"
        )
    dataset = open_dataset(options.root, network.contract.task)
    result = evaluate(
        network,
        dataset,
        options.split,
        skip_unreadable=options.skip_unreadable,
        progress=_progress if sys.stderr.isatty() else lambda done, total: None,
    )
    seen = trained_on(bundle, dataset, options.split)
    result.detail["images_trained_on"] = seen
    print(table(result))
    told = [told_apart(network, source, result.ood_scores) for source in options.unfamiliar]
    for line in told:
        print(line)
    if told:
        result.detail["unfamiliar"] = [asdict(pictures) for pictures in told]
    if seen:
        print(
            f"{seen} of these {result.detail['images']} images were trained on: this says nothing "
            "about new ones"
        )
    if options.json is not None:
        write_whole(options.json, json.dumps(result.detail, indent=1) + "\n")
    return 0


def trained_on(bundle: Bundle, dataset: Dataset, split: str) -> int:
    """Return how many images of a split the bundle's network was trained on, by their names.

    Args:
        bundle: its provenance names data set and splits.
        dataset: what is scored; another than the one trained on counts as unseen.
        split: its split.
    """
    provenance = bundle.manifest.provenance
    if provenance.get("dataset") != dataset.name:
        return 0
    here = set(dataset.splits())
    parts = [part for part in str(provenance.get("train_split", "")).split("+") if part in here]
    known = {sample.path for part in parts for sample in samples_of(dataset, part)}
    return sum(sample.path in known for sample in samples_of(dataset, split))


def _progress(done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        end = "\n" if done == total else ""
        print(f"\r{done}/{total} images", end=end, file=sys.stderr, flush=True)


def table(result: Evaluation) -> str:
    """Return the scores as lines of text."""
    d = result.detail
    head = (
        f"{d['network']} {d['variant']} on {d['dataset']}, split {d['split']}: "
        f"{d['images']} images, {d['backend']}"
    )
    if result.task == "classification":
        lines = [head, *_classes(d)]
    elif result.task == "multilabel":
        lines = [head, *_labels(d)]
    else:
        lines = [head, *(_craters(d) if "objects" in d else _masks(d))]
    if "out_of_distribution" in d:
        flagged = 100 * d["out_of_distribution"]["flagged"]
        lines.append(f"out of distribution: {flagged:.1f} % of these images are flagged")
    if d["unreadable"]:
        lines.append(f"unreadable, left out: {', '.join(d['unreadable'])}")
    return "\n".join(lines)


def _classes(d: dict[str, Any]) -> list[str]:
    low, high = d["accuracy_interval_95"]
    calibration, intervals = d["calibration"], d["intervals_95"]
    lines = [f"{'class':24s} {'images':>6s} {'recall':>7s} {'precis.':>7s} {'F1':>7s}"]
    lines += [
        f"{name:24s} {row['images']:6d} {row['recall']:7.3f} {row['precision']:7.3f} "
        f"{row['f1']:7.3f}"
        for name, row in d["per_class"].items()
    ]
    answered = calibration["accuracy_of_the_answered"]
    lines += [
        f"accuracy   {100 * d['accuracy']:.2f} %  ({_percent(intervals['accuracy'])} over "
        f"{d['groups']} groups; {100 * low:.1f} to {100 * high:.1f} were images independent)",
        f"by group   {100 * d['group_weighted_accuracy']:.2f} %  "
        f"({_percent(intervals['group_weighted_accuracy'])}), each group counted once",
        f"macro-F1   {d['macro_f1']:.4f}  ({_interval(intervals['macro_f1'])}) over the "
        f"{d['classes_present']} classes present",
        f"ECE        {calibration['expected_calibration_error']:.4f}, adaptive "
        f"{calibration['adaptive_calibration_error']:.4f}; AURC "
        f"{calibration['area_under_risk_coverage']:.4f}",
        f"abstaining answering at p >= {calibration['abstain_below']:.2f}: "
        f"{100 * calibration['coverage']:.1f} % of the images"
        + (f", {100 * answered:.2f} % of them right" if answered is not None else ""),
    ]
    return lines


def _labels(d: dict[str, Any]) -> list[str]:
    lines = [f"{'label':12s} {'images':>6s} {'holding':>7s} {'precis.':>7s} {'recall':>7s}"]
    lines[0] += f" {'F1':>7s} {'AP':>7s}"
    lines += [
        f"{name:12s} {row['images']:6d} {row['holding']:7d} {row['precision']:7.3f} "
        f"{row['recall']:7.3f} {row['f1']:7.3f} {row['average_precision']:7.3f}"
        for name, row in d["per_label"].items()
    ]
    intervals = d["intervals_95"]
    return [
        *lines,
        f"macro-F1   {d['macro_f1']:.4f} ({_interval(intervals['macro_f1'])})   macro-AP "
        f"{d['macro_ap']:.4f}   "
        f"ECE {d['expected_calibration_error']:.4f}",
        *(f"{name}: {text}" for name, text in d["definitions"].items()),
    ]


def _masks(d: dict[str, Any]) -> list[str]:
    lines = [
        f"{'class':12s} {'Dice':>7s} {'IoU':>7s} {'precis.':>7s} {'recall':>7s} {'images':>7s}"
    ]
    for name, row in d["per_class"].items():
        sizes = ", ".join(
            f"from {size['from_px']:g} px {size['found']}/{size['labelled']}"
            for size in row["regions_by_size"]
        )
        lines.append(
            f"{name:12s} {row['dice']:7.3f} {row['iou']:7.3f} {row['precision']:7.3f} "
            f"{row['recall']:7.3f} {row['images']:7d}   regions found: {sizes}"
        )
    intervals = d["intervals_95"]
    return [
        *lines,
        f"macro Dice {d['macro_dice']:.4f} ({_interval(intervals['macro_dice'])})",
        *(f"{name}: {text}" for name, text in d["definitions"].items()),
    ]


def _craters(d: dict[str, Any]) -> list[str]:
    p, o, by_image, intervals = d["pixels"], d["objects"], d["by_image"], d["intervals_95"]
    return [
        f"pixels     Dice {p['dice']:.4f} ({_interval(intervals['dice'])})  IoU {p['iou']:.4f}  "
        f"precision {p['precision']:.4f}  recall {p['recall']:.4f}",
        f"by image   Dice mean {by_image['dice_mean']:.4f}  median {by_image['dice_median']:.4f}",
        f"objects    F1 {o['f1']:.4f} ({_interval(intervals['object_f1'])})  precision "
        f"{o['precision']:.4f}  recall {o['recall']:.4f}  AP {o['average_precision']:.4f}  "
        f"({o['labelled']} labelled)",
        f"{'diameter px':24s} {'label.':>6s} {'recall':>7s} {'precis.':>7s} {'F1':>7s}",
        *(_diameters(row) for row in d["by_diameter"]),
        *(f"{name}: {text}" for name, text in d["definitions"].items()),
    ]


def _diameters(row: dict[str, Any]) -> str:
    low, high = row["from_px"], row["to_px"]
    name = f"{low:g} to {high:g}" if high is not None else f"{low:g} and more"
    figures = "".join(f" {row[key]:7.3f}" for key in ("recall", "precision", "f1"))
    return f"{name:24s} {row['labelled']:6d}{figures}"


def _interval(limits: list[float]) -> str:
    return f"95 % interval {limits[0]:.3f} to {limits[1]:.3f}"


def _percent(limits: list[float]) -> str:
    return f"95 % interval {100 * limits[0]:.1f} to {100 * limits[1]:.1f}"
