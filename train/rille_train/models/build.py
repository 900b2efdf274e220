"""From a recipe to a Keras model."""

from __future__ import annotations

from typing import Any

import keras

from rille.preprocess import Gray, Letterbox, Resize, parse_ops
from rille_train.models.application import application_classifier
from rille_train.models.classifier import mobilenet_v2_classifier
from rille_train.models.crater_unet import crater_unet
from rille_train.models.mask_unet import mask_unet
from rille_train.models.scene_unet import scene_unet
from rille_train.recipe import Recipe


def build_model(
    recipe: Recipe, classes: int, side: int | None = None, *, fixed: bool = False
) -> Any:
    """Build the network of a recipe with random weights.

    Args:
        recipe: the recipe.
        classes: number of labels.
        side: height and width of the input; None for the size that preprocessing makes.
        fixed: an application's base runs in inference mode also while training.

    Returns:
        A `keras.Model` from one image tensor to a dict of outputs by role; see
        `rille.bundle.manifest.Variant`.
    """
    height, width, channels = input_shape(recipe)
    shape = (side or height, side or width, channels)
    if recipe.model.kind == "crater-unet":
        how = recipe.model
        return crater_unet(shape, how.widths, how.canonical_light, how.depth)
    if recipe.model.kind == "scene-unet":
        return scene_unet(shape, classes, recipe.model.widths)
    if recipe.one_mask:
        return mask_unet(shape, recipe.model.widths, recipe.model.kind == "resunet")
    if recipe.model.kind == "application":
        how = recipe.model
        return application_classifier(
            shape, classes, base=how.base, head=how.head, dropout=how.dropout, fixed=fixed
        )
    return mobilenet_v2_classifier(shape, classes, recipe.model.dropout)


def for_flight(model: Any) -> Any:
    """Return the network without the outputs that only training needs; weights are shared."""
    outputs = {role: tensor for role, tensor in model.output.items() if role != "light"}
    return keras.Model(model.input, outputs, name=model.name)


def input_shape(recipe: Recipe) -> tuple[int, int, int]:
    """Return the (height, width, channels) that a recipe's preprocessing makes."""
    ops = parse_ops(recipe.preprocess)
    fit = next(op for op in ops if isinstance(op, Resize | Letterbox))
    return fit.height, fit.width, 1 if isinstance(ops[0], Gray) else 3
