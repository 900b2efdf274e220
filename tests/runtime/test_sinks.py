"""Outputs are whole or absent, and a full disk says so."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.draw import PANEL_PX, annotate, canvas_size
from rille.errors import ConfigError, SinkError
from rille.files import write_whole
from rille.frame import Frame
from rille.report import RunRecord, write_report
from rille.report.collect import MAX_BINS, PICTURES
from rille.result import Result, State
from rille.sinks import open_sink
from rille.sinks.console import Console
from rille.sinks.jsonl import JsonLines, read_lines
from rille.sinks.video import AnnotatedVideo
from rille.stats import PipelineStats

Make = Callable[..., Result]


def test_one_line_a_frame_losses_included(tmp_path: Path, result: Make, lost: Make) -> None:
    sink = open_sink(f"jsonl://{tmp_path / 'r.jsonl'}")
    sink.write(result(0))
    sink.write(lost(1, State.DROPPED))
    sink.write(lost(2, State.FAILED))
    sink.close()
    sink.close()
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [line["state"] for line in lines] == ["ok", "dropped", "failed"]
    assert lines[0]["classification"]["label"] == "horizon"
    assert lines[0]["segmentation"]["features"][0]["semi_major_px"] == 20
    assert lines[0]["age_ms"] == pytest.approx(12.0)
    assert lines[1]["cause"] == "superseded"
    assert lines[2]["error"] == "damaged"


def test_a_full_disk_is_named(result: Make) -> None:
    sink = JsonLines(Path("/dev/full"))
    with pytest.raises(SinkError, match="/dev/full: cannot be written: the disk is full"):
        sink.write(result())


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot be written"):
        open_sink(f"jsonl://{tmp_path / 'absent' / 'r.jsonl'}")
    with pytest.raises(ConfigError, match="did you mean 'jsonl'"):
        open_sink("json://x")
    with pytest.raises(ConfigError, match="a sink looks like"):
        open_sink("results.jsonl")


def test_a_whole_file_or_none(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_whole(target, "first")
    with pytest.raises(SinkError):
        write_whole(tmp_path / "absent" / "a.txt", "second")
    target.unlink()
    target.mkdir()
    with pytest.raises(SinkError):
        write_whole(target, "third")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_video_holds_every_published_frame(tmp_path: Path, result: Make, lost: Make) -> None:
    path = tmp_path / "v.mp4"
    sink = AnnotatedVideo(path, 10.0)
    for k in range(7):
        sink.write(result(k))
    sink.write(lost(7, State.DROPPED))
    assert not path.exists()
    sink.close()
    sink.close()
    video = cv2.VideoCapture(str(path))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 7
    assert video.read()[1].shape[:2] == canvas_size(160, 120)[::-1]
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_no_frame_no_video(tmp_path: Path, lost: Make) -> None:
    sink = AnnotatedVideo(tmp_path / "v.mp4")
    sink.write(lost(0, State.FAILED))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_came_out_short_is_removed(tmp_path: Path, result: Make) -> None:
    """What a full disk does to an encoder that reports no errors."""
    sink = AnnotatedVideo(tmp_path / "v.mp4")
    for k in range(5):
        sink.write(result(k))
    sink._movie._frames += 3
    with pytest.raises(SinkError, match="came out with 5 of 8 frames and was removed"):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_cannot_be_opened(tmp_path: Path, result: Make) -> None:
    sink = AnnotatedVideo(tmp_path / "absent" / "v.mp4")
    with pytest.raises(SinkError, match=r"output\.video=false leaves it out"):
        sink.write(result())


def test_the_picture_shows_the_crater_where_it_is(result: Make) -> None:
    size = canvas_size(160, 120)
    assert size[0] % 2 == size[1] % 2 == 0
    with_crater = annotate(result(), size).astype(int)
    bare = annotate(result(segmentation=None), size).astype(int)
    rows, columns = np.nonzero(np.abs(with_crater - bare)[: size[1] - PANEL_PX].sum(axis=2) > 30)
    scale = size[0] / 160
    assert columns.mean() == pytest.approx(80 * scale, abs=2)
    assert rows.mean() == pytest.approx(60 * scale, abs=2)


@pytest.mark.parametrize("beside", [False, True])
def test_the_bar_is_as_long_as_the_age_however_the_stages_ran(result: Make, beside: bool) -> None:
    """Stages that ran at the same time stand above each other, not behind each other."""
    times = [("classify", 1, 9), ("segment", 1 if beside else 9, 11)]
    start = result().captured_ns
    readings = {
        f"{name} {at}": start + ms * 1_000_000
        for name, *span in times
        for at, ms in zip(("begin", "end"), span, strict=True)
    }
    size = canvas_size(640, 480)
    panel = annotate(result(readings_ns=readings), size)[size[1] - PANEL_PX :].astype(int)
    empty = annotate(result(age_ms=0.0), size)[size[1] - PANEL_PX :].astype(int)
    drawn = np.abs(panel - empty).sum(axis=2)[38:50, : size[0] - 190] > 30
    scale = (size[0] - 200) / (50.0 * 1.25)
    assert np.nonzero(drawn.any(axis=0))[0].max() == pytest.approx(10 + 12 * scale, abs=2)
    middle = panel[38:50, round(10 + 5 * scale)]
    assert (np.abs(middle[2] - middle[9]).sum() > 30) == beside


@pytest.mark.parametrize("shape", [(10, 10), (3000, 50), (50, 3000), (1080, 1920, 3)])
def test_any_frame_can_be_drawn(shape: tuple[int, ...], result: Make, lost: Make) -> None:
    frame = Frame(pixels=np.zeros(shape, np.uint8), index=0, captured_ns=0)
    size = canvas_size(frame.width, frame.height)
    assert annotate(result(frame=frame), size).shape == (size[1], size[0], 3)
    assert annotate(result(frame=frame), (480, 424)).shape == (424, 480, 3)
    assert annotate(lost(3, State.FAILED), (480, 424)).shape == (424, 480, 3)


class Tags(HTMLParser):
    """Notes what the page fetches and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.images += tag == "img"
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith("data:"):
                self.fetched.append(value)
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("img", "meta"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report_of(results: list[Result], path: Path) -> str:
    stats, record = PipelineStats(50.0), RunRecord()
    for one in results:
        stats.account.capture()
        stats.end(one)
        record.write(one)
    write_report(
        path, source="<sim>", stats=stats, record=record, config="[budget]\n", versions="v"
    )
    return path.read_text()


def test_the_report_is_one_page_that_fetches_nothing(
    tmp_path: Path, result: Make, lost: Make
) -> None:
    results = [result(k) for k in range(40)]
    results[5] = result(5, State.LATE, 80.0)
    results[9] = lost(9, State.DROPPED)
    results[12] = result(12, level="classify-only", shed=("segment",), segmentation=None)
    page = report_of(results, tmp_path / "report.html")
    tags = Tags()
    tags.feed(page)
    assert tags.fetched == [] and tags.open == []
    assert tags.images == PICTURES
    assert "&lt;sim&gt;" in page and "<sim>" not in page
    assert "40 captured = 38 ok + 1 late + 1 dropped" in page
    assert "classify-only" in page and "horizon" in page
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_report_of_nothing(tmp_path: Path, lost: Make) -> None:
    page = report_of([], tmp_path / "r.html")
    assert "No frame was captured" in page
    assert "No frame was captured" not in report_of([lost(0, State.FAILED)], tmp_path / "r.html")


def test_a_long_run_is_kept_in_bounded_memory(result: Make) -> None:
    record = RunRecord()
    stub = result(0)
    count = 20_000
    for k in range(count):
        late = k % 1000 == 7
        fields: dict[str, Any] = {"frame": None if k % 50 else stub.frame}
        state = State.LATE if late else State.OK
        record.write(result(k, state, 80.0 if late else 10.0, **fields))
    assert len(record.bins) <= MAX_BINS
    assert sum(b.frames for b in record.bins) == count
    assert sum(b.late for b in record.bins) == count // 1000
    assert [b.first for b in record.bins] == sorted(b.first for b in record.bins)
    assert len(record.pictures()) == PICTURES
    assert len(record._kept) < 4 * PICTURES


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("live", [True, False])
def test_the_live_line(live: bool, monkeypatch: pytest.MonkeyPatch, result: Make) -> None:
    stream = Screen() if live else io.StringIO()
    stats = PipelineStats(50.0)
    console = Console(stats, 4, stream)
    moment = time.monotonic()
    for k in range(4):
        monkeypatch.setattr(time, "monotonic", lambda k=k: moment + 0.2 * (k + 1))
        stats.account.capture()
        one = result(k, State.LATE if k == 2 else State.OK, 60.0 if k == 2 else 10.0)
        stats.end(one)
        console.write(one)
    console.close()
    shown = stream.getvalue()
    assert "[####################] 4/4" in shown
    assert "5.0 fps" in shown and "late 1" in shown and "full" in shown
    assert ("\r\x1b[2K" in shown) == live
    assert shown.count("\n") == 1


def test_without_a_length_there_is_no_bar() -> None:
    assert "[" not in Console(PipelineStats(50.0), None, io.StringIO()).line()


def test_sinks_can_be_added_by_uri(
    tmp_path: Path, image_folder: Path, rille: Callable[..., int]
) -> None:
    extra = tmp_path / "extra.jsonl"
    code = rille(
        "run",
        "--source",
        f"images://{image_folder}?limit=2",
        "--out",
        tmp_path / "out",
        "--set",
        f'output.sinks=["jsonl://{extra}"]',
        "--set",
        "output.video=false",
    )
    assert code == 0
    records = list(read_lines(extra))
    assert [record["frame"] for record in records if "frame" in record] == [0, 1]
    ids = [record["event"] for record in records if "event" in record]
    assert ids[0] == "RUN_STARTED" and ids[-1] == "RUN_ENDED"


@pytest.mark.parametrize("shape", [(16, 4000), (4000, 16), (8192, 8192), (1, 1), (640, 480)])
def test_pictures_of_any_shape_can_be_encoded(shape: tuple[int, int]) -> None:
    width, height = canvas_size(*shape)
    assert 480 <= width <= 1280 and PANEL_PX < height <= 1280 + PANEL_PX
    assert width % 2 == height % 2 == 0
