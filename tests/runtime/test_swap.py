"""Changing a bundle in flight: made ready aside, refused where it does not do."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import network as scripted_network

from rille.bundle import Bundle, install, load_bundle
from rille.cli.reload import reload_on_hangup
from rille.config import RunConfig
from rille.errors import ConfigError, InferenceError
from rille.events import Event, EventLog
from rille.network import Network
from rille.pipeline import Pipeline
from rille.swap import BundleSwapper, Renewal


class Flight:
    """A stage that flies from a site, and what becomes of it."""

    def __init__(self, site: Path, load: Callable[[Bundle], Network] = Network.load) -> None:
        self.site = site
        self.swapped: list[Network] = []
        self.events = EventLog()
        self._told = threading.Condition()
        self.events.listen(self._hear)
        first = load_bundle(site)
        renewal = Renewal(
            digest=first.digest,
            task=first.manifest.task,
            find=lambda: load_bundle(site),
            load=load,
        )
        self.swapper = BundleSwapper({"classify": renewal}, self._take, self.events)

    def _take(self, stage: str, network: Network) -> None:
        assert stage == "classify"
        self.swapped.append(network)

    def _hear(self, event: Event) -> None:
        with self._told:
            self._told.notify_all()

    def ask(self) -> Event:
        """Ask for a swap and wait for the answer."""
        with self._told:
            before = len(self.events.recent)
            self.swapper.request()
            assert self._told.wait_for(lambda: len(self.events.recent) > before, 60)
        return self.events.recent[-1]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    install(load_bundle("mars-msl24"), tmp_path / "site", lambda slot: None)
    return tmp_path / "site"


@pytest.fixture
def flight(site: Path) -> Iterator[Flight]:
    flight = Flight(site)
    with flight.swapper:
        yield flight
    for network in flight.swapped:
        network.close()


def newer(spoil: Any) -> Bundle:
    """Return the mars bundle under another version."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["version"] = "9.9.9"

    return load_bundle(spoil(change))


def test_a_new_bundle_flies_after_its_golden_answers(flight: Flight, spoil: Any) -> None:
    install(newer(spoil), flight.site, lambda slot: None)
    event = flight.ask()
    assert event.id == "BUNDLE_SWAPPED" and "9.9.9" in event.text
    (network,) = flight.swapped
    assert network.bundle is not None and network.bundle.digest == event.values["digest"]
    assert network.self_test() >= 0
    assert flight.ask().id == "BUNDLE_UNCHANGED" and len(flight.swapped) == 1


def test_nothing_new(flight: Flight) -> None:
    event = flight.ask()
    assert event.id == "BUNDLE_UNCHANGED" and "flies already" in event.text
    assert not flight.swapped


def test_a_damaged_bundle_is_refused_and_its_repair_flies(flight: Flight, spoil: Any) -> None:
    install(newer(spoil), flight.site, lambda slot: None)
    model = flight.site / "b" / "model.int8.tflite"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused = flight.ask()
    assert refused.id == "BUNDLE_REFUSED" and "goes on flying" in refused.text
    assert not flight.swapped
    model.write_bytes(whole)
    assert flight.ask().id == "BUNDLE_SWAPPED"


def test_wrong_golden_answers_are_refused(flight: Flight, spoil: Any) -> None:
    def change(files: dict[str, bytes]) -> None:
        name = next(name for name in files if name.startswith("golden.tflite"))
        files[name] = bytes(byte ^ 0x40 for byte in files[name])

    install(load_bundle(spoil(files=change, refresh=True)), flight.site, lambda slot: None)
    event = flight.ask()
    assert event.id == "BUNDLE_REFUSED" and not flight.swapped


def test_another_task_is_refused(flight: Flight) -> None:
    renewal = flight.swapper._stages["classify"]
    events = EventLog()
    other = replace(renewal, find=lambda: load_bundle("moon-craters"))
    swapper = BundleSwapper({"classify": other}, flight._take, events)
    swapper._renew("classify")
    (event,) = events.recent
    assert event.id == "BUNDLE_REFUSED" and "does segmentation" in event.text


def test_a_site_that_is_gone(flight: Flight) -> None:
    (flight.site / "slots.json").unlink()
    assert flight.ask().id == "BUNDLE_REFUSED"


def test_too_little_memory_keeps_the_old_one(site: Path, spoil: Any) -> None:
    def load(bundle: Bundle) -> Network:
        raise MemoryError

    flight = Flight(site, load)
    install(newer(spoil), site, lambda slot: None)
    with flight.swapper:
        event = flight.ask()
    assert event.id == "BUNDLE_REFUSED" and "MemoryError" in event.text


def test_what_the_pipeline_refuses_is_freed(site: Path, spoil: Any) -> None:
    def refuse(stage: str, network: Network) -> None:
        taken.append(network)
        raise ConfigError("other labels")

    taken: list[Network] = []
    flight = Flight(site)
    flight.swapper = BundleSwapper(flight.swapper._stages, refuse, flight.events)
    install(newer(spoil), site, lambda slot: None)
    with flight.swapper:
        event = flight.ask()
    assert event.id == "BUNDLE_REFUSED" and "other labels" in event.text
    with pytest.raises((InferenceError, AttributeError)):
        taken[0].self_test()


def test_no_stage_can_change() -> None:
    events = EventLog()
    with BundleSwapper({}, lambda stage, network: None, events) as swapper:
        swapper.request()
    assert [event.id for event in events.recent] == ["BUNDLE_UNCHANGED"]


def test_one_hangup_asks_for_every_camera() -> None:
    """Each camera of a process looks for its own bundles."""
    pipelines = [
        Pipeline(segment=scripted_network("segmentation", [0.0]), events=EventLog())
        for _ in range(2)
    ]
    config = RunConfig()
    with (
        reload_on_hangup(config, pipelines[0], supervised=True),
        reload_on_hangup(config, pipelines[1], supervised=True),
    ):
        os.kill(os.getpid(), signal.SIGHUP)
        end = time.monotonic() + 30
        while time.monotonic() < end and not all(
            p.events.counts["BUNDLE_UNCHANGED"] for p in pipelines
        ):
            time.sleep(0.01)
    assert [p.events.counts["BUNDLE_UNCHANGED"] for p in pipelines] == [1, 1]
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
