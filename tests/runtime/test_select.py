"""What is sent fits, grows with the budget, and shows more than every k-th frame would."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.recorded import record, unseen, worked

from rille.cli.main import main
from rille.downlink import decode_mask, encode_mask, select
from rille.downlink.coverage import cover, every_kth
from rille.downlink.pack import Seen, look
from rille.downlink.rank import KINDS, Order, Product
from rille.downlink.sight import Sight
from rille.ellipse import Ellipse
from rille.errors import ConfigError, FrameDecodeError, SourceError
from rille.frame import Frame
from rille.images import decode_image, read_image
from rille.recording import open_recording
from rille.result import Feature, Result, State

LABELS = ("crater", "stone", "artifact", "track")


def scene(kind: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth picture of one of several kinds, with a little noise of its own."""
    rows, columns = np.mgrid[0:120, 0:160]
    waves = np.sin(columns / (5.0 + 7 * kind)) + np.cos(rows / (9.0 + 5 * kind))
    noise = np.random.default_rng(seed).normal(0, 4, rows.shape)
    return np.asarray(np.clip(110 + 40 * waves + 12 * kind + noise, 0, 255), np.uint8)


def drive_result(index: int, kind: int) -> Result:
    """A frame of a simulated drive: kind 0 is plain, the others hold one thing each."""
    base = worked(index, label="plain" if kind == 0 else "rough")
    assert base.segmentation is not None and base.frame is not None
    label = LABELS[kind - 1] if kind else "crater"
    features = (Feature(label, Ellipse(80, 60, 14, 10, 20.0), 0.9),) if kind else ()
    return replace(
        base,
        frame=Frame(pixels=scene(kind, index), index=index, captured_ns=base.captured_ns),
        segmentation=replace(
            base.segmentation,
            mask=np.full((24, 32), kind, np.uint8),
            features=features,
            shares={label: 0.05} if kind else {"crater": 0.0},
        ),
    )


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety frames: a long plain, and here and there two frames of something else."""
    kinds = [0] * 90
    for start, kind in ((13, 1), (31, 2), (52, 3), (77, 4)):
        kinds[start : start + 2] = [kind, kind]
    results = [drive_result(k, kind) for k, kind in enumerate(kinds)]
    results += [unseen(90, State.DROPPED), unseen(91, State.FAILED)]
    return record(tmp_path_factory.mktemp("drive") / "run.mcap", results)


@pytest.fixture(scope="module")
def seen(drive: Path) -> Seen:
    return look(open_recording(drive))


BUDGETS = st.integers(1500, 400_000)


@settings(max_examples=40, deadline=None)
@given(BUDGETS, BUDGETS, st.sampled_from([0, 76]), st.sampled_from([{}, {"crater": 5.0}]))
def test_more_bytes_send_the_same_and_more(
    seen: Seen, one: int, other: int, overhead: int, priority: dict[str, float]
) -> None:
    small, large = (select(seen, n, priority, overhead) for n in sorted((one, other)))
    names = [[r.product.name for r in selection.ranked] for selection in (small, large)]
    assert names[1][: len(names[0])] == names[0]
    for selection, budget in ((small, min(one, other)), (large, max(one, other))):
        assert selection.total <= budget


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from(LABELS)),
            st.floats(0, 1),
            st.lists(st.integers(1, 5000), min_size=5, max_size=5),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1200, 60_000),
    st.integers(0, 30_000),
)
def test_any_run_fits_and_grows(
    frames: list[tuple[set[str], float, list[int]]], budget: int, more: int
) -> None:
    sights, products = [], []
    sums: dict[str, int] = {}
    for index, (labels, doubt, sizes) in enumerate(frames):
        dice = np.random.default_rng(index)
        sights.append(
            Sight(
                index=index,
                labels=dict.fromkeys(labels, 1.0),
                kind=tuple(sorted(labels)),
                doubt=doubt,
                worth=1.0,
                picture=dice.random(8).astype(np.float32),
                shares={},
            )
        )
        own = [
            Product(index=index, kind=kind, name=f"f{index:06d}/{kind}.bin", size=size)
            for kind, size in zip(KINDS, sizes, strict=True)
        ]
        products.append(own)
        sums |= {p.name: 0 for p in own}
    seen = Seen(sights=sights, products=products, sums=sums, left_out={})
    small, large = select(seen, budget), select(seen, budget + more)
    assert [r.product for r in large.ranked][: len(small.ranked)] == [
        r.product for r in small.ranked
    ]
    assert small.total <= budget and large.total <= budget + more
    whole = [r.product.name for r in Order(sights, products, {}, 0)]
    assert sorted(whole) == sorted(sums)  # everything has a place, once
    firsts = {name.split("/")[0]: name for name in reversed(whole)}
    assert all(name.endswith("record.bin") for name in firsts.values())


def test_gains_never_grow_within_a_kind(seen: Seen) -> None:
    """What is like something already sent adds less: the second frame of a kind, the third."""
    rates: dict[str, list[float]] = {}
    for ranked in Order(seen.sights, seen.products, {}, 0):
        rates.setdefault(ranked.product.kind, []).append(ranked.gain)
    assert rates["thumbnail"][0] > 5 * rates["thumbnail"][-1]


@pytest.mark.parametrize("budget", [15_000, 25_000, 40_000, 100_000])
def test_it_shows_more_than_every_kth_frame(seen: Seen, budget: int) -> None:
    """By kinds of scene, and by frames of rare kinds; five kinds, eight rare frames."""
    selection = select(seen, budget)
    chosen, plain = selection.coverage, selection.plain
    assert chosen.of_kinds == 5 and chosen.of_rare == 8
    assert chosen.kinds >= plain.kinds and chosen.rare >= plain.rare
    assert chosen.kinds > plain.kinds or plain.kinds == 5
    if budget >= 25_000:
        assert chosen.kinds == 5


def test_every_kth_takes_the_least_step_that_fits(seen: Seen) -> None:
    sizes = [100] * 90
    assert every_kth(seen.sights, sizes, 900).frames == 9
    assert every_kth(seen.sights, sizes, 9000).frames == 90
    assert every_kth(seen.sights, sizes, 99).frames == 0
    assert cover(seen.sights, set()).classes == 0


def test_priority_moves_a_class_to_the_front(seen: Seen) -> None:
    def place(priority: dict[str, float]) -> int:
        ranked = list(Order(seen.sights, seen.products, priority, 0))
        return next(
            k for k, r in enumerate(ranked) if r.product.kind == "crop" and r.product.index == 52
        )

    assert place({"artifact": 50.0}) < place({}) < place({"artifact": 0.0})


def files(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", ["down", "down.zip"])
def test_the_command(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / name
    assert main(["select", str(drive), "--bytes", "60k", "--out", str(out)]) == 0
    said = capsys.readouterr()
    found = files(out)
    size = out.stat().st_size if name.endswith("zip") else sum(map(len, found.values()))
    assert size <= 60_000 and said.out.startswith(f"{size if out.is_dir() else size - 22} of 60000")
    manifest = json.loads(found.pop("manifest.json"))
    listed = {entry[0]: entry for entry in manifest["products"]}
    assert set(listed) == set(found)
    for path, content in found.items():
        assert listed[path][1] == len(content)
        assert int(listed[path][2], 16) == zlib.crc32(content)
    assert manifest["sent"]["bytes"] == sum(map(len, found.values()))
    assert manifest["left"]["frames_not_ranked"] == {
        "dropped: no result": 1,
        "failed: no result": 1,
    }
    check_contents(found)
    assert "every k-th whole frame instead" in said.out
    assert "1 frames not ranked (dropped: no result)" in said.err


def check_contents(found: dict[str, bytes]) -> None:
    assert {"record", "thumbnail"} <= {path.split("/")[1].split(".")[0] for path in found}
    for path, content in found.items():
        index = int(path[1:7])
        if path.endswith(".rle"):
            assert set(np.unique(decode_mask(content))) <= set(range(5))
        elif path.endswith(".json"):
            assert json.loads(content)["frame"] == index
        else:
            picture = decode_image(content, path)
            assert max(picture.shape) <= 160


def test_thumbnails_and_whole_frames_look_like_the_frame(drive: Path, tmp_path: Path) -> None:
    assert main(["select", str(drive), "--bytes", "900k", "--out", str(tmp_path / "d")]) == 0
    whole = read_image(tmp_path / "d" / "f000031" / "full.jpg").astype(int)
    assert np.abs(whole - scene(2, 31).astype(int)).mean() < 6
    crop = read_image(tmp_path / "d" / "f000031" / "crop0.jpg")
    assert crop.shape == (46, 46)  # 1.6 half axes of 14 px on each side of the centre


def test_bad_budgets_and_places(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("0", "-5", "much", "", "nan", "1e99"):
        assert main(["select", str(drive), f"--bytes={text}"]) == 2
        assert "--bytes must be a number above 0" in capsys.readouterr().err
    assert main(["select", str(drive), "--bytes", "100", "--out", str(tmp_path / "a")]) == 2
    assert "the manifest alone needs" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    for text in ("crater", "crater=x", "=3", "crater=-1"):
        assert main(["select", str(drive), "--bytes", "9k", "--priority", text]) == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    words = ["select", str(drive), "--bytes", "9k", "--out"]
    assert main([*words, str(tmp_path / "full")]) == 3
    assert main([*words, str(tmp_path / "full" / "x")]) == 3
    capsys.readouterr()
    assert main([*words, str(tmp_path / "b"), "--priority", "moose=2"]) == 0
    assert "nothing in this run is labelled 'moose'" in capsys.readouterr().err


def test_runs_with_nothing_to_send(tmp_path: Path) -> None:
    bare = record(tmp_path / "a.mcap", [worked(0), unseen(1, State.DROPPED)], pixels=False)
    with pytest.raises(SourceError, match="no frame of it has both"):
        look(open_recording(bare))


@pytest.mark.parametrize(
    "spoil",
    [
        {"segmentation": {"features": [3]}},
        {"segmentation": {"features": [{"label": "crater"}]}},
        {"segmentation": {"features": [], "shares": {"crater": "x"}}},
        {"classification": {"label": "x"}},
        {"quality": 7},
    ],
)
def test_hostile_records_end_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: dict[str, Any]
) -> None:
    recording = open_recording(record(tmp_path / "run.mcap", [worked(0)]))
    first = next(recording.frames())
    spoiled = replace(first, record={**first.record, **spoil})
    monkeypatch.setattr(recording, "frames", lambda: iter([spoiled]))
    with pytest.raises(SourceError, match="the record of frame 0 cannot be read"):
        look(recording)


def test_only_so_many_frames_are_ranked(
    drive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("rille.downlink.pack.MOST_FRAMES", 20)
    few = look(open_recording(drive))
    assert len(few.sights) == 20 and few.left_out["thinned out"] == 70
    assert few.sights[0].index == 0 and few.sights[-1].index == 89
    with pytest.raises(ConfigError):
        select(few, 10)


@given(
    st.integers(1, 40).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([0, 1, 5, 255]), min_size=width, max_size=width),
            min_size=1,
            max_size=20,
        )
    )
)
def test_masks_in_runs_go_both_ways(rows: Sequence[Sequence[int]]) -> None:
    mask = np.array(rows, np.uint8)
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)


def test_a_long_run_is_short() -> None:
    assert len(encode_mask(np.zeros((480, 640), np.uint8))) == 7 + 1 + 3


@given(st.binary(max_size=40))
def test_hostile_masks(tail: bytes) -> None:
    for data in (tail, b"RM1" + tail, b"RM1\x04\x00\x03\x00" + tail):
        try:
            mask = decode_mask(data)
        except FrameDecodeError:
            continue
        assert mask.size <= 50_000_000
