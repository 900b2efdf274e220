"""SIGHUP: a run whose bundles come from where they are installed takes up the new ones."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from rille.bundle import Bundle, load_bundle, read_public_key
from rille.bundle.restore import load_sound
from rille.config import RunConfig, StageConfig
from rille.events import Event
from rille.network import Network
from rille.pipeline import Pipeline
from rille.plan import Plan
from rille.site.slots import SLOTS
from rille.swap import BundleSwapper, Renewal


def find_bundle(config: RunConfig, stage: StageConfig) -> Bundle:
    """Return the bundle that a stage flies, or should fly now, verified.

    Raises:
        BundleError: there is none, or it cannot be trusted.
    """
    return load_bundle(stage.bundle, [read_public_key(key) for key in config.trust.keys])


def find_sound(config: RunConfig, stage: StageConfig) -> tuple[Bundle, str]:
    """Return the bundle for a stage to start with; see `rille.bundle.restore.load_sound`.

    Raises:
        BundleError: there is none, or none that can be trusted.
    """
    return load_sound(stage.bundle, [read_public_key(key) for key in config.trust.keys])


def load_network(config: RunConfig, stage: StageConfig, bundle: Bundle, plan: Plan) -> Network:
    """Return a stage's network, with as many threads for one inference as planned.

    Raises:
        BundleError: the bundle has no such variant.
        BackendError: no engine can run it.
    """
    return plan.network(bundle, config.engine.backend, stage.variant or None)


@contextlib.contextmanager
def reload_on_hangup(
    config: RunConfig,
    pipeline: Pipeline,
    supervised: bool,
    started: Callable[[Path], object] = lambda site: None,
) -> Iterator[None]:
    """Look for newly installed bundles at each SIGHUP, while the context lasts.

    `started` is told of each site before a bundle is taken up from it: that is a start, too.

    The pipeline's events tell what became of them, and a note to people does.

    Without a stage that flies from a folder with slots SIGHUP keeps its usual meaning, the end of a
    terminal, except under a supervisor, which has no other use for it.
    """
    renewals = dict(_renewals(config, pipeline, started))
    if not renewals and not supervised:
        yield
        return
    pipeline.events.listen(_say)
    with BundleSwapper(renewals, pipeline.swap, pipeline.events) as swapper:
        before = signal.getsignal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, _asking(swapper.request, before))
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)


def _say(event: Event) -> None:
    if event.id.startswith("BUNDLE_"):
        print(f"note: {event.text}", file=sys.stderr)


def _asking(request: Callable[[], None], before: Any) -> Callable[[int, FrameType | None], None]:
    """Return a handler that asks for new bundles, for the other cameras of the process too."""

    def handle(number: int, frame: FrameType | None) -> None:
        request()
        if callable(before):
            before(number, frame)

    return handle


def _renewals(
    config: RunConfig, pipeline: Pipeline, started: Callable[[Path], object]
) -> Iterator[tuple[str, Renewal]]:
    networks = pipeline.networks

    def load(stage: StageConfig, bundle: Bundle) -> Network:
        started(Path(stage.bundle))
        return load_network(config, stage, bundle, pipeline.plan)

    for name, stage in config.stages.items():
        if name not in networks or not (Path(stage.bundle) / SLOTS).is_file():
            continue
        flying = networks[name].bundle
        assert flying is not None  # it was loaded from that folder
        yield (
            name,
            Renewal(
                digest=flying.digest,
                task=flying.manifest.task,
                find=partial(find_bundle, config, stage),
                load=partial(load, stage),
            ),
        )
