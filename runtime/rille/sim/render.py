"""Rendering simulated scenes to a data set: frames, class masks, COCO annotations.

A folder holds `scenario.json`, `images/` and `masks/` by scene, `truth/` with one JSON a frame, and
in the end `train.json` and `val.json` in COCO format and `contact-sheet.png`. A frame's truth is
written last, so a frame that has one is whole: an interrupted rendering goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.ellipse import Ellipse, clipped_polygon
from rille.errors import ConfigError, RilleError, SinkError, SourceError
from rille.files import sink_error, write_whole
from rille.frame import CLASSES
from rille.sim.ground import TERRAINS
from rille.sim.overlay import classes_of, sheet
from rille.sim.scenario import Scenario, open_simulator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.frame import Truth

_SHEET_FRAMES = 12
_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to render.

    Attributes:
        scenario: the first scene; the others differ by their seed, which counts up.
        scenes: how many scenes.
        frames: how many frames in all, the same number of each scene (or one more).
        every: one frame out of so many of a drive or descent is kept.
        validation: scenes kept for validation, the last ones.
        vary: whether each scene draws its own terrain, Sun, lens, sensor, hardware and tracks.
    """

    scenario: Scenario
    scenes: int
    frames: int
    every: int
    validation: int
    vary: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.scenes <= self.frames:
            raise ConfigError(f"{self.scenes} scenes need at least as many frames, and at least 1")
        if not 0 <= self.validation <= self.scenes:
            raise ConfigError(
                f"{self.validation} validation scenes of {self.scenes}: a split is by whole scenes"
            )

    def scene(self, number: int) -> Scenario:
        """Return the scenario of a scene."""
        s = varied(self.scenario, number) if self.vary else self.scenario
        count = len(self.kept(number))
        return replace(s, seed=s.seed + number, frames=max(1, count * self.every), truth=True)

    def kept(self, number: int) -> range:
        """Return the indices of a scene's frames that are kept."""
        more = number < self.frames % self.scenes
        return range(0, (self.frames // self.scenes + more) * self.every, self.every)

    def split(self, number: int) -> str:
        """Return which split a scene belongs to: a scene is never in two."""
        return "val" if number >= self.scenes - self.validation else "train"


def varied(scenario: Scenario, number: int) -> Scenario:
    """Return a scenario with terrain, Sun, lens, sensor, hardware and tracks drawn for one scene.

    The Sun stands 3 to 45 degrees high, evenly in the logarithm: low Suns are the hard ones.
    """
    rng = np.random.default_rng([scenario.seed, number, 17])
    terrains = (
        sorted(TERRAINS[scenario.world]) if scenario.view == "rover" else ["highland", "mare"]
    )
    return replace(
        scenario,
        terrain=str(rng.choice(terrains)),
        sun_elevation_deg=float(np.exp(rng.uniform(np.log(3.0), np.log(45.0)))),
        sun_azimuth_deg=float(rng.uniform(0.0, 360.0)),
        field_of_view_deg=float(rng.uniform(45.0, 70.0)),
        sensor=str(rng.choice(["clean", "typical", "stressed"], p=[0.2, 0.6, 0.2])),
        hardware=bool(rng.random() < 0.5),
        tracks=bool(rng.random() < 0.5),
        lander=bool(rng.random() < 0.5),
    )


def render(folder: Path, plan: Plan, workers: int, progress: Callable[[int, int], None]) -> None:
    """Render a data set, or finish one that was interrupted.

    Args:
        folder: where to.
        plan: what.
        workers: processes.
        progress: called with frames done and frames in all, now and then.

    Raises:
        ConfigError: the folder holds another rendering.
        SinkError: a file cannot be written.
        SourceError: a process ended unexpectedly.
    """
    _claim(folder, plan)
    todo = [
        (scene, index)
        for scene in range(plan.scenes)
        for index in plan.kept(scene)
        if not _truth_file(folder, scene, index).is_file()
    ]
    total = plan.frames
    context = multiprocessing.get_context("spawn")
    failures = context.SimpleQueue()
    # Every process gets a run of neighbouring frames, so that it builds few scenes.
    parts = [part for part in np.array_split(np.arange(len(todo)), workers) if len(part)]
    children = [
        context.Process(
            target=_work, args=(folder, plan, [todo[i] for i in part], failures), daemon=True
        )
        for part in parts
    ]
    for child in children:
        child.start()
    try:
        while any(child.is_alive() for child in children):
            progress(total - _missing(folder, todo), total)
            if not failures.empty():
                break
            time.sleep(_POLL_S)
    finally:
        trouble = None if failures.empty() else failures.get()
        for child in children:
            if trouble is not None or child.is_alive():
                child.terminate()
            child.join()
    if trouble is not None:
        raise SinkError(trouble)
    if any(child.exitcode for child in children):
        raise SourceError("a rendering process ended unexpectedly; start again to go on")
    progress(total, total)
    _finish(folder, plan)


def _claim(folder: Path, plan: Plan) -> None:
    """Make the folder, or see that it holds the same rendering."""
    text = json.dumps(asdict(plan), indent=1) + "\n"
    note = folder / "scenario.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if note.is_file():
            if note.read_text(encoding="utf-8") != text:
                raise ConfigError(
                    f"{folder}: holds another rendering (see scenario.json); choose another --out"
                )
        elif any(folder.iterdir()):
            raise ConfigError(
                f"{folder}: is not empty and holds no rendering; choose another --out"
            )
    except OSError as wrong:
        raise sink_error(folder, wrong) from None
    write_whole(note, text)


def _missing(folder: Path, todo: list[tuple[int, int]]) -> int:
    return sum(not _truth_file(folder, scene, index).is_file() for scene, index in todo)


def _truth_file(folder: Path, scene: int, index: int) -> Path:
    return folder / "truth" / f"{_stem(scene, index)}.json"


def _stem(scene: int, index: int) -> str:
    return f"scene-{scene:04d}/frame-{index:06d}"


def _work(
    folder: Path,
    plan: Plan,
    todo: list[tuple[int, int]],
    failures: Any,
) -> None:
    """Render some frames, in a process of its own."""
    # Ctrl-C reaches the whole group; the parent ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    scene, simulator = -1, None
    try:
        for number, index in todo:
            if number != scene or simulator is None:
                scene, simulator = number, open_simulator(plan.scene(number))
                for kind in ("images", "masks", "truth"):
                    (folder / kind / f"scene-{number:04d}").mkdir(parents=True, exist_ok=True)
            pixels, truth = simulator.frame(index)
            assert truth is not None
            _write_frame(folder, plan.scene(number), number, index, pixels, truth)
    except RilleError as wrong:
        failures.put(str(wrong))
    except OSError as wrong:
        failures.put(str(sink_error(folder, wrong)))


def _write_frame(
    folder: Path,
    scenario: Scenario,
    scene: int,
    index: int,
    pixels: NDArray[np.uint8],
    truth: Truth,
) -> None:
    stem = _stem(scene, index)
    shown = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    for kind, image in (("images", shown), ("masks", classes_of(truth))):
        good, packed = cv2.imencode(".png", image)
        assert good
        write_whole(folder / kind / f"{stem}.png", packed.tobytes())
    record = describe(truth) | {"seed": scenario.seed, "size_px": [*pixels.shape[1::-1]]}
    write_whole(_truth_file(folder, scene, index), json.dumps(record) + "\n")


def describe(truth: Truth) -> dict[str, Any]:
    """Return what a frame shows, without its masks, for a file."""
    return {
        "sun_azimuth_deg": truth.sun_azimuth_deg,
        "sun_elevation_deg": truth.sun_elevation_deg,
        "metres_per_px": truth.metres_per_px if np.isfinite(truth.metres_per_px) else None,
        "pose": {key: round(value, 4) for key, value in truth.pose.items()},
        "labels": dict(truth.labels),
        "craters": [
            {
                "ellipse": [round(v, 2) for v in (e.x, e.y, e.semi_major, e.semi_minor)],
                "angle_deg": round(e.angle_deg, 1),
                "diameter_m": round(diameter, 3),
                "depth_ratio": round(depth, 4),
                "visible": round(visible, 3),
            }
            for e, diameter, depth, visible in zip(
                truth.craters, truth.diameters_m, truth.depth_ratios, truth.visible, strict=True
            )
        ],
        "stones": [
            {"box": list(s.box_px), "area_px": s.area_px, "diameter_m": round(s.diameter_m, 3)}
            for s in truth.stones
        ],
    }


def _finish(folder: Path, plan: Plan) -> None:
    """Gather the frames' truths into COCO files, and draw the contact sheet."""
    for split in ("train", "val"):
        scenes = [n for n in range(plan.scenes) if plan.split(n) == split]
        if scenes:
            write_whole(folder / f"{split}.json", json.dumps(_coco(folder, plan, scenes)) + "\n")
    frames = [(n, i) for n in range(plan.scenes) for i in plan.kept(n)]
    step = max(1, len(frames) // _SHEET_FRAMES)
    pictures = []
    for scene, index in frames[::step][:_SHEET_FRAMES]:
        image = cv2.imread(str(folder / "images" / f"{_stem(scene, index)}.png"))
        assert image is not None
        pictures.append(np.asarray(image[..., ::-1], np.uint8))
    good, packed = cv2.imencode(".png", sheet(pictures, 4, 320)[..., ::-1])
    assert good
    write_whole(folder / "contact-sheet.png", packed.tobytes())


def _coco(folder: Path, plan: Plan, scenes: list[int]) -> dict[str, Any]:
    """Return images and annotations of some scenes in COCO's format.

    Craters carry their ellipse and their size beside the box and an outline polygon; the PNG masks
    are the exact class of each pixel.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for scene in scenes:
        for index in plan.kept(scene):
            record = json.loads(_truth_file(folder, scene, index).read_text(encoding="utf-8"))
            width, height = record["size_px"]
            number = len(images) + 1
            stem = _stem(scene, index)
            images.append(
                {
                    "id": number,
                    "file_name": f"images/{stem}.png",
                    "mask": f"masks/{stem}.png",
                    "width": width,
                    "height": height,
                    "seed": record["seed"],
                    "labels": record["labels"],
                }
            )
            for found in _annotations(record, width, height):
                annotations.append({"id": len(annotations) + 1, "image_id": number} | found)
    return {
        "info": {"description": "rendered by rille sim", "plan": asdict(plan)},
        "categories": [{"id": k, "name": CLASSES[k]} for k in range(len(CLASSES))],
        "images": images,
        "annotations": annotations,
    }


def _annotations(record: dict[str, Any], width: int, height: int) -> Iterator[dict[str, Any]]:
    for crater in record["craters"]:
        x, y, major, minor = crater["ellipse"]
        ellipse = Ellipse(x, y, major, minor, crater["angle_deg"])
        polygon = clipped_polygon(ellipse, width, height)
        if len(polygon) < 3:
            continue
        (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0)
        yield {
            "category_id": CLASSES.index("crater"),
            "bbox": [round(float(v), 2) for v in (left, top, right - left, bottom - top)],
            "area": round(float(cv2.contourArea(polygon)), 1),
            "segmentation": [[round(float(v), 2) for v in polygon.ravel()]],
            "iscrowd": 0,
            **crater,
        }
    for stone in record["stones"]:
        left, top, right, bottom = stone["box"]
        yield {
            "category_id": CLASSES.index("stone"),
            "bbox": [left, top, right - left + 1, bottom - top + 1],
            "area": stone["area_px"],
            "segmentation": [[left, top, right + 1, top, right + 1, bottom + 1, left, bottom + 1]],
            "iscrowd": 0,
            "diameter_m": stone["diameter_m"],
        }
