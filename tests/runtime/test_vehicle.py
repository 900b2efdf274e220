"""What the vehicle knows about a frame: from the simulator, a sidecar, or a feed of datagrams."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from rille.bundle import Bundle
from rille.errors import ConfigError, SourceError
from rille.pipeline import Pipeline
from rille.sim.lens import View
from rille.sources import open_source
from rille.sources.feed import LARGEST, VehicleFeed, understand
from rille.sources.sidecar import Sidecar
from rille.vehicle import Vehicle

Send = Callable[[bytes], None]


@pytest.fixture
def send(free_port: int) -> Iterator[Send]:
    """Sends a datagram to `free_port` of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        yield lambda content: (sender.sendto(content, ("127.0.0.1", free_port)), None)[1]


def test_a_record_is_what_is_known_and_no_more() -> None:
    assert Vehicle().to_json() == {}
    known = Vehicle(sun_azimuth_deg=181.23456, gain_db=0.0, pose={"x_m": 1.0})
    assert known.to_json() == {"sun_azimuth_deg": 181.2346, "gain_db": 0.0, "pose": {"x_m": 1.0}}


@pytest.mark.parametrize(
    "fields",
    [
        {"sun_azimuth_deg": 361.0},
        {"sun_azimuth_deg": math.nan},
        {"sun_elevation_deg": 91.0},
        {"exposure_ms": -1.0},
        {"gain_db": math.inf},
        {"pose": {"x": math.nan}},
        {"pose": {"x" * 33: 0.0}},
        {"pose": {str(k): 0.0 for k in range(33)}},
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be from|pose"):
        Vehicle(**fields)  # type: ignore[arg-type]


def test_the_simulator_knows_its_sun_and_hides_it_when_asked() -> None:
    uri = "sim://moon?size=64x48&frames=2&fps=50&sun_azimuth_deg=140"
    with open_source(uri) as source:
        for frame in source:
            assert frame.vehicle is not None and frame.vehicle.sun_azimuth_deg is not None
            assert frame.vehicle.sun_elevation_deg == 28.0
            assert frame.vehicle.pose["altitude_m"] > 0
    with open_source(f"{uri}&vehicle=0&realtime=0") as source:
        assert all(frame.vehicle is None for frame in source)


def test_the_azimuth_of_a_descent_is_that_of_its_shadows() -> None:
    """Towards the Sun the picture gets darker where the ground turns away from it."""
    for sun in (0, 90):
        with open_source(
            f"sim://moon?size=160x120&frames=1&realtime=0&sensor=clean&sun_azimuth_deg={sun}"
        ) as source:
            (frame,) = source
        assert frame.vehicle is not None and frame.vehicle.sun_azimuth_deg is not None
        assert frame.truth is not None
        heading = frame.truth.pose["heading_deg"]
        off = (frame.vehicle.sun_azimuth_deg - sun + heading + 180) % 360 - 180
        assert abs(off) < 1e-6
        # Inside a crater, the wall away from the Sun is the bright one.
        grey = frame.pixels if frame.pixels.ndim == 2 else frame.pixels[:, :, 1]
        pull = np.zeros(2)
        y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
        for crater in frame.truth.craters:
            inside = np.hypot(x - crater.x, y - crater.y) < crater.semi_minor
            if crater.semi_minor > 5 and inside.sum() > 50:
                light = grey[inside].astype(float) - grey[inside].mean()
                pull += [
                    (light * (x[inside] - crater.x)).sum(),
                    (light * (y[inside] - crater.y)).sum(),
                ]
        away = math.degrees(math.atan2(-pull[1], -pull[0]))
        assert abs((away - frame.vehicle.sun_azimuth_deg + 180) % 360 - 180) < 30


def test_ahead_is_up_for_a_camera_that_looks_ahead() -> None:
    (frame,) = open_source(
        "sim://moon?view=rover&size=64x48&frames=1&realtime=0&sun_azimuth_deg=40"
    )
    assert frame.vehicle is not None and frame.vehicle.sun_azimuth_deg is not None
    assert frame.vehicle.exposure_ms == 4.0
    pose = frame.vehicle.pose
    right, _, ahead = View(**{**pose, "pitch_deg": 0.0, "roll_deg": 0.0}).axes()
    sun = np.array([math.cos(math.radians(40)), math.sin(math.radians(40)), 0.0])
    expected = math.degrees(math.atan2(-(ahead @ sun), right @ sun))
    assert abs((frame.vehicle.sun_azimuth_deg - expected + 180) % 360 - 180) < 1e-6


CSV = """name, sun_azimuth_deg, exposure_ms, pose.x_m
000.png, 10.5, 4,
002.png, , 8, -3.5
"""


def test_a_sidecar_in_csv(image_folder: Path) -> None:
    (image_folder / "meta.csv").write_text(CSV)
    with open_source(f"images://{image_folder}?sidecar=meta.csv") as source:
        assert "2 lines of a sidecar" in source.describe()
        known = [frame.vehicle for frame in source]
    assert known[0] == Vehicle(sun_azimuth_deg=10.5, exposure_ms=4.0)
    assert known[1] is None
    assert known[2] == Vehicle(exposure_ms=8.0, pose={"x_m": -3.5})
    with open_source(f"images://{image_folder}?sidecar=meta.csv&vehicle=0") as source:
        assert all(frame.vehicle is None for frame in source)


def test_a_sidecar_in_json_lines_is_read_unasked_and_stands_in_the_results(
    image_folder: Path, mars_bundle: Bundle
) -> None:
    lines = [{"index": 1, "sun_azimuth_deg": 90, "pose": {"yaw_deg": 3}}]
    lines += [{"name": "000.png", "sun_elevation_deg": 20}]
    (image_folder / "vehicle.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    with (
        open_source(f"images://{image_folder}?limit=9&loop=1") as source,
        Pipeline(classify=mars_bundle) as pipeline,
    ):
        records = [result.to_json() for result in pipeline.stream(source)]
    assert records[0]["vehicle"] == {"sun_elevation_deg": 20}
    assert records[1]["vehicle"] == {"sun_azimuth_deg": 90, "pose": {"yaw_deg": 3}}
    assert "vehicle" not in records[2]
    assert records[7]["vehicle"] == records[1]["vehicle"]


def test_a_sidecar_of_a_video(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for k in range(3):
        writer.write(np.full((48, 64, 3), 40 * k, np.uint8))
    writer.release()
    (tmp_path / "meta.csv").write_text("index,gain_db\n1,6\n")
    with open_source(f"file://{tmp_path}/a.avi?sidecar=meta.csv") as source:
        assert [frame.vehicle for frame in source] == [None, Vehicle(gain_db=6.0), None]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", "name,sun_azimut_deg\n", "line 1: no column 'sun_azimut_deg'; did you mean 'sun"),
        ("m.csv", "sun_azimuth_deg\n3\n", "line 1: needs a column 'name' or 'index'"),
        ("m.csv", "", "needs a column"),
        ("m.csv", "index,gain_db\n0,1\n1,999\n", "line 3: gain_db must be from -60 to 120"),
        ("m.csv", "index,gain_db\n0,nan\n", "line 2 gain_db must be a finite number"),
        ("m.csv", "index,gain_db\n0,loud\n", "line 2: gain_db must be a number, not 'loud'"),
        ("m.csv", "index,gain_db\n0\n", "line 2: 1 cells under 2 columns"),
        ("m.csv", "index,gain_db\n0,1\n\n0,2\n", "line 4: index 0 is no .* or came before"),
        ("m.csv", "index,gain_db,gain_db\n", "two columns of one name"),
        ("m.csv", "index,gain_db\n-1,1\n", "line 2: index -1 is no whole number"),
        ("m.csv", "name,index\n,\n", "line 2: needs a name or an index"),
        ("m.csv", "name,index\n" + "x" * 9000, "line 2: at most"),
        ("m.csv", "name\n\x00\xff", "cannot be read|needs a name"),
        ("m.jsonl", '{"index": 0}\n{"index": 0, "name": "a"}', "line 2: needs a name or an index"),
        ("m.jsonl", '{"index": true}', "index True is no whole number"),
        ("m.jsonl", '{"name": "a", "sun_elevation": 3}', "did you mean 'sun_elevation_deg'"),
        ("m.jsonl", '{"name": "a", "sun_elevation_deg": "low"}', "must be a number, not 'low'"),
        ("m.jsonl", '{"name": "a", "pose": {"x_m": null}}', "pose.x_m must be a number"),
        ("m.jsonl", "[1]", "line 1: must be a table"),
        ("m.jsonl", "{", "line 1: not valid JSON"),
        ("m.jsonl", "[" * 8000, "line 1: not valid JSON"),
    ],
)
def test_a_sidecar_that_does_not_fit_says_where(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(SourceError, match=words):
        Sidecar(tmp_path / name)


def test_a_sidecar_that_is_not_there(image_folder: Path) -> None:
    with pytest.raises(SourceError, match="no such sidecar file"):
        open_source(f"images://{image_folder}?sidecar=meta.csv")
    with pytest.raises(ConfigError, match="sidecar needs a file"):
        open_source(f"images://{image_folder}?sidecar=")


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_feed_gives_the_newest_unless_it_is_old(free_port: int, send: Send) -> None:
    feed = VehicleFeed(("127.0.0.1", free_port), max_age_s=0.5)
    assert feed.newest(time.monotonic_ns()) is None
    for k in range(5):
        send(json.dumps({"sun_azimuth_deg": k}).encode())
        wait_until(lambda k=k: feed.heard == k + 1)  # type: ignore[misc]
    now = time.monotonic_ns()
    assert feed.newest(now) == Vehicle(sun_azimuth_deg=4.0)
    assert feed.newest(now + 600_000_000) is None
    feed.close()
    feed.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 4000,
        b'{"sun_azimuth_deg": NaN}',
        b'{"sun_azimuth_deg": 1e999}',
        b'{"sun_azimuth_deg": "90"}',
        b'{"sun_azimuth": 90}',
        b'{"sun_elevation_deg": 90.5}',
        b'{"sun_azimuth_deg": 90}' + b" " * LARGEST,
    ],
)
def test_hostile_datagrams_are_not_understood(content: bytes) -> None:
    assert understand(content) is None
    assert understand(b'{"sun_azimuth_deg": 90}') == Vehicle(sun_azimuth_deg=90.0)


def test_strangers_and_junk_are_ignored_and_counted(free_port: int, send: Send) -> None:
    feed = VehicleFeed(("127.0.0.1", free_port), peer="127.0.0.9")
    send(b'{"sun_azimuth_deg": 90}')
    wait_until(lambda: feed.ignored == 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.9", 0))
        sender.sendto(b"junk", ("127.0.0.1", free_port))
        sender.sendto(b'{"sun_azimuth_deg": 91}', ("127.0.0.1", free_port))
        wait_until(lambda: (feed.ignored, feed.heard) == (2, 1))
    assert feed.newest(time.monotonic_ns()) == Vehicle(sun_azimuth_deg=91.0)
    feed.close()


def test_a_source_with_a_feed(image_folder: Path, free_port: int, send: Send) -> None:
    uri = f"images://{image_folder}?vehicle=udp://127.0.0.1:{free_port}&max_age_s=60"
    with open_source(uri) as source:
        first = source.read(1.0)
        assert first is not None and first.vehicle is None
        send(b'{"sun_azimuth_deg": 33}')
        assert source.feed is not None
        wait_until(lambda: source.feed is not None and source.feed.heard == 1)
        second = source.read(1.0)
        assert second is not None and second.vehicle == Vehicle(sun_azimuth_deg=33.0)
    with open_source(uri):  # the port is free again
        pass


def test_a_run_counts_what_its_feed_heard(
    rille: Callable[..., int], image_folder: Path, free_port: int, send: Send, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as vehicle:
        stop = threading.Event()

        def talk() -> None:
            while not stop.wait(0.01):
                vehicle.sendto(b'{"sun_azimuth_deg": 33}', ("127.0.0.1", free_port))
                vehicle.sendto(b"junk", ("127.0.0.1", free_port))

        thread = threading.Thread(target=talk)
        thread.start()
        uri = f"images://{image_folder}?fps=10&vehicle=udp://127.0.0.1:{free_port}"
        assert rille("run", "--source", uri, "--out", tmp_path / "out") == 0
        stop.set()
        thread.join()
    counts = json.loads((tmp_path / "out" / "summary.json").read_text())["vehicle_feed"]
    assert counts["heard"] > 2 and counts["ignored"] > 2
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    records = [record for line in lines if "frame" in (record := json.loads(line))]
    assert records[-1]["vehicle"] == {"sun_azimuth_deg": 33.0}


def test_a_flood_is_not_read_faster_than_it_may_cost(free_port: int, send: Send) -> None:
    feed = VehicleFeed(("127.0.0.1", free_port))
    sent, end = 0, time.monotonic() + 0.5
    while time.monotonic() < end:
        send(b"junk")
        sent += 1
    assert 0 < feed.ignored < 1500 < sent
    feed.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("vehicle=tcp://a:1", "vehicle must be 0, 1 or like udp://127.0.0.1:5005"),
        ("vehicle=udp://127.0.0.1", "needs a port"),
        ("max_age_s=3", "max_age_s needs vehicle=udp"),
        ("vehicle=udp://127.0.0.1:5005&max_age_s=0", "max_age_s must be a number"),
        ("vehicel=0", "no option 'vehicel'; did you mean 'vehicle'"),
    ],
)
def test_options_that_do_not_fit(image_folder: Path, options: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_source(f"images://{image_folder}?{options}")


def test_a_feed_where_another_listens(image_folder: Path, free_port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free_port))
        with pytest.raises(SourceError, match="cannot listen there"):
            open_source(f"images://{image_folder}?vehicle=udp://127.0.0.1:{free_port}")
