"""What a bundle says of itself, in words: for the terminal and for the page."""

from __future__ import annotations

from typing import Any

from rille.bundle import Bundle, check_signature


def facts(bundle: Bundle) -> list[tuple[str, str]]:
    """Return (name, text) of everything but the networks themselves.

    Raises:
        SignatureError: there is a signature, and it is not sound.
    """
    manifest = bundle.manifest
    decision = manifest.decision
    return [
        ("bundle", f"{bundle.name} {manifest.version}, {megabytes(bundle)}"),
        ("digest", bundle.digest),
        ("signature", signature(bundle)),
        ("task", manifest.task),
        ("for", manifest.summary),
        ("labels", ", ".join(manifest.label_names)),
        ("preprocessing", " > ".join(_operation(op) for op in manifest.preprocess)),
        ("temperature", f"{decision.temperature:g}"),
        *_thresholds(manifest.task, decision),
        *_scores(manifest.metrics),
        *_origin(manifest.provenance),
    ]


def signature(bundle: Bundle) -> str:
    """Return who signed a bundle, after checking that the signature is sound."""
    if bundle.signature is None:
        return "not signed"
    return f"signed by {check_signature(bundle.text, bundle.signature, None, bundle.where)}"


def megabytes(bundle: Bundle) -> str:
    """Return the size of all files as text."""
    return f"{sum(map(len, bundle.files.values())) / 1e6:.2f} MB"


def _operation(op: dict[str, Any]) -> str:
    values = ", ".join(f"{key} {value}" for key, value in op.items() if key != "op")
    return f"{op['op']} ({values})" if values else str(op["op"])


def _thresholds(task: str, decision: Any) -> list[tuple[str, str]]:
    if task == "classification":
        return [("abstains", f"below p = {decision.abstain_below:g}")]
    if task == "multilabel":
        return [("thresholds", ", ".join(f"{value:g}" for value in decision.label_thresholds))]
    return [
        ("mask", f"above p = {decision.mask_threshold:g}"),
        (
            "features",
            f"score from {decision.feature_threshold:g}, diameter from "
            f"{decision.min_diameter_px:g} px, at most {decision.max_features}",
        ),
    ]


def _scores(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the scores of each form, and what they are worth."""
    rows = []
    for form, parity in metrics.get("parity", {}).items():
        if not isinstance(parity, dict) or "here" not in parity:
            continue
        exact = parity["float"]
        shown = ", ".join(
            f"{name} {value:.4f}" + (f" (float {exact[name]:.4f})" if name in exact else "")
            for name, value in parity["here"].items()
        )
        rows.append((form, shown))
    if rows:
        seen = "; trained on it too" if metrics.get("trained_on_this_split") else ""
        rows.insert(0, ("scored on", f"split {metrics.get('split')}{seen}"))
    return rows


def _origin(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    if not provenance:
        return []
    elsewhere = provenance.get("origin")
    return [
        ("trained", f"elsewhere: {elsewhere}")
        if elsewhere
        else (
            "trained on",
            f"{provenance.get('dataset')}, split {provenance.get('train_split')}, "
            f"{provenance.get('train_images')} images, {provenance.get('trained_on')}",
        ),
        (
            "made with",
            "; ".join(
                provenance[key] for key in ("trained_with", "exported_with") if key in provenance
            ),
        ),
        *(
            ("in float", f"{form}: {', '.join(layers)}")
            for form, layers in provenance.get("layers_in_float", {}).items()
        ),
        ("forced", "yes: " + "; ".join(provenance.get("parity_failures", [])))
        if provenance.get("forced")
        else ("parity", "passed"),
    ]
