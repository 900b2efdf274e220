"""A short look at the benchmarks: shapes and invariants, never how long anything takes."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.fit import fitted, plot
from benchmarks.frames import PreRendered
from benchmarks.masks import decoder_of, outputs_with
from benchmarks.page import table
from benchmarks.peers.agreement import compare, reference_of, steady_answers
from benchmarks.peers.camera import BUFFERS, Streamed, read_as_a_driver_does
from benchmarks.peers.doors import with_uint8_doors
from benchmarks.peers.known import ENTRIES, PEERS, Entry
from benchmarks.peers.litert_tool import read_figures
from benchmarks.peers.ours import Rille
from benchmarks.peers.peer import Peer, PeerRefusedError, Workload
from benchmarks.peers.plain import CarelessLoop, PlainLoop
from benchmarks.peers.remote import Remote
from benchmarks.peers.section import told_of
from benchmarks.peers.side_by_side import Settings, compare_all
from rille.bundle import load_bundle
from rille.images import decode_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
BOTH = Workload(classify="mars-msl24", segment="moon-rocks")


@pytest.fixture(scope="module")
def pool() -> NDArray[np.uint8]:
    """(4, 480, 640, 3) RGB: golden images of moon-scene, stretched."""
    bundle = load_bundle("moon-scene")
    files = [bundle.files[name] for name in bundle.manifest.golden_images[:4]]
    pictures = [cv2.resize(decode_image(one, "golden image"), (640, 480)) for one in files]
    return np.stack(
        [p if p.ndim == 3 else np.asarray(cv2.cvtColor(p, cv2.COLOR_GRAY2RGB)) for p in pictures]
    ).astype(np.uint8)


def test_every_suite_runs_and_has_a_sentence() -> None:
    # The exact engine and the renderer have tests of their own, and take long.
    chosen = "not exact and not simulator"
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-disable", "-k", chosen]
    command += ["-p", "no:cacheprovider", "benchmarks/suites"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "failed" not in done.stdout


@pytest.mark.parametrize("kind", [Rille, PlainLoop])
def test_a_program_gives_the_bundle_s_answers_in_any_order(
    kind: type[Peer], pool: NDArray[np.uint8]
) -> None:
    with kind(BOTH, 1) as peer:
        found = [peer.answer(pixels) for pixels in pool]
        again = [(k, peer.answer(pool[k]).digest) for k in (3, 3, 0, 2, 1, 0)]
    digests = [one.digest for one in found]
    steady = steady_answers(digests, again)
    said = [one.label for one in found], [one.mask for one in found]
    agreement = compare(reference_of(BOTH, pool), *said, steady)
    assert agreement.labels == 1.0 and agreement.steady and agreement.same
    assert agreement.mask is not None and agreement.mask > 0.99
    assert len(set(digests)) == len(pool)  # different frames, different answers


def test_another_answer_is_marked(pool: NDArray[np.uint8]) -> None:
    reference = reference_of(BOTH, pool)
    wrong = compare(reference, reference.labels + 1, reference.masks, True)
    assert not wrong.same and "differs" in str(wrong) and wrong.labels == 0.0
    torn = compare(reference, reference.labels, reference.masks[:, :10], False)
    assert not torn.same and torn.mask == 0.0 and "not steady" in str(torn)
    assert not steady_answers([1, 2], [(0, 1), (1, 3)])


def test_a_careless_resize_is_another_input(pool: NDArray[np.uint8]) -> None:
    sharp = np.random.default_rng(5).integers(0, 256, (480, 640, 3), np.uint8)
    workload = Workload(segment="moon-rocks")
    with PlainLoop(workload, 1) as careful, CarelessLoop(workload, 1) as careless:
        one, other = careful.answer(sharp), careless.answer(sharp)
    assert one.mask is not None and other.mask is not None
    # 640 x 480 is less than twice 416 squared: nothing is skipped, and nothing differs.
    assert np.array_equal(one.mask, other.mask)
    workload = Workload(classify="mars-msl24")
    with PlainLoop(workload, 1) as careful, CarelessLoop(workload, 1) as careless:
        said = [(careful.answer(p).label, careless.answer(p).label) for p in (sharp, *pool)]
    assert all(0 <= a < 24 and 0 <= b < 24 for a, b in said)


def test_a_driver_loses_frames_without_a_word(pool: NDArray[np.uint8]) -> None:
    def slow(pixels: NDArray[np.uint8]) -> None:
        time.sleep(0.05)

    found = read_as_a_driver_does(PreRendered(pool, 40, 200.0), slow)
    assert found.offered == 40 and found.told == 0
    assert BUFFERS <= len(found.ages_ms) < 40 and found.lost == 40 - len(found.ages_ms)


def test_rille_tells_of_every_frame_it_drops(pool: NDArray[np.uint8]) -> None:
    with Rille(BOTH, 1) as peer:
        found = peer.stream(PreRendered(pool, 60, 400.0))
    assert found.offered == 60 and found.lost > 0 and found.told == found.lost


def test_programs_side_by_side(tmp_path: Path, pool: NDArray[np.uint8]) -> None:
    entries = (ENTRIES[0], ENTRIES[1], Entry(shown="OpenCV dnn, 2 threads", peer="opencv-dnn"))
    settings = Settings(
        frames=10, fps=20.0, seconds=0.5, other_python=tmp_path, folder=tmp_path, entries=entries
    )
    found = compare_all(Workload(classify="mars-msl24"), pool, settings)
    assert [run.entry.peer for run in found.runs] == ["rille", "plain"]
    assert "holds no fp32 tflite network" in found.missing["OpenCV dnn, 2 threads"]
    for run in found.runs:
        assert 2 <= len(run.spent_ms) <= 10 and min(run.spent_ms) > 0
        assert run.agreement is not None and run.agreement.steady
        assert isinstance(run.fixed, Streamed) and isinstance(run.overload, Streamed)
        assert run.fixed.offered == 10
        assert run.entry.peer != "rille" or run.overload.told == run.overload.lost
    assert set(found.tool) == {"classify, 1 thread", "classify, 2 threads"}
    text = told_of("Classification", found, settings)
    assert "labels 100%" in text and "Drops that rille did not report: 0" in text
    assert "**not run**: mars-msl24 holds no fp32" in text and "target at most 1.05" in text


def test_a_program_that_dies_is_refused(tmp_path: Path, pool: NDArray[np.uint8]) -> None:
    frames = tmp_path / "frames.npy"
    np.save(frames, pool)
    with Remote(ENTRIES[1], frames, Path(sys.executable), tmp_path / "log") as remote:
        with pytest.raises(PeerRefusedError, match="nothing was loaded"):
            remote.ask("block", first=0, count=1, most_s=1.0)
        with pytest.raises(PeerRefusedError, match="no such bundle"):
            remote.ask("open", classify="nowhere", segment="")
    with (
        Remote(ENTRIES[1], tmp_path / "none.npy", Path(sys.executable), tmp_path / "log") as gone,
        pytest.raises(PeerRefusedError, match="FileNotFoundError"),
    ):
        gone.ask("open", classify="mars-msl24", segment="")


def test_every_peer_is_known() -> None:
    assert {entry.peer for entry in ENTRIES} == set(PEERS.known)
    assert all(issubclass(entry.resolve(), Peer) for entry in ENTRIES)
    assert ENTRIES[0].peer == "rille"


def test_the_tool_s_report_is_read_or_refused() -> None:
    figures = read_figures('{"latency": {"median_ms": 2, "p95_ms": 3.5, "num_runs": 20}}')
    assert (figures.median_ms, figures.p95_ms, figures.runs) == (2.0, 3.5, 20)
    for text in ("", "[]", '{"latency": {}}', '{"latency": {"median_ms": "x"}}'):
        with pytest.raises(PeerRefusedError, match="cannot be read"):
            read_figures(text)


def test_uint8_doors_change_nothing_else() -> None:
    from ai_edge_litert.interpreter import Interpreter

    bundle = load_bundle("mars-msl24")
    model = bundle.files[bundle.variant()[1].file]
    pixels = np.random.default_rng(1).integers(0, 256, (1, 224, 224, 3), np.uint8)

    def run(content: bytes, tensor: NDArray[Any]) -> NDArray[Any]:
        network = Interpreter(model_content=content, num_threads=1)
        network.allocate_tensors()
        network.set_tensor(network.get_input_details()[0]["index"], tensor)
        network.invoke()
        return np.asarray(network.get_tensor(network.get_output_details()[0]["index"]))

    inside = run(model, (pixels.astype(np.int16) - 128).astype(np.int8))
    outside = run(with_uint8_doors(model), pixels)
    assert outside.dtype == np.uint8
    assert np.array_equal(outside.astype(int) - 128, inside.astype(int))


@pytest.mark.parametrize("count", [1, 7, 50, 200])
def test_a_made_mask_holds_what_it_says(count: int) -> None:
    found = decoder_of(256)(*outputs_with(count, 256))
    assert len(found.features) == count
    with pytest.raises(ValueError, match="do not fit"):
        outputs_with(4000, 256)


def test_a_line_is_found_and_drawn() -> None:
    points = [(x, 2.0 + 0.5 * x) for x in (1.0, 2.0, 5.0, 9.0)]
    line = fitted(points)
    assert line.start == pytest.approx(2.0) and line.slope == pytest.approx(0.5)
    assert line.explained == pytest.approx(1.0) and line(4.0) == pytest.approx(4.0)
    drawn = ET.fromstring(plot(("features", "ms"), {"measured": points}, line, "model"))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(drawn.findall(".//{*}circle")) == 4
    with pytest.raises(ValueError, match="two different places"):
        fitted([(1.0, 2.0), (1.0, 3.0)])


def test_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # set anew by the command, and restored
    out, work = tmp_path / "page", tmp_path / "work"
    options = ["--only", "targets", "--rounds", "2", "--out", str(out), "--work", str(work)]
    out.mkdir()
    assert command.main(options) in (0, 1)  # 1 on a machine that is busy
    page = (out / "RESULTS.md").read_text()
    assert page.startswith("# Results") and "## Targets" in page and "cores" in page
    assert "preprocess_over_resize" in (work / "results.json").read_text()
    assert table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n"
