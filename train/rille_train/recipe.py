"""Recipes: everything that decides how a network comes out, as TOML.

`rille train NAME --data ROOT` takes a recipe that comes with rille; a path takes your own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from rille.bundle.manifest import TASKS, Decision
from rille.errors import ConfigError, nearest
from rille.preprocess import parse_ops
from rille.schema import build, merge_setting, read_toml

_RECIPES = resources.files("rille_train") / "recipes"
MODELS = {
    "mobilenet-v2": ("classification", "multilabel"),
    "crater-unet": ("segmentation",),
    "scene-unet": ("segmentation",),
}
"""Kind of network -> what it can be trained for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRecipe:
    """Which splits of the data set are used for what.

    Attributes:
        train: split the weights are fitted on.
        validation: split scored during training and used to fit temperature and thresholds.
        sun: side of the training images on which the Sun stands, "left" or "right"; empty where
            it is not the same in all of them.
        labels: classes of a network with class masks, in the order of its outputs.
        allow_leaks: whether to train although training and validation share groups or files.
        extra_share: probability that a training image comes from a further data set, if any are
            given.
    """

    train: str = "train"
    validation: str = "val"
    sun: str = ""
    labels: tuple[str, ...] = ()
    allow_leaks: bool = False
    extra_share: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.extra_share < 1:
            raise ValueError("extra_share must be above 0 and below 1")
        if self.sun not in ("", "left", "right"):
            raise ValueError(f"sun must be 'left', 'right' or empty, not {self.sun!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecipe:
    """The network.

    Attributes:
        kind: "mobilenet-v2", "crater-unet" or "scene-unet".
        backbone: name of the file with pretrained backbone weights; empty for random ones.
        dropout: share of the last features dropped while training (classifier).
        freeze_below: layers before the one with this name keep their weights (MobileNetV2).
        widths: channels of the crater network's encoder, or of the scene network's way up.
        canonical_light: find the Sun's side first and mirror the image accordingly (segmenter).
    """

    kind: str
    backbone: str = ""
    dropout: float = 0.2
    freeze_below: str = ""
    widths: tuple[int, ...] = (16, 32, 64, 128)
    canonical_light: bool = False

    def __post_init__(self) -> None:
        if self.kind not in MODELS:
            raise ValueError(f"kind {self.kind!r} is not known{nearest(self.kind, list(MODELS))}")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout must be from 0 to below 1")
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError("widths needs at least two numbers, each at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class FitRecipe:
    """The optimisation: AdamW, linear warm-up, cosine decay.

    Attributes:
        epochs: passes over the training split.
        batch: images per step.
        learning_rate: peak learning rate.
        final_share: learning rate at the end, as a share of the peak.
        warmup_share: share of all steps spent warming up.
        weight_decay: decoupled weight decay.
        clip_norm: largest gradient norm of one weight tensor.
        ema: momentum of the moving average of the weights that is kept in the end; 0 for none.
        label_smoothing: classifier: share of the target spread over all classes.
        prior_strength: classifier: logits are offset by this times the log of the sampled class
            share while training (balanced softmax, Ren et al. 2020).
        class_power: classifier: a class of n images is drawn in proportion to n ** class_power.
        group_power: classifier: an image of a burst of m is drawn in proportion to
            m ** -group_power.
        class_weights: scene network: weight of each class in the cross-entropy, the rest first;
            empty for 1 throughout.
        head_steps: classifier: steps of the head alone, on frozen features, before fine-tuning.
        validate_every: epochs between two validations.
        precision: "auto", "float32" or "bfloat16"; auto takes bfloat16 where the machine has it.
        seed: seed of everything random.
    """

    epochs: int
    batch: int
    learning_rate: float
    final_share: float = 0.01
    warmup_share: float = 0.05
    weight_decay: float = 1e-3
    clip_norm: float = 5.0
    ema: float = 0.0
    label_smoothing: float = 0.0
    prior_strength: float = 0.0
    class_power: float = 1.0
    group_power: float = 0.0
    class_weights: tuple[float, ...] = ()
    head_steps: int = 0
    validate_every: int = 1
    precision: str = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.validate_every) < 1:
            raise ValueError("epochs, batch and validate_every must be at least 1")
        if not self.learning_rate > 0:
            raise ValueError("learning_rate must be above 0")
        if not 0 <= self.warmup_share < 1 or not 0 <= self.ema < 1:
            raise ValueError("warmup_share and ema must be from 0 to below 1")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError("precision must be 'auto', 'float32' or 'bfloat16'")


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentRecipe:
    """How training images are varied. Zero switches a variation off.

    Attributes:
        crop: least share of the area kept by the random crop, classifier; 1 keeps everything.
        rotate_deg: largest rotation.
        flip: mirror left and right with probability one half.
        flip_vertical: mirror up and down with probability one half.
        brightness, contrast, gamma: largest change, as a share.
        colour: largest gain of a single channel, as a share.
        gray: probability of taking the colour away.
        blur_px: largest Gaussian blur.
        noise: largest standard deviation of added noise, grey levels.
        erase: probability of covering a random rectangle.
        window_px: side of the square window cut out, segmenter.
        zoom: largest change of scale, as a natural logarithm, segmenter.
    """

    crop: float = 1.0
    rotate_deg: float = 0.0
    flip: bool = False
    flip_vertical: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    colour: float = 0.0
    gray: float = 0.0
    blur_px: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    window_px: int = 256
    zoom: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError("crop must be above 0 and at most 1")
        if self.window_px < 32:
            raise ValueError("window_px must be at least 32")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One experiment: data, network, optimisation, and the contract of the bundle it leads to.

    Attributes:
        name: of the bundle.
        version: of the trained network.
        task: "classification", "multilabel" or "segmentation".
        summary, licence: see `rille.bundle.manifest.Contract`.
        preprocess: operations, see `rille.preprocess`.
        data, model, fit, augment, decision: the parts.
    """

    name: str
    version: str
    task: str
    summary: str
    licence: str
    preprocess: tuple[dict[str, Any], ...]
    model: ModelRecipe
    fit: FitRecipe
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    decision: Decision = field(default_factory=Decision)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task {self.task!r} is not known (known: {', '.join(TASKS)})")
        if self.task not in MODELS[self.model.kind]:
            raise ValueError(f"model {self.model.kind!r} does not do {self.task}")
        if self.model.canonical_light and not self.data.sun:
            raise ValueError("model.canonical_light needs data.sun: on which side the Sun stands")
        if self.model.kind == "scene-unet":
            self._check_scene()
        parse_ops(self.preprocess)

    def _check_scene(self) -> None:
        if not self.data.labels:
            raise ValueError("model scene-unet needs data.labels: the classes to find")
        if len(self.model.widths) != 4:
            raise ValueError("model scene-unet needs four model.widths")
        if self.fit.class_weights and len(self.fit.class_weights) != 1 + len(self.data.labels):
            raise ValueError("fit.class_weights needs one number for the rest and each label")
        if self.augment.window_px % 32:
            raise ValueError("augment.window_px must be divisible by 32 for scene-unet")


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with rille."""
    return sorted(p.name[:-5] for p in _RECIPES.iterdir() if p.name.endswith(".toml"))


def read_recipe(reference: str, settings: list[str] | None = None) -> Recipe:
    """Read a recipe by name or path, with `section.key=value` settings on top.

    Raises:
        ConfigError: no such recipe, or a key or value that does not fit.
    """
    path = Path(reference)
    if reference in recipe_names():
        path = Path(str(_RECIPES / f"{reference}.toml"))
    elif not path.is_file():
        known = recipe_names()
        raise ConfigError(
            f"{reference}: no such recipe{nearest(reference, known)} "
            f"(a .toml file, or one of: {', '.join(known)})"
        )
    table = read_toml(path, ConfigError)
    for setting in settings or []:
        merge_setting(table, setting, ConfigError)
    return build(Recipe, table, path.name, ConfigError)
