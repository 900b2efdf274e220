"""The manifest of a bundle: what it is for, what goes in, what comes out, what it was made from.

`manifest.json` is a JSON object with the fields of `Manifest`; nothing else is accepted, so a
misspelt key cannot be ignored in flight.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from rille.errors import ManifestError
from rille.preprocess import Op, ops_to_json, parse_ops
from rille.schema import build
from rille.tensor import TensorSpec

SCHEMA = 2
TASKS = ("classification", "multilabel", "segmentation")
TARGETS = ("tflite", "onnx")
FEATURES = "features"
"""The output of a classifier that tells familiar pictures from others."""
LIGHTS = ("", "left", "right", "up", "down", "horizontal")
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FEATURES, MAX_ROWS = 16384, 257
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """Size and SHA-256 of one file of the bundle."""

    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not 0 <= self.bytes <= MAX_FILE_BYTES:
            raise ValueError(f"a file may have up to {MAX_FILE_BYTES} bytes, not {self.bytes}")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("sha256 must be 64 hexadecimal digits")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelEntry:
    """One class: its published id and name."""

    id: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputEntry:
    """One output of a network: its position among the outputs, and what it looks like."""

    index: int
    tensor: TensorSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """The network in one form.

    Attributes:
        file: the model file.
        target: file format: "tflite" or "onnx".
        precision: "fp32", "fp16", "int8" or "int16x8" (activations of 16 bits, weights of 8).
        input: the input tensor.
        outputs: role -> output. A classifier has "logits" (1, classes), one softmax over them; a
            multilabel network has "logits" (1, labels), a sigmoid for each; either may have
            "features" (1, n) too, what the logits are made from. A segmenter has one of
            "mask" (1, h, w, 1) logits; the same with "centre" (1, h, w, 1) logits and "size"
            (1, h, w, 2), log2 of width and height in units of 16 network pixels; "classes"
            (1, h, w, 1 + labels) logits, the rest first.
        golden: role -> file with the expected outputs for the bundle's golden images, raw bytes,
            image after image.
        golden_share: how much a float output may differ from the golden one, as a share of that
            one's largest number; None for the manifest's tolerance. Engines that round inside
            differ from processor to processor.
    """

    file: str
    target: str
    precision: str
    input: TensorSpec
    outputs: dict[str, OutputEntry]
    golden: dict[str, str] = field(default_factory=dict)
    golden_share: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """How numbers become answers.

    Attributes:
        temperature: logits are divided by it before the softmax or sigmoid (Guo et al. 2017).
        abstain_below: calibrated probability under which a classification abstains.
        label_thresholds: multilabel: calibrated probability from which each label holds; empty for
            0.5 throughout.
        mask_threshold: probability above which a pixel belongs to the mask.
        mask_from_features: share w of what features say of a pixel in its probability, where a
            network finds features by their centres: (1 - w) p + w s, with p from the mask output
            and s the score of the surest feature over the pixel.
        feature_threshold: score above which a feature is reported.
        min_diameter_px: least diameter of a feature, in network pixels.
        max_features: most features reported for a frame, best first.
        feature_labels: labels whose connected regions are reported as features; empty for all.
    """

    temperature: float = 1.0
    abstain_below: float = 0.0
    label_thresholds: tuple[float, ...] = ()
    mask_threshold: float = 0.5
    mask_from_features: float = 0.0
    feature_threshold: float = 0.5
    min_diameter_px: float = 0.0
    max_features: int = 256
    feature_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError("temperature must be above 0")
        for name in ("abstain_below", "mask_threshold", "mask_from_features", "feature_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1")
        if not all(0 < value < 1 for value in self.label_thresholds):
            raise ValueError("label_thresholds must be above 0 and below 1")
        if self.min_diameter_px < 0 or not 1 <= self.max_features <= 4096:
            raise ValueError("min_diameter_px must be at least 0, max_features from 1 to 4096")


@dataclass(frozen=True, kw_only=True, slots=True)
class Familiarity:
    """What pictures a classifier knows: a subspace of its features; see `rille.familiarity`.

    Attributes:
        file: a row of int16, little-endian, for the mean of the training images' features, each of
            unit length, and one for each direction in which they spread most.
        numbers: in a row.
        steps: real units in one step of each row, the mean's first.
        strangeness: squared distance from the subspace that only one picture in twenty of their
            own kind exceeds.
        doubt: 1 - probability that only one in twenty exceeds; None where that tells nothing.
    """

    file: str
    numbers: int
    steps: tuple[float, ...]
    strangeness: float
    doubt: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.numbers <= MAX_FEATURES:
            raise ValueError(f"numbers must be from 1 to {MAX_FEATURES}, not {self.numbers}")
        if not 1 <= len(self.steps) <= MAX_ROWS or not min(self.steps) > 0:
            raise ValueError(f"steps needs 1 to {MAX_ROWS} numbers above 0")
        if not self.strangeness > 0:
            raise ValueError("strangeness must be above 0")
        if self.doubt is not None and not 0 < self.doubt <= 1:
            raise ValueError("doubt must be above 0 and at most 1")

    @property
    def file_bytes(self) -> int:
        """How long the file is."""
        return 2 * self.numbers * len(self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What a network is for and how to use it, whatever form its weights have.

    Training writes it beside the trained model, export completes it to a `Manifest`.

    Attributes:
        name: what the bundle is called: lower-case letters, digits and hyphens.
        version: version of the trained network.
        task: "classification", "multilabel" or "segmentation".
        summary: one sentence for people.
        licence: of the weights, with what their training data asks for.
        labels: the classes in the order of the network's outputs.
        preprocess: operations, see `rille.preprocess`.
        decision: thresholds and temperature.
        light: side of the image from which the Sun stood in all training images ("left", "right",
            "up", "down", or "horizontal": left or right); frames are turned accordingly. Empty
            where it stood anywhere.
    """

    name: str
    version: str
    task: str
    summary: str
    licence: str
    labels: tuple[LabelEntry, ...]
    preprocess: tuple[dict[str, Any], ...]
    decision: Decision
    light: str = ""

    def __post_init__(self) -> None:
        if self.light not in LIGHTS or (self.light and self.task != "segmentation"):
            raise ValueError(f"light {self.light!r} is no side, or the task no segmentation")
        if self.task not in TASKS:
            raise ValueError(f"task {self.task!r} is not known (known: {', '.join(TASKS)})")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", self.name):
            raise ValueError(f"name {self.name!r} must be lower-case letters, digits and hyphens")
        if not self.labels or len({label.id for label in self.labels}) != len(self.labels):
            raise ValueError("labels: at least one is needed, each with its own id")
        thresholds = self.decision.label_thresholds
        if thresholds and len(thresholds) != len(self.labels):
            raise ValueError("label_thresholds needs one number for each label")
        unknown = set(self.decision.feature_labels) - {label.name for label in self.labels}
        if unknown:
            raise ValueError(f"feature_labels: {min(unknown)!r} is not among the labels")
        parse_ops(self.preprocess)

    @property
    def ops(self) -> tuple[Op, ...]:
        """The preprocessing operations."""
        return parse_ops(self.preprocess)

    @property
    def label_names(self) -> list[str]:
        """The class names in the order of the network's outputs."""
        return [label.name for label in self.labels]


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest(Contract):
    """Everything a bundle says about itself: its `Contract`, its files and its record.

    Attributes:
        schema: version of this format.
        variants: "tflite-int8" and the like -> the network in that form.
        files: name -> size and digest of every other file in the bundle.
        golden_images: image files whose outputs are known; the self-test runs them.
        golden_tolerance: most a stored output number may differ from the golden one, in steps of
            an integer type or, for float32, in thousandths.
        familiarity: what pictures the network is for, as far as its features tell; None where it
            cannot say.
        metrics: figures with their definitions, per precision.
        provenance: recipe, data, versions.
    """

    schema: int
    variants: dict[str, Variant]
    files: dict[str, FileEntry]
    golden_images: tuple[str, ...] = ()
    familiarity: Familiarity | None = None
    golden_tolerance: int = 3
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Named class: slots make zero-argument super() refer to a class that no longer exists.
        Contract.__post_init__(self)
        if not self.variants:
            raise ValueError("at least one variant is needed")
        for name in self.files:
            if not _FILE_NAME.fullmatch(name):
                raise ValueError(f"file name {name!r} is not a plain name")
        for key, variant in self.variants.items():
            self._check_variant(key, variant)
        for name in self.golden_images:
            if name not in self.files:
                raise ValueError(f"golden_images: {name!r} is not among the files")
        if self.familiarity is not None:
            self._check_familiarity(self.familiarity)

    def _check_variant(self, key: str, variant: Variant) -> None:
        if variant.target not in TARGETS:
            known = " and ".join(TARGETS)
            raise ValueError(f"variant {key}: target {variant.target!r} is not known ({known} are)")
        if variant.golden_share is not None and not 0 < variant.golden_share < 1:
            raise ValueError(f"variant {key}: golden_share must be above 0 and below 1")
        for name in (variant.file, *variant.golden.values()):
            if name not in self.files:
                raise ValueError(f"variant {key}: file {name!r} is not among the files")
        roles = set(variant.outputs)
        if not set(variant.golden) <= roles:
            raise ValueError(f"variant {key}: golden outputs {sorted(variant.golden)} are unknown")
        if self.task != "segmentation":
            self._check_classifier(key, variant)
        elif roles == {"classes"}:
            if variant.outputs["classes"].tensor.shape[-1] != 1 + len(self.labels):
                raise ValueError(f"variant {key}: 'classes' needs a channel for each label and one")
        elif roles not in ({"mask"}, {"mask", "centre", "size"}):
            raise ValueError(
                f"variant {key}: needs outputs 'mask', or 'mask', 'centre' and 'size', or 'classes'"
            )

    def _check_classifier(self, key: str, variant: Variant) -> None:
        logits, features = variant.outputs.get("logits"), variant.outputs.get(FEATURES)
        if (
            not set(variant.outputs) <= {"logits", FEATURES}
            or logits is None
            or logits.tensor.shape[1:] != (len(self.labels),)
        ):
            raise ValueError(
                f"variant {key}: needs one output 'logits' with {len(self.labels)} numbers, "
                f"one for each label, and may have {FEATURES!r} besides"
            )
        known = self.familiarity
        if features is None or known is None:
            return
        if features.tensor.shape != (1, known.numbers):
            raise ValueError(
                f"variant {key}: 'features' are {list(features.tensor.shape)}, familiarity is "
                f"about {known.numbers} numbers"
            )

    def _check_familiarity(self, known: Familiarity) -> None:
        if self.task == "segmentation":
            raise ValueError("familiarity: is for classifiers, not for segmentation")
        entry = self.files.get(known.file)
        if entry is None:
            raise ValueError(f"familiarity: {known.file!r} is not among the files")
        if entry.bytes != known.file_bytes:
            raise ValueError(
                f"familiarity: {known.file} has {entry.bytes} bytes, {len(known.steps)} rows of "
                f"{known.numbers} numbers need {known.file_bytes}"
            )

    def to_json(self) -> str:
        """Return the text of `manifest.json`: sorted keys, so that equal manifests are equal."""
        table = asdict(self)
        if not self.light:
            del table["light"]
        if self.familiarity is None:
            del table["familiarity"]
        elif self.familiarity.doubt is None:
            del table["familiarity"]["doubt"]
        for variant in table["variants"].values():
            if variant["golden_share"] is None:
                del variant["golden_share"]
        return json.dumps(table, indent=1, sort_keys=True) + "\n"


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Read and check the text of a manifest.

    Args:
        text: the bytes of `manifest.json`.
        where: what to call it in an error.

    Raises:
        ManifestError: not JSON, another schema version, or a field that does not fit.
    """
    try:
        table = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as wrong:
        raise ManifestError(f"{where}: not valid JSON ({str(wrong)[:80]})") from None
    if isinstance(table, dict) and table.get("schema") != SCHEMA:
        raise ManifestError(
            f"{where}: schema {table.get('schema')!r} is not supported by this version of rille "
            f"(supported: {SCHEMA}); update rille or export the bundle again"
        )
    return build(Manifest, table, where, ManifestError)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number")


__all__ = [
    "FEATURES",
    "SCHEMA",
    "Contract",
    "Decision",
    "Familiarity",
    "FileEntry",
    "LabelEntry",
    "Manifest",
    "OutputEntry",
    "Variant",
    "ops_to_json",
    "parse_manifest",
]
