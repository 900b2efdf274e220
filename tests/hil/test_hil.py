"""The bench: barcodes, scenarios, links, the judge, and a handful of real runs."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from rille import barcode
from rille.barcode import Mark
from rille.errors import ConfigError, FrameDecodeError
from rille.hil.clocks import estimate
from rille.hil.pictures import at_turn
from rille.hil.pressure import CpuPressure
from rille.hil.rig import Bench, run_scenario
from rille.hil.scenario import Fault, Scenario, read_scenarios
from rille.hil.selftest import selftest
from rille.hil.telemetry import Telemetry
from rille.hil.vocabulary import FAULTS, TYPES

Rille = Callable[..., int]
HERE = Path(__file__).parent
SCENARIOS = sorted((HERE / "scenarios").glob("*.toml"))


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six pictures of rough ground, quicker than a simulator."""
    folder = tmp_path_factory.mktemp("drive")
    noise = np.random.default_rng(3).integers(40, 220, (40, 60), np.uint8)
    ground = cv2.resize(noise, (240, 160), interpolation=cv2.INTER_CUBIC)
    for k in range(6):
        assert cv2.imwrite(
            str(folder / f"{k}.png"), ground[4 * k : 4 * k + 96, 5 * k : 5 * k + 160]
        )
    return f"images://{folder}"


@pytest.fixture
def free_port() -> int:
    """A port for frames and telemetry on which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def names() -> list[str]:
    return [scenario.name for path in SCENARIOS for scenario in read_scenarios(path)]


@pytest.mark.parametrize("shape", [(48, 128), (120, 160), (96, 640), (60, 333), (120, 160, 3)])
@pytest.mark.parametrize("quality", [None, 95, 70])
def test_a_barcode_is_read_back(shape: tuple[int, ...], quality: int | None) -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, shape, np.uint8)
    for k in range(40):
        mark = Mark(int(rng.integers(1 << 32)) if k else 0, int(rng.integers(1 << 48)) if k else 0)
        pixels = barcode.stamp(picture, mark)
        if quality is not None:
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)
        found, told = barcode.read(pixels)
        assert told == mark and found.shape == shape
        assert quality is not None or (found == picture).all()


def test_what_is_no_barcode_is_refused() -> None:
    rng = np.random.default_rng(2)
    refused = 0
    for _ in range(300):
        with pytest.raises(FrameDecodeError):
            barcode.read(rng.integers(0, 256, (80, 160), np.uint8))
        refused += 1
    for blank in (0, 128, 255):
        with pytest.raises(FrameDecodeError):
            barcode.read(np.full((80, 160), blank, np.uint8))
    for shape in ((24, 160), (200, 100), (1, 1)):
        with pytest.raises(FrameDecodeError, match="no room"):
            barcode.read(np.zeros(shape, np.uint8))
    assert refused == 300
    marked = barcode.stamp(np.zeros((40, 160), np.uint8), Mark(7, 9))
    marked[44:48, :5] ^= 0xFF
    marked[40:44, :5] ^= 0xFF
    with pytest.raises(FrameDecodeError, match="cannot be read"):
        barcode.read(marked)


def test_the_catalogue_is_sound() -> None:
    found = names()
    assert len(set(found)) == len(found) >= 60
    scenarios = [scenario for path in SCENARIOS for scenario in read_scenarios(path)]
    assert all(scenario.about for scenario in scenarios)
    used = {f.component for scenario in scenarios for f in scenario.fault}
    assert used == set(FAULTS)
    types = {f.type for scenario in scenarios for f in scenario.fault}
    assert types == set(TYPES)
    assert all(not scenario.refusal("subprocess") for scenario in scenarios)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("framse = 3", "did you mean 'frames'"),
        ("link = 'carrier pigeon'", "link must be one of shm"),
        ("name = 'A b'", "small letters"),
        ("[[fault]]\ncomponent='camra'\ntype='off'", "did you mean 'camera'"),
        ("[[fault]]\ncomponent='camera'\ntype='of'", "did you mean 'off'"),
        ("[[fault]]\ncomponent='model'\ntype='slow'", "model slow: not supported"),
        ("[[fault]]\ncomponent='camera'\ntype='wrong'\nvalue='blak'", "did you mean 'black'"),
        ("[[fault]]\ncomponent='camera'\ntype='off'\nat_s=-1", "at least 0"),
        ("[expect]\nevents=['SOURCE_STALED']", "no event 'SOURCE_STALED'"),
        ("[[case]]\nframes=3", "needs a suffix"),
        ("case = 3", "must be tables"),
    ],
)
def test_a_scenario_that_does_not_fit(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "one.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_scenarios(path)


@pytest.mark.parametrize(
    ("scenario", "target", "words"),
    [
        (Scenario(name="a", link="shm"), "host", "does not reach a board"),
        (Scenario(name="a", supervised=True), "process", "no supervisor"),
        (Scenario(name="a", set=("x=1",)), "host", "settings are those"),
        (
            Scenario(name="a", fault=(Fault(component="process", type="off", value="run"),)),
            "process",
            "process off run: cannot be injected into target process",
        ),
        (
            Scenario(name="a", link="mjpeg", fault=(Fault(component="camera", type="delayed"),)),
            "process",
            "camera delayed: not over link mjpeg",
        ),
    ],
)
def test_what_cannot_be_injected_is_refused_by_name(
    tmp_path: Path, scenario: Scenario, target: str, words: str
) -> None:
    assert words in scenario.refusal(target)
    with pytest.raises(ConfigError, match=re.escape(words)):
        run_scenario(scenario, Bench(target=target, folder=tmp_path))


def test_pictures_go_there_and_back() -> None:
    assert [at_turn(4, turn) for turn in range(8)] == [0, 1, 2, 3, 2, 1, 0, 1]


def test_the_offset_of_two_clocks() -> None:
    """The device is 5 s ahead; there and back take different times; one frame is quick."""
    ways = [(9, 30), (2, 1), (40, 3), (300, 2)]
    stamps = []
    for k, (there, back) in enumerate(ways):
        t1 = k * 1_000_000
        t2, t3 = t1 + there + 5_000_000_000, t1 + there + 700 + 5_000_000_000
        stamps.append((t1, t2, t3, t3 - 5_000_000_000 + back))
    found = estimate(stamps)
    assert found is not None and found.frames == 4
    assert abs(found.ns - 5_000_000_000) <= found.uncertainty_ns == 1.5
    assert estimate([(10, 0, 100, 20)]) is None  # longer on the device than away


def written(folder: Path) -> dict[str, Any]:
    """Return a run's verdict, after a look at the other two files."""
    case = ElementTree.parse(folder / "junit.xml").getroot()
    page = (folder / "verdict.html").read_text()
    assert case.get("tests") == "1" and "http://" not in page and "src=" not in page
    chart = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    assert len(chart.findall("circle")) > 10  # a frame each
    verdict: dict[str, Any] = json.loads((folder / "verdict.json").read_text())
    return verdict


TEN_LINES = """frames = 50
source = "{}"
link = "udpraw"
expect.quality.dark = 2
[[fault]]
at_s = 0.8
for_s = 0.5
component = "camera"
type = "wrong"
value = "black"
"""


def test_one_file_runs_unchanged_in_process_over_loopback_and_against_a_board(
    tmp_path: Path, drive: str, rille: Rille, free_port: int
) -> None:
    """The board is a run of its own on this machine, which the bench did not start."""
    path = tmp_path / "dark.toml"
    path.write_text(TEN_LINES.format(drive))
    assert len(path.read_text().splitlines()) == 10
    for target in ("process", "subprocess"):
        assert rille("hil", "run", path, "--target", target, "--out", tmp_path) == 0
        assert written(tmp_path / f"dark-{target}")["passed"]
    words = [
        *("--source", f"udpraw://127.0.0.1:{free_port}?size=160x120&barcode=1"),
        *(
            "--set",
            f'output.sinks=["udp://127.0.0.1:{free_port + 1}"]',
            "--set",
            "output.video=false",
        ),
        *("--set", "output.report=false", "--set", 'segment.bundle=""', "--budget-ms", "200"),
    ]
    board = subprocess.Popen(
        [sys.executable, "-m", "rille", "run", *words, "--out", str(tmp_path / "board")],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        code = rille(
            *("hil", "run", path, "--target", f"127.0.0.1:{free_port}", "--out", tmp_path),
            *("--telemetry", f"127.0.0.1:{free_port + 1}"),
        )
    finally:
        board.terminate()
        assert board.wait(30) == 0
    verdict = written(tmp_path / "dark-host")
    assert code == 0, verdict
    assert verdict["figures"]["bad_sent"] >= 5 and verdict["figures"]["bad_published"] == 0
    assert "offset_uncertainty_ms" in verdict["figures"]


def test_the_bench_reads_what_it_shows_over_every_link(drive: str) -> None:
    for row in selftest(12, drive):
        assert row.passed, row
        assert row.skipped or row.arrived >= 8
        assert not row.skipped or row.link == "rtsp"


def test_telemetry_that_is_none_is_counted_and_left_out() -> None:
    with Telemetry() as telemetry, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        hostile = (b"", b"\xff" * 99, b"[" * 4000, b"{}", b'{"seq":"x","frame":1}', b"x" * 5000)
        for data in (*hostile, b'{"seq":0,"frame":7,"name":"bench 5","state":"ok"}'):
            out.sendto(data, ("127.0.0.1", telemetry.port))
        end = time.monotonic() + 20
        while not telemetry.records and time.monotonic() < end:
            time.sleep(0.01)
        (record,) = telemetry.records
    assert record.number == 5 and record.published and telemetry.garbage == len(hostile)


def test_pressure_is_the_kernels(tmp_path: Path) -> None:
    file = tmp_path / "cpu"
    file.write_text("some avg10=1.0 avg60=1.0 avg300=1.0 total=1000000\n")
    measured = CpuPressure(file)
    file.write_text("some avg10=1.0 avg60=1.0 avg300=1.0 total=900000000000\n")
    assert measured.share() == 1.0
    file.unlink()
    assert measured.share() is None and CpuPressure(file).share() is None


def test_a_bundle_that_is_damaged_ends_the_device_as_declared(tmp_path: Path, drive: str) -> None:
    scenario = next(
        s for s in read_scenarios(HERE / "scenarios" / "model-start.toml") if s.name.endswith("bit")
    )
    scenario = replace(scenario, source=drive)
    verdict = run_scenario(scenario, Bench(target="process", folder=tmp_path))
    assert verdict.passed, str(verdict)


def test_what_the_product_does_not_survive_fails(tmp_path: Path, drive: str) -> None:
    """A scenario that asks for what cannot be is not passed."""
    scenario = Scenario(name="never", source=drive, frames=20, fps=40)
    asked = replace(scenario, expect=replace(scenario.expect, events=("NETWORK_REBUILT",)))
    verdict = run_scenario(asked, Bench(target="process", folder=tmp_path))
    assert [check.name for check in verdict.failures] == ["event NETWORK_REBUILT"]
    assert verdict.took_s < 60
