"""Golden images in flight: a network that was spoilt is noticed and built anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bundle import Bundle, load_bundle
from rille.errors import CheckFailedError, ConfigError, DigestError, ManifestError
from rille.network import Network
from rille.pipeline import Pipeline
from rille.sources import open_source
from rille.watch import GoldenWatch


class SpoiltEngine:
    """Stands in for an engine in whose weights a bit has flipped: every answer is off."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.name, self.threads = real.name, real.threads
        self.closed = False

    def infer(self, tensor: Any) -> dict[str, Any]:
        return {role: values + 20 for role, values in self._real.infer(tensor).items()}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def network(mars_bundle: Bundle) -> Network:
    return Network.load(mars_bundle)


def test_every_shipped_network_has_golden_images_on_which_it_is_unsure() -> None:
    for name in ("mars-msl24", "moon-scene", "moon-rocks", "moon-craters"):
        loaded = Network.load(load_bundle(name))
        assert loaded.golden_count >= 2
        assert loaded.self_test() <= loaded.contract.golden_tolerance  # type: ignore[attr-defined]


def test_a_spoilt_network_is_built_anew_in_flight(network: Network, image_folder: Path) -> None:
    with (
        Pipeline(classify=network, check_every=2) as pipeline,
        open_source(f"images://{image_folder}") as source,
    ):
        spoilt = SpoiltEngine(network.backend)
        seen = []
        for result in pipeline.stream(source):
            seen.append(result)
            if len(seen) == 3:
                network.backend = spoilt
        assert network.self_test() == 0
        totals = pipeline.stats.totals
    assert totals.captured == totals.ok + totals.late == 6
    (rebuild,) = pipeline.watch.rebuilds
    assert rebuild.stage == "classify" and spoilt.closed
    assert (rebuild.after, rebuild.suspect) == (4, 2)  # good after 2, bad after 4
    assert "self-test failed" in rebuild.reason
    assert pipeline.watch.checks == 3


def test_a_network_that_stays_wrong_ends_the_stream(
    network: Network, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Pipeline(classify=network, check_every=2) as pipeline,
        open_source(f"images://{image_folder}") as source,
    ):
        network.backend = SpoiltEngine(network.backend)
        monkeypatch.setattr(
            "rille.network.open_backend", lambda *args, **how: SpoiltEngine(network.backend)
        )
        with pytest.raises(CheckFailedError, match="self-test failed"):
            list(pipeline.stream(source))
        totals = pipeline.stats.totals
        assert totals.captured == totals.ok + totals.late == 2


def test_bytes_that_changed_in_memory_are_not_built_from(mars_bundle: Bundle) -> None:
    files = dict(mars_bundle.files)
    network = Network.load(replace(mars_bundle, files=files))
    files["model.int8.tflite"] = files["model.int8.tflite"][:-1] + b"\x01"
    with pytest.raises(DigestError, match="changed in memory"):
        network.reload()


def test_stages_and_images_take_turns(
    network: Network, craters_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = {"classify": network, "segment": Network.load(craters_bundle)}
    seen: list[tuple[str, int]] = []

    def note(stage: str) -> Callable[[int], float]:
        return lambda which: seen.append((stage, which)) or 0.0  # type: ignore[func-returns-value]

    for stage, one in networks.items():
        monkeypatch.setattr(one, "check", note(stage))
    watch = GoldenWatch(networks, 3)
    for _ in range(30):
        watch.frame()
        watch.look(busy=False)
    turns = [("classify", 0), ("segment", 0), ("classify", 1), ("segment", 1)]
    assert seen == [*turns, *(("classify", k) for k in range(2, 6)), *turns[:2]]


def test_a_check_waits_while_frames_wait_but_not_for_ever(network: Network) -> None:
    watch = GoldenWatch({"classify": network}, 10)
    for _ in range(19):
        watch.frame()
        watch.look(busy=True)
    assert watch.checks == 0
    watch.frame()
    watch.look(busy=True)
    assert watch.checks == 1
    off = GoldenWatch({"classify": network}, 0)
    for _ in range(50):
        off.frame()
        off.look(busy=False)
    assert off.checks == 0


def test_golden_outputs_of_another_length(spoil: Any) -> None:
    def cut(files: dict[str, bytes]) -> None:
        files["golden.tflite-int8.logits.bin"] = files["golden.tflite-int8.logits.bin"][:-1]

    bundle = load_bundle(spoil(files=cut, refresh=True))
    with pytest.raises(ManifestError, match=r"143 bytes, 6 golden image\(s\) need 144"):
        Network.load(bundle)


def test_the_setting(rille: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert rille("run", "--set", "engine.check_every=-1") == ConfigError.exit_code
    assert "check_every must be at least 0" in capsys.readouterr().err


def test_margins_tell_sure_from_unsure(network: Network) -> None:
    pytest.importorskip("tensorflow", reason="the export extra is not installed")
    from rille_export.golden import margin

    spec = network.variant.outputs["logits"].tensor
    flat = np.zeros((1, 24), np.float32)
    sure = flat.copy()
    sure[0, 3] = 5.0
    near = margin(network, {"logits": spec.quantize(flat)})
    far = margin(network, {"logits": spec.quantize(sure)})
    assert near == 0 and abs(far - 5) < 0.2
