"""Heat maps and feature maps of small networks whose answers have a known place."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.bundle.manifest import Contract, Decision, LabelEntry
from rille.errors import ConfigError, SinkError, SourceNotFoundError

keras = pytest.importorskip("keras", reason="the train extra is not installed")
ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"red": (200, 60, 40), "green": (50, 180, 70), "blue": (60, 80, 210)}


def contract(task: str = "classification", **fit: Any) -> Contract:
    last = {"op": "normalize", "mean": [127.5], "std": [127.5]}
    return Contract(
        name="tiny",
        version="0",
        task=task,
        summary="made for a test",
        licence="test",
        labels=tuple(LabelEntry(id=k, name=name) for k, name in enumerate(COLOURS)),
        preprocess=({"op": "rgb"}, fit or {"op": "resize", "width": 64, "height": 48}, last),
        decision=Decision(),
    )


def picture(colour: str, quadrant: int | None, seed: int = 0) -> np.ndarray[Any, Any]:
    """A noisy grey (96, 128, 3) image with one quadrant (or all of it) in a colour."""
    rng = np.random.default_rng(seed)
    image = 128 + rng.normal(0, 20, (96, 128, 3))
    top, left = (0, 0) if quadrant is None else (quadrant // 2 * 48, quadrant % 2 * 64)
    high, wide = (96, 128) if quadrant is None else (48, 64)
    image[top : top + high, left : left + wide] += np.array(COLOURS[colour]) - 128.0
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small classifier trained to tell colours apart."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(3)
    image = keras.Input((48, 64, 3), name="input")
    x = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="first")(image)
    y = keras.layers.Conv2D(16, 3, 2, padding="same", name="second")(x)
    y = keras.layers.ReLU(6.0, name="maps")(y)
    z = keras.layers.Conv2D(16, 1, name="aside")(y)
    y = keras.layers.ReLU(6.0, name="last")(keras.layers.Add()([y, z]))
    y = keras.layers.GlobalAveragePooling2D(name="features")(y)
    model = keras.Model(image, {"logits": keras.layers.Dense(3, name="logits")(y)})
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss={"logits": keras.losses.CategoricalCrossentropy(from_logits=True)},
    )
    shown = [
        (k, picture(name, q, 7 * k + (q or 0)))
        for k, name in enumerate(COLOURS)
        for q in (None, 0, 1, 2, 3)
    ]
    images = np.stack([cv2.resize(p, (64, 48)) for _, p in shown]).astype(np.float32) / 127.5 - 1
    classes = np.eye(3, dtype=np.float32)[[k for k, _ in shown]]
    model.fit(images, {"logits": classes}, batch_size=15, epochs=60, verbose=0)
    run = tmp_path_factory.mktemp("tiny-run")
    model.save(run / "model.keras")
    (run / "contract.json").write_text(json.dumps({"contract": asdict(contract())}))
    return run


@pytest.fixture(scope="session")
def segmenter() -> Any:
    from rille_train.models.crater_unet import crater_unet

    keras.config.set_dtype_policy("float32")
    return crater_unet((64, 64, 1), (4, 8), True)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("quadrant", range(4))
def test_the_heat_lies_where_the_colour_is(tiny_run: Path, colour: str, quadrant: int) -> None:
    from rille_train.explain import GradCam, load_run

    explain = GradCam(*load_run(tiny_run))
    found = explain(picture(colour, quadrant, seed=99))
    assert found.heat.shape == (96, 128)
    assert np.isfinite(found.heat).all()
    assert found.heat.min() >= 0 and found.heat.max() == pytest.approx(1.0)
    assert found.answer == found.label == colour
    means = [found.heat[y : y + 48, x : x + 64].mean() for y in (0, 48) for x in (0, 64)]
    others = [m for k, m in enumerate(means) if k != quadrant]
    assert means[quadrant] > 2 * max(others)


def test_before_a_pooled_linear_layer_it_is_the_class_activation_map(tiny_run: Path) -> None:
    """There Grad-CAM equals CAM (Zhou et al. 2016): sum of the maps by the class's weights."""
    from rille_train.explain import GradCam, feature_maps, load_run

    model, made_for = load_run(tiny_run)
    image = picture("green", 2)
    maps = feature_maps(model, made_for, image, ["last"])["last"]
    kernel, _ = model.get_layer("logits").get_weights()
    expected = np.maximum(maps @ kernel[:, 2], 0)
    expected = cv2.resize(cv2.resize(expected, (64, 48)), (128, 96))
    found = GradCam(model, made_for, "last")(image, "blue")
    assert (found.label, found.answer) == ("blue", "green")
    np.testing.assert_allclose(found.heat, expected / max(expected.max(), 1e-9), atol=1e-4)


def test_letterbox_margins_are_cut_off(tiny_run: Path) -> None:
    from rille_train.explain import GradCam, load_run

    model, _ = load_run(tiny_run)
    boxed = contract(op="letterbox", width=64, height=48)
    tall = picture("red", 1)[:, :72].repeat(2, axis=0)
    tall[:96, 40:] = COLOURS["red"]
    heat = GradCam(model, boxed)(tall, "red").heat
    assert heat.shape == tall.shape[:2]
    assert heat[:96, 40:].mean() > 2 * heat[:, :30].mean()


def test_layers_that_cannot_be_looked_at(tiny_run: Path, segmenter: Any) -> None:
    from rille_train.explain import GradCam, feature_maps, load_run

    model, made_for = load_run(tiny_run)
    with pytest.raises(ConfigError, match=r"layer lats: the network has none .*'last'"):
        GradCam(model, made_for, "lats")
    with pytest.raises(ConfigError, match="layer aside: other paths go around it"):
        GradCam(model, made_for, "aside")
    with pytest.raises(ConfigError, match="layer features: gives numbers of shape"):
        feature_maps(model, made_for, picture("red", 0), ["features"])
    with pytest.raises(ConfigError, match=r"'gren': the network has no such class.*'green'"):
        GradCam(model, made_for)(picture("red", 0), "gren")
    with pytest.raises(ConfigError, match="Grad-CAM explains classifiers, this one does segm"):
        GradCam(segmenter, contract("segmentation"))


def test_feature_maps_of_a_segmenter(segmenter: Any) -> None:
    from rille_train.explain import contact_sheet, feature_maps, map_layers

    gray = Contract(
        **{
            **asdict(contract("segmentation")),
            "labels": (LabelEntry(id=0, name="crater"),),
            "decision": Decision(),
            "preprocess": (
                {"op": "gray"},
                {"op": "letterbox", "width": 64, "height": 64},
                {"op": "standardize"},
            ),
        }
    )
    maps = feature_maps(segmenter, gray, picture("red", 0))
    assert list(maps) == map_layers(segmenter)
    assert {values.shape[:2] for values in maps.values()} >= {(32, 32), (16, 16), (8, 8)}
    for values in maps.values():
        assert np.isfinite(values).all()
        sheet = contact_sheet(values)
        assert sheet.dtype == np.uint8 and sheet.ndim == 3


def test_a_sheet_takes_the_liveliest_maps_in_order() -> None:
    from rille_train.explain import contact_sheet

    maps = np.zeros((4, 6, 100), np.float32)
    maps[0, 0, 10:90] = 1
    assert contact_sheet(maps).shape == (8 * (80 + 2), 8 * (120 + 2), 3)
    assert contact_sheet(maps[:, :, :3]).shape == (82, 3 * 122, 3)


def test_the_command_writes_pictures(tiny_run: Path, tmp_path: Path, capsys: Any) -> None:
    from rille_train.explain_cli import main

    image = tmp_path / "a b.png"
    cv2.imwrite(str(image), picture("blue", 3)[:, :, ::-1])
    out = tmp_path / "out"
    assert main([str(tiny_run), str(image), "--out", str(out), "--features"]) == 0
    said = capsys.readouterr().out
    names = sorted(p.name for p in out.iterdir())
    assert names == ["00-a b-cam.png", "00-a b-maps00-last.png"]
    assert "blue" in said and "layer last" in said and "16 maps of 16 x 12" in said
    both = cv2.imread(str(out / names[0]))
    assert both is not None and both.shape == (96, 256, 3)
    np.testing.assert_array_equal(both[:, :128, ::-1], picture("blue", 3))
    with pytest.raises(SourceNotFoundError):
        main([str(tiny_run), str(tmp_path / "absent.png"), "--out", str(out)])
    with pytest.raises(ConfigError, match="not a finished training run"):
        main([str(tmp_path), str(image), "--out", str(out)])
    with pytest.raises(SinkError):
        main([str(tiny_run), str(image), "--out", str(image / "inside")])


def test_a_backend_without_gradients_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from rille_train.gradients import gradient

    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ConfigError, match="KERAS_BACKEND=numpy: gradients need tensorflow"):
        gradient(lambda a: a, np.zeros(3, np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_every_backend_gives_the_same_heat(backend: str, tiny_run: Path, tmp_path: Path) -> None:
    from rille_train.explain import GradCam, load_run

    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from rille.images import read_image; from rille_train.explain import GradCam, load_run\n"
        "run, image, out = map(Path, sys.argv[1:])\n"
        "np.save(out, GradCam(*load_run(run), 'maps')(read_image(image)).heat)"
    )
    image, out = tmp_path / "a.png", tmp_path / "heat.npy"
    cv2.imwrite(str(image), picture("red", 1)[:, :, ::-1])
    path = os.pathsep.join(str(ROOT / folder) for folder in ("runtime", "train"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_run), str(image), str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    expected = GradCam(*load_run(tiny_run), "maps")(picture("red", 1)).heat
    np.testing.assert_allclose(np.load(out), expected, atol=1e-3)
