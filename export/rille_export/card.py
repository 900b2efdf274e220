"""The model card: what a bundle is, what it was made from, how well it does, and where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rille.bundle.manifest import Contract
from rille.evaluate import Evaluation
from rille_export.parity import Parity


def model_card(
    contract: Contract,
    provenance: dict[str, Any],
    parity: dict[str, Parity],
    after: Evaluation,
    sizes: dict[str, int],
    warnings: Sequence[str] = (),
    unfamiliar: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Return the card as Markdown.

    Args:
        contract: name, labels, decision.
        provenance: where the weights come from.
        parity: form -> its comparison with float.
        after: scores of the first form.
        sizes: form -> bytes of the model file.
        warnings: what a user of the bundle should know beforehand.
        unfamiliar: how its out-of-distribution score was fitted; empty where it has none.
    """
    d = after.detail
    parts = [
        f"# {contract.name} {contract.version}",
        contract.summary,
        "## Use",
        f"Task: {contract.task}. Preprocessing: {', '.join(op.op for op in contract.ops)}, as the "
        "manifest states it. Every answer is advice: it carries a probability, and abstains below "
        "its threshold."
        if contract.task == "classification"
        else f"Task: {contract.task}. Preprocessing: {', '.join(op.op for op in contract.ops)}, as "
        "the manifest states it. Every feature carries a score.",
        "## Scores",
        f"Split `{d['split']}` of {d['dataset']} ({d['images']} images), through the runtime, on "
        f"{d['backend']}. {_standing(provenance, d['split'])}",
        score_table(parity),
        *(f"**Note:** {warning}." for warning in warnings),
        *_details(after),
        *([_unfamiliar(unfamiliar, d["split"])] if unfamiliar else []),
        "Definitions: " + "; ".join(f"{k}: {v}" for k, v in d["definitions"].items()) + ".",
        "## Made from",
        *_training(contract.name, provenance, d["split"]),
        f"- network: {provenance['parameters']:,} parameters; "
        + ", ".join(f"{form} {size / 1e6:.2f} MB" for form, size in sizes.items()),
        f"- exported with {provenance['exported_with']}, {provenance['exported_on']}; calibrated "
        f"on {provenance['calibration']['images']} training images",
        *(
            f"- {form} computes in float: {', '.join(layers)}"
            for form, layers in provenance.get("layers_in_float", {}).items()
        ),
        "## Licence",
        contract.licence,
    ]
    if "recipe" in provenance:
        parts += ["## Recipe", f"```toml\n{provenance['recipe']}```"]
    return "\n\n".join(parts) + "\n"


def _training(name: str, provenance: dict[str, Any], split: str) -> list[str]:
    """Return lines on what the network learnt from."""
    if "origin" in provenance:
        return [
            f"- trained elsewhere, {provenance['origin']}; its contract names split "
            f"`{provenance['train_split']}` as what it was trained on"
        ]
    return [
        f"- data: {provenance['dataset']}, split `{provenance['train_split']}`, "
        f"{provenance['train_images']} images (listing SHA-256 "
        f"`{provenance['train_listing_sha256'][:16]}…`)",
        *(
            f"- besides: {extra['dataset']}, {extra['images']} images (listing SHA-256 "
            f"`{extra['listing_sha256'][:16]}…`)"
            for extra in provenance.get("extra", [])
        ),
        f"- trained with {provenance['trained_with']}, {provenance['trained_on']}",
        f"- commands: `rille train {name} --data ROOT`, `rille export runs/{name} --data ROOT`, "
        f"`rille eval {name} ROOT --split {split}`",
    ]


def _standing(provenance: dict[str, Any], split: str) -> str:
    """Return what the scores are worth, in words."""
    trained = provenance["train_split"]
    if split in trained.split("+"):
        return (
            f"The network was fitted on split `{trained}`, which contains the one scored here: "
            "these figures only show that quantisation lost nothing. How well it does on new "
            "images is told by the same recipe trained on less."
        )
    fitted = "temperature and thresholds were fitted on the split scored here, so its figures "
    return f"The network was fitted on split `{trained}` alone; {fitted}flatter a little."


def score_table(parities: dict[str, Parity]) -> str:
    """Return scores of the float network beside those of each form, as a Markdown table."""
    forms, first = list(parities), next(iter(parities.values()))
    rows = [
        f"| {name} | {value:.4f} | "
        + " | ".join(f"{parity.after[name]:.4f}" for parity in parities.values())
        + " |"
        for name, value in first.before.items()
    ]
    if first.agreement is not None:
        same = " | ".join(f"{parity.agreement:.4f}" for parity in parities.values())
        rows.append(f"| same answer | | {same} |")
    return "\n".join([f"| | float | {' | '.join(forms)} |", "|---" * (2 + len(forms)) + "|", *rows])


def _details(after: Evaluation) -> list[str]:
    d = after.detail
    if after.task == "multilabel":
        return [_label_table(d)]
    if after.task == "segmentation":
        return [_mask_table(d)] if "per_class" in d else []
    c = d["calibration"]
    head = (
        f"Calibration (int8): ECE {c['expected_calibration_error']:.3f}; answering at p >= "
        f"{c['abstain_below']:.2f} it covers {100 * c['coverage']:.1f} % of the images. Answering "
        "only the surest:"
    )
    rows = [
        f"| {name} | {row['images']} | {row['recall']:.3f} | {row['precision']:.3f} |"
        for name, row in d["per_class"].items()
    ]
    table = "\n".join(["| class | images | recall | precision |", "|---|---|---|---|", *rows])
    return [head, _abstention_table(c), table]


def _unfamiliar(fitted: Mapping[str, Any], split: str) -> str:
    """Return what the score says, and how often it is wrong."""
    doubt = "" if fitted["doubt_from"] == "none" else " and 1 - probability"
    return (
        "Every answer carries an out-of-distribution score: distance of the features from the "
        f"{fitted['directions']} directions in which those of {fitted['fitted_on_images']} "
        f"training images spread most{doubt}, over what one picture in twenty of this kind "
        f"exceeds. Above 1 the picture is flagged: {100 * fitted['validation_flagged']:.1f} % of "
        f"{fitted['validation_images']} images of split `{split}` are."
    )


def _abstention_table(calibration: dict[str, Any]) -> str:
    """Return how often answers are wrong when only a share of the images is answered."""
    points = [(c, r) for c, r in calibration["risk_coverage"] if round(c * 20) % 2 == 0 or c > 0.9]
    rows = ["| answered | wrong among them |", "|---|---|"]
    rows += [f"| {100 * covered:.0f} % | {100 * risk:.2f} % |" for covered, risk in points]
    return "\n".join(rows)


def _label_table(d: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {row['holding']} of {row['images']} | {row['recall']:.3f} | "
        f"{row['precision']:.3f} | {row['f1']:.3f} | {row['average_precision']:.3f} |"
        for name, row in d["per_label"].items()
    ]
    head = ["| label | holds in | recall | precision | F1 | AP |", "|---|---|---|---|---|---|"]
    ece = f"Calibration (int8): ECE {d['expected_calibration_error']:.3f}."
    return "\n".join([ece, "", *head, *rows])


def _mask_table(d: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {row['images']} | {row['dice']:.3f} | {row['recall']:.3f} | "
        f"{row['precision']:.3f} |"
        for name, row in d["per_class"].items()
    ]
    head = ["| class | images | Dice | recall | precision |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])
