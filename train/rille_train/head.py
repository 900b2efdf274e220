"""A good start for a classifier's last layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rille_train.batches.photos import LabelBatches, PhotoBatches


def fit_head(model: Any, batches: PhotoBatches | LabelBatches) -> None:
    """Fit the classifier's last layer on frozen features, every class weighted alike.

    Softmax or logistic regression on standardised features by AdamW, then folded back onto the raw
    features. It starts fine-tuning from something better than noise, which would otherwise shake
    the backbone.
    """
    targets, weights, loss = batches.head_problem()
    extract = keras.Model(model.input, model.get_layer("features").output)
    parts = [extract.predict_on_batch(images) for images in batches.plain(32)]
    features = np.concatenate([np.asarray(part, np.float32) for part in parts])
    mean, std = features.mean(0), features.std(0) + 1e-3
    logits = model.get_layer("logits")
    dense = keras.layers.Dense(logits.units, dtype="float32")
    head = keras.Sequential([keras.Input((features.shape[1],)), dense])
    head.compile(keras.optimizers.AdamW(3e-3, weight_decay=0.1), loss=loss)
    head.fit(
        (features - mean) / std,
        targets,
        sample_weight=weights,
        batch_size=512,
        epochs=max(1, batches.recipe.fit.head_steps * 512 // len(features)),
        verbose=0,
    )
    kernel, bias = head.get_weights()
    kernel = kernel / std[:, None]
    logits.set_weights([kernel, bias - mean @ kernel])
