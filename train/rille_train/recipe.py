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
from rille.preprocess import Letterbox, Resize, parse_ops
from rille.schema import build, merge_setting, read_toml
from rille_train.contracts import check_contract

_RECIPES = resources.files("rille_train") / "recipes"
MODELS = {
    "mobilenet-v2": ("classification", "multilabel"),
    "crater-unet": ("segmentation",),
    "scene-unet": ("segmentation",),
    "application": ("classification", "multilabel"),
    "unet": ("segmentation",),
    "resunet": ("segmentation",),
}
"""Kind of network -> what it can be trained for."""


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        words = ", ".join(map(repr, known))
        raise ValueError(f"{name} must be one of {words}, not {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRecipe:
    """Which splits of the data set are used for what.

    Attributes:
        train: split the weights are fitted on.
        validation: split scored during training and used to fit temperature and thresholds.
        sun: side of the training images on which the Sun stands, "left" or "right"; empty where
            it is not the same in all of them.
        labels: classes of a network with class masks, in the order of its outputs; of a network
            with one mask, the classes that are merged in it, empty for all there are.
        allow_leaks: whether to train although training and validation share groups or files.
        box_mask: network with one mask: what is drawn in a box, "ellipse" or "rectangle".
        extra_share: probability that a training image comes from a further data set, if any are
            given.
    """

    train: str = "train"
    validation: str = "val"
    sun: str = ""
    labels: tuple[str, ...] = ()
    allow_leaks: bool = False
    box_mask: str = "ellipse"
    extra_share: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.extra_share < 1:
            raise ValueError("extra_share must be above 0 and below 1")
        if self.sun not in ("", "left", "right"):
            raise ValueError(f"sun must be 'left', 'right' or empty, not {self.sun!r}")
        shared = set(self.train.split("+")) & set(self.validation.split("+"))
        if shared and not self.allow_leaks:
            raise ValueError(
                "train and validation must not share a split; for a last training on everything: "
                "data.allow_leaks=true"
            )
        _one_of("box_mask", self.box_mask, ("ellipse", "rectangle"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecipe:
    """The network.

    Attributes:
        kind: "mobilenet-v2", "application", "crater-unet", "scene-unet", "unet" or "resunet".
        base: application: a class of `keras.applications`; see `rille_train.contracts`.
        head: application: "plain", or "batchnorm-dropout" with a hidden layer of 256.
        backbone: name of the file with pretrained backbone weights; empty for random ones, or for
            an application with the file that `--weights` names.
        dropout: share of the last features dropped while training (classifier).
        freeze_below: layers before the one with this name keep their weights (classifier).
        widths: channels of the crater network's encoder, or of the scene network's way up; of a
            U-Net's levels, the full resolution first.
        depth: residual blocks at the coarsest stage of the crater network.
        canonical_light: find the Sun's side first and mirror the image accordingly (segmenter).
    """

    kind: str
    base: str = ""
    head: str = "plain"
    backbone: str = ""
    dropout: float = 0.2
    freeze_below: str = ""
    widths: tuple[int, ...] = (16, 32, 64, 128)
    depth: int = 2
    canonical_light: bool = False

    def __post_init__(self) -> None:
        if self.kind not in MODELS:
            raise ValueError(f"kind {self.kind!r} is not known{nearest(self.kind, list(MODELS))}")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout must be from 0 to below 1")
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError("widths needs at least two numbers, each at least 1")
        if self.depth < 1:
            raise ValueError("depth must be at least 1")
        _one_of("head", self.head, ("plain", "batchnorm-dropout"))
        if bool(self.base) != (self.kind == "application"):
            raise ValueError("base and kind 'application' go together")


@dataclass(frozen=True, kw_only=True, slots=True)
class FitRecipe:
    """The optimisation: AdamW, and one controller of its learning rate.

    Attributes:
        epochs: passes over the training split; with `head_epochs`, those of fine-tuning.
        batch: images per step.
        learning_rate: peak learning rate.
        schedule: "cosine", linear warm-up and cosine decay, or "plateau", halved whenever
            validation has not improved for `plateau_epochs`.
        final_share: least learning rate, as a share of the peak.
        warmup_share: share of all steps spent warming up; 0 with "plateau".
        plateau_epochs: see `schedule`; 0 with "cosine".
        patience: stop after this many epochs without a better validation; 0 never stops.
        keep: which weights: "last", or "best" on the validation split.
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
        head_steps: mobilenet-v2: steps of the head alone, on frozen features, before fine-tuning.
        head_epochs: application: epochs of the head alone, with augmentation, before fine-tuning
            with fixed batch normalisation; 0 trains everything at once.
        head_learning_rate: peak learning rate of those, at least ten times `learning_rate`.
        mask_loss: network with one mask: "bce", "soft-dice" or "bce-dice"; see
            `rille_train.losses.mask_losses`.
        validate_every: epochs between two validations.
        precision: "auto", "float32" or "bfloat16"; auto takes bfloat16 where it is faster; see
            `rille_train.loop.set_precision`.
        seed: seed of everything random.
    """

    epochs: int
    batch: int
    learning_rate: float
    schedule: str = "cosine"
    final_share: float = 0.01
    warmup_share: float = 0.05
    plateau_epochs: int = 0
    patience: int = 0
    keep: str = "last"
    weight_decay: float = 1e-3
    clip_norm: float = 5.0
    ema: float = 0.0
    label_smoothing: float = 0.0
    prior_strength: float = 0.0
    class_power: float = 1.0
    group_power: float = 0.0
    class_weights: tuple[float, ...] = ()
    head_steps: int = 0
    head_epochs: int = 0
    head_learning_rate: float = 1e-3
    mask_loss: str = "bce-dice"
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
        if min(self.patience, self.plateau_epochs, self.head_epochs) < 0:
            raise ValueError("patience, plateau_epochs and head_epochs must be at least 0")
        _one_of("keep", self.keep, ("last", "best"))
        _one_of("mask_loss", self.mask_loss, ("bce", "soft-dice", "bce-dice"))
        self._check_schedule()

    def _check_schedule(self) -> None:
        """Refuse two controllers of one learning rate, and fine-tuning that is too fast."""
        _one_of("schedule", self.schedule, ("cosine", "plateau"))
        if self.schedule == "cosine" and self.plateau_epochs:
            raise ValueError(
                "plateau_epochs and schedule 'cosine' would both steer the learning rate; "
                "set plateau_epochs = 0, or schedule = 'plateau'"
            )
        if self.schedule == "plateau" and (self.warmup_share or not self.plateau_epochs):
            raise ValueError(
                "schedule 'plateau' needs plateau_epochs, and warmup_share = 0: a warm-up would "
                "be a second controller of the learning rate"
            )
        if self.head_epochs and self.learning_rate > self.head_learning_rate / 10 * (1 + 1e-9):
            raise ValueError(
                f"learning_rate {self.learning_rate:g} is above a tenth of head_learning_rate "
                f"{self.head_learning_rate:g}: fine-tuning that fast undoes the pretrained weights"
            )


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
        if self.model.kind == "application":
            check_contract(self.model.base, self.preprocess)
        elif self.fit.head_epochs:
            raise ValueError("fit.head_epochs is for model 'application'; others have head_steps")
        if self.model.kind != "mobilenet-v2" and self.fit.head_steps:
            raise ValueError("fit.head_steps is for model 'mobilenet-v2'")
        if self.one_mask:
            self._check_levels()

    @property
    def one_mask(self) -> bool:
        """Whether the network answers with one mask and nothing else."""
        return self.model.kind in ("unet", "resunet")

    def _check_levels(self) -> None:
        step = 2 ** (len(self.model.widths) - 1)
        fits = [op for op in parse_ops(self.preprocess) if isinstance(op, Resize | Letterbox)]
        for side in (self.augment.window_px, fits[0].width, fits[0].height):
            if side % step:
                raise ValueError(
                    f"{len(self.model.widths)} model.widths halve {len(self.model.widths) - 1} "
                    f"times: {side} px cannot be divided by {step}"
                )

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
