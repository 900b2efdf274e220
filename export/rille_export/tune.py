"""Quantisation-aware fine-tuning of biases: a network learns to answer in int8 as it did in float.

The teacher is the float network, the student the same network with batch normalisation folded into
its convolutions and with the rounding of int8 in its forward pass: weights symmetric for each
output channel, tensors between layers affine over the range they had on the calibration images
(Jacob et al. 2018; gradients pass the rounding straight through). No label is needed, so the same
few hundred training images serve every task.

Only biases are tuned. What rounding does to a network is above all to move the mean of its channels
(Nagel et al. 2019), a bias takes that back, and so few numbers cannot learn the images by heart: on
a MobileNetV2 with four labels a minute of it halved the gap between int8 and float on images that
were not shown, where tuning all weights made it no smaller.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from rille_export.flat import flattened

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CONVOLUTIONS = (keras.layers.DepthwiseConv2D, keras.layers.Conv2D, keras.layers.Dense)
# These hand on numbers of the range that they were given.
_PASSING = (
    keras.layers.UpSampling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Dropout,
)
_BATCH, _RATE = 8, 5e-4
STEPS = 120
"""Enough for the gap to stop shrinking on the networks that come with rille."""
Say = Callable[[str], None]


@keras.saving.register_keras_serializable("rille")
class Folded(keras.layers.Layer):  # type: ignore[misc]  # Keras publishes no types
    """A convolution or dense layer with its batch normalisation folded in.

    Args:
        kind: "conv", "depthwise" or "dense".
        strides, padding: of the convolution.
        rounded: whether its weights are rounded as int8 would.
    """

    def __init__(
        self, kind: str, strides: tuple[int, int], padding: str, rounded: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.kind, self.strides, self.padding, self.rounded = kind, strides, padding, rounded

    def start(self, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """Make the weights, with these values."""
        if self.rounded:
            axes = (0, 1) if self.kind == "depthwise" else tuple(range(kernel.ndim - 1))
            step = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True) / 127.0, 1e-12)
            kernel = np.round(kernel / step) * step
        for name, value in (("kernel", kernel), ("bias", bias)):
            start, tuned = keras.initializers.Constant(value), name == "bias"
            weight = self.add_weight(
                shape=value.shape, initializer=start, name=name, trainable=tuned
            )
            setattr(self, name, weight)

    def call(self, x: Any) -> Any:
        """Return the layer's output before any activation."""
        if self.kind == "dense":
            return ops.matmul(x, self.kernel) + self.bias
        run = ops.depthwise_conv if self.kind == "depthwise" else ops.conv
        return run(x, self.kernel, strides=self.strides, padding=self.padding) + self.bias


class Rounded(keras.layers.Layer):  # type: ignore[misc]
    """A tensor between two layers, as int8 stores it.

    Args:
        low, high: the range it can hold; zero is inside and exact.
    """

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        low, high = min(low, 0.0), max(high, 0.0, low + 1e-6)
        self.step = (high - low) / 255.0
        self.low = round(low / self.step) * self.step
        self.high = self.low + 255.0 * self.step

    def call(self, x: Any) -> Any:
        """Return the nearest numbers that can be stored."""
        return _rounded(ops.clip(x, self.low, self.high), self.step)


def tuned(model: Any, images: Sequence[NDArray[np.float32]], steps: int, say: Say) -> Any:
    """Return a float network whose int8 form answers as the given one does in float.

    Args:
        model: float32 Keras model from one input to a dict of outputs.
        images: (1, h, w, c) network inputs to learn from.
        steps: number of steps with batches of 8.
        say: called with a line before and after.

    """
    model = flattened(model)
    ranges = _ranges(model, images)
    student = rebuilt(model, ranges)
    for layer in student.layers:  # the network itself has them too
        layer.trainable = isinstance(layer, Folded)
    say(f"tuning for int8 on {len(images)} images: {steps} steps")
    before = _distance(model, student, images[:32])
    rate = keras.optimizers.schedules.CosineDecay(
        _RATE * 0.1, max(steps * 9 // 10, 1), 0.02, warmup_target=_RATE, warmup_steps=steps // 10
    )
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)
    # Outputs of every kind count alike: as shares of how much each varies.
    weights = {role: 1.0 / spread for role, spread in _spread(model, images).items()}
    student.compile(optimizer, loss=dict.fromkeys(weights, "mse"), loss_weights=weights)
    with warnings.catch_warnings():
        # What only decides, as on which side the Sun stands, has no gradient and stays as it is.
        warnings.filterwarnings("ignore", "Gradients do not exist")
        for x, answers in _batches(model, images, steps):
            student.train_on_batch(x, answers)
    after = _distance(model, student, images[:32])
    say(f"distance to the float answers: {before:.3f} before, {after:.3f} after")
    plain = rebuilt(model, None)
    for layer in plain.layers:
        if isinstance(layer, Folded):
            layer.bias.assign(student.get_layer(layer.name).bias)
    return plain


def rebuilt(model: Any, ranges: dict[str, tuple[float, float]] | None) -> Any:
    """Return the network with batch normalisation folded in.

    Args:
        model: the network.
        ranges: by layer, what its output is rounded to; None to round nothing.
    """
    folds = {layer.name: _folded(layer) for layer in model.layers if _is_convolution(layer)}

    first = model.layers[0]

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if ranges is not None and _before(layer) is first:
            stored = Rounded(*ranges[first.name])
            args = keras.tree.map_structure(stored, args)
        if layer.name in folds:
            kind, kernel, bias = folds[layer.name]
            strides = getattr(layer, "strides", (1, 1))
            padding = getattr(layer, "padding", "valid")
            made = Folded(kind, strides, padding, ranges is not None, name=f"{layer.name}_folded")
            made.start(kernel, bias)
            x = made(args[0])
            if getattr(layer, "activation", None) not in (None, keras.activations.linear):
                x = keras.layers.Activation(layer.activation)(x)
        elif isinstance(layer, keras.layers.Dropout) or _is_folded(layer):
            x = args[0]
        else:
            x = layer(*args, **kwargs)
        if ranges is not None and layer.name in ranges:
            x = Rounded(*ranges[layer.name])(x)
        return x

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def _rounded(x: Any, step: Any) -> Any:
    """Round to multiples of a step; the gradient passes as if nothing had happened."""
    return x + ops.stop_gradient(ops.round(x / step) * step - x)


def _is_convolution(layer: Any) -> bool:
    return isinstance(layer, _CONVOLUTIONS)


def _is_folded(layer: Any) -> bool:
    """Return whether a layer goes into the convolution before it."""
    norm = isinstance(layer, keras.layers.BatchNormalization)
    return norm and _is_convolution(_before(layer))


def _before(layer: Any) -> Any:
    return layer._inbound_nodes[0].parent_nodes[0].operation


def _after(layer: Any) -> list[Any]:
    return [node.operation for node in layer._outbound_nodes]


def _folded(layer: Any) -> tuple[str, NDArray[np.float32], NDArray[np.float32]]:
    """Return the kind, kernel and bias of a convolution with what normalises it."""
    kind = "conv" if isinstance(layer, keras.layers.Conv2D) else "dense"
    kind = "depthwise" if isinstance(layer, keras.layers.DepthwiseConv2D) else kind
    kernel = np.asarray(layer.kernel)
    outputs = kernel.shape[2] * kernel.shape[3] if kind == "depthwise" else kernel.shape[-1]
    bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(outputs, np.float32)
    norms = [x for x in _after(layer) if isinstance(x, keras.layers.BatchNormalization)]
    if norms:
        norm = norms[0]
        mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
        gamma = np.asarray(norm.gamma) if norm.scale else np.ones_like(mean)
        beta = np.asarray(norm.beta) if norm.center else np.zeros_like(mean)
        factor = gamma / np.sqrt(variance + norm.epsilon)
        bias = (bias - mean) * factor + beta
        kernel = kernel * (factor.reshape(kernel.shape[2:]) if kind == "depthwise" else factor)
    return kind, kernel.astype(np.float32), bias.astype(np.float32)


def _stored(layer: Any) -> bool:
    """Return whether the converted network stores this layer's output as a tensor of its own."""
    if isinstance(layer, _PASSING):
        return False
    if isinstance(layer, (*_CONVOLUTIONS, keras.layers.BatchNormalization)):
        fused = (keras.layers.BatchNormalization, keras.layers.ReLU)
        after = _after(layer)
        return not (after and all(isinstance(x, fused) for x in after))
    return True


def _ranges(model: Any, images: Sequence[NDArray[np.float32]]) -> dict[str, tuple[float, float]]:
    """Return the least and greatest output of each stored layer over the images."""
    layers = [layer for layer in model.layers if _stored(layer)]
    watch = keras.Model(model.input, [layer.output for layer in layers])
    low = np.full(len(layers), np.inf)
    high = -low
    for x in images:
        for k, values in enumerate(watch.predict_on_batch(x)):
            low[k], high[k] = min(low[k], values.min()), max(high[k], values.max())
    return {layer.name: (float(a), float(b)) for layer, a, b in zip(layers, low, high, strict=True)}


def _batches(
    model: Any, images: Sequence[NDArray[np.float32]], steps: int
) -> Iterator[tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]]:
    """Yield inputs, half of them mirrored, and what the float network answers."""
    rng = np.random.default_rng(1)
    for _ in range(steps):
        chosen = rng.choice(len(images), min(_BATCH, len(images)), replace=False)
        x = np.concatenate([images[k][:, :, :: rng.choice((1, -1))] for k in chosen])
        yield x, model.predict_on_batch(x)


def _spread(model: Any, images: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Return the variance of each output over some images."""
    answers = [model.predict_on_batch(x) for x in images[:32]]
    return {
        role: max(float(np.var(np.concatenate([a[role] for a in answers]))), 1e-6)
        for role in model.output
    }


def _distance(model: Any, student: Any, images: Sequence[NDArray[np.float32]]) -> float:
    """Return the root mean square gap between two networks, in spreads of the outputs."""
    spread = _spread(model, images)
    gaps = []
    for x in images:
        said, says = model.predict_on_batch(x), student.predict_on_batch(x)
        gaps += [float(np.mean((said[r] - says[r]) ** 2)) / spread[r] for r in spread]
    return float(np.sqrt(np.mean(gaps)))
