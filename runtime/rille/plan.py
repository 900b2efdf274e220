"""How the networks share the cores: one after the other with many threads, or at the same time.

Which is fastest depends on the networks, the engine and the processor, so it is measured: every way
takes turns on a golden image of the bundles; the best one then also with the steps of the networks'
files, which are slower as a rule (see `rille.backends.rearrange`). What was found is kept in the
user's cache folder, under the bundles' digests, the engine and the number of usable cores. What was
measured while other processes took much of the processors is measured again at the next two starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.board import usable_cores
from rille.bundle import Bundle
from rille.busy import BUSY, OtherWork
from rille.errors import RilleError
from rille.files import cache_folder, write_whole
from rille.images import decode_image
from rille.latency import spent_ms
from rille.network import Network
from rille.registry import package_version

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TURNS, _FEWER, _WARM = 20, 10, 2
_TRIES = 3
"""After so many measurements beside other work, that is how this machine is."""
_MOST_KEPT = 64
_PLAIN_LEAD = 1.03
"""So many times as fast the steps of the files must be to be taken."""
_MAX_FILE = 1 << 20
Given = Mapping[str, Bundle | Network | None]


def default_threads() -> int:
    """Return the threads for one inference where nothing was measured: 1 to 4.

    The usable cores less one for capture: more threads than free cores make the tail of the latency
    several times longer.
    """
    return max(1, min(4, usable_cores() - 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How the networks share the cores.

    Attributes:
        threads: threads for one inference of each network.
        parallel: whether two networks run at the same time.
        plain: whether TFLite networks run in the steps of their files.
    """

    threads: int
    parallel: bool = False
    plain: bool = False

    def __str__(self) -> str:
        how = "at the same time" if self.parallel else "one after the other"
        steps = ", as their files are" if self.plain else ""
        return f"{how}, {self.threads} thread{'s' if self.threads > 1 else ''} each{steps}"

    def load(self, given: Given, backend: str) -> dict[str, Network]:
        """Return a network for each stage; loaded ones stay as they are.

        Raises:
            BundleError, BackendError: see `Network.load`.
        """
        return {
            name: self.network(source, backend) if isinstance(source, Bundle) else source
            for name, source in given.items()
            if source is not None
        }

    def network(self, bundle: Bundle, backend: str, variant: str | None = None) -> Network:
        """Return one network.

        Args:
            bundle: the bundle.
            backend: name of the engine; empty for the usual one.
            variant: which form of the network; None for the preferred one.

        Raises:
            BundleError, BackendError: see `Network.load`.
        """
        if self.plain and not backend and bundle.variant(variant)[1].target == "tflite":
            backend = "litert-plain"
        return Network.load(bundle, variant=variant, backend=backend, threads=self.threads)


@dataclass(frozen=True, slots=True)
class Kept:
    """A plan in the cache.

    Attributes:
        plan: what was fastest.
        doubts: how many times in a row it was measured beside much other work.
    """

    plan: Plan
    doubts: int = 0

    @property
    def settled(self) -> bool:
        """Whether it need not be measured again."""
        return not 0 < self.doubts < _TRIES


@dataclass(frozen=True, slots=True)
class Timed:
    """What a plan takes for a frame, in milliseconds: median and worst of nine in ten."""

    plan: Plan
    p50_ms: float
    p90_ms: float


def plan_for(given: Given, *, backend: str, threads: int | None, parallel: bool | None) -> Plan:
    """Return how these networks should share the cores.

    Args:
        given: stage -> bundle or loaded network.
        backend: name of the engine.
        threads: threads for one inference, if that is settled.
        parallel: whether networks run at the same time, if that is settled.
    """
    bundles = {name: source for name, source in given.items() if isinstance(source, Bundle)}
    settled = threads is not None or parallel is not None or not bundles
    if settled or len(bundles) < sum(source is not None for source in given.values()):
        return Plan(threads=threads or default_threads(), parallel=bool(parallel))
    bundles.pop("lighter", None)
    kept = _kept().get(_key(bundles, backend))
    if kept is not None and kept.settled:
        return kept.plan
    others = OtherWork()
    best = fastest(measure_plans(bundles, backend))
    remember(bundles, best, backend, others.share())
    return best


def fastest(timed: list[Timed]) -> Plan:
    """Return the plan with the least mean of its usual and its slow frames.

    A budget is about the slow ones, but of so few frames the slow ones alone are chance.
    """
    return min(
        timed, key=lambda one: (one.p50_ms + one.p90_ms) * (_PLAIN_LEAD if one.plan.plain else 1)
    ).plan


def candidates(cores: int, networks: int) -> list[Plan]:
    """Return the plans worth a measurement, none of which has more threads than cores."""
    counts = [n for n in (1, 2, 4) if n <= cores]
    plans = [Plan(threads=n) for n in counts]
    if networks > 1:
        plans += [Plan(threads=n, parallel=True) for n in counts if 2 * n <= cores]
    return plans


def measure_plans(bundles: Mapping[str, Bundle], backend: str = "") -> list[Timed]:
    """Measure every plan, and unless an engine is named the fastest with the steps of the files.

    Args:
        bundles: stage -> bundle.
        backend: name of the engine.

    Raises:
        BundleError, BackendError: see `Network.load`.
    """
    timed = _in_turns(bundles, backend, candidates(usable_cores(), len(bundles)))
    if backend:
        return timed
    chosen = fastest(timed)
    best = next(one for one in timed if one.plan == chosen)
    pair = [chosen, replace(chosen, plain=True)]
    again, plain = _in_turns(bundles, backend, pair, _FEWER)
    # As if it had taken turns with the others.
    p50, p90 = plain.p50_ms / again.p50_ms, plain.p90_ms / again.p90_ms
    return [*timed, Timed(plain.plan, best.p50_ms * p50, best.p90_ms * p90)]


def _in_turns(
    bundles: Mapping[str, Bundle], backend: str, plans: list[Plan], turns: int = _TURNS
) -> list[Timed]:
    """Measure some plans, taking turns, so that a busy moment does not fall on one alone."""
    engines = [Plan(threads=plan.threads, plain=plan.plain) for plan in plans]
    loaded = {engine: engine.load(bundles, backend) for engine in dict.fromkeys(engines)}
    pictures = {name: _picture(bundle) for name, bundle in bundles.items()}
    spent: list[list[float]] = [[] for _ in plans]
    with ThreadPoolExecutor(1) as aside:

        def frame(plan: Plan) -> None:
            engine = replace(plan, parallel=False)
            calls = [(n.run, pictures[name]) for name, n in loaded[engine].items()]
            beside = [aside.submit(run, p) for run, p in calls[:-1]] if plan.parallel else []
            for run, picture in calls[-1:] if plan.parallel else calls:
                run(picture)
            for one in beside:
                one.result()

        for turn in range(_WARM + turns):
            for plan, times in zip(plans, spent, strict=True):
                took = spent_ms(lambda _, plan=plan: frame(plan), 1)  # type: ignore[misc]
                times += took if turn >= _WARM else []
    for networks in loaded.values():
        for network in networks.values():
            network.close()
    return [
        Timed(plan, statistics.median(times), statistics.quantiles(times, n=10)[-1])
        for plan, times in zip(plans, spent, strict=True)
    ]


def remember(
    bundles: Mapping[str, Bundle], plan: Plan, backend: str = "", others: float | None = None
) -> None:
    """Keep a plan for the next start.

    Args:
        bundles: stage -> bundle.
        plan: what was fastest.
        backend: name of the engine.
        others: share of the processors that other processes took meanwhile, 0 to 1, if known.
    """
    key = _key(bundles, backend)
    doubtful = others is not None and others > BUSY
    before = _kept().get(key, Kept(plan))
    _keep(key, Kept(plan, min(before.doubts + 1, _TRIES) if doubtful else 0))


def _picture(bundle: Bundle) -> NDArray[np.uint8]:
    """Return a golden image, which a network has something to find in; or a grey one."""
    if bundle.manifest.golden_images:
        name = bundle.manifest.golden_images[0]
        return decode_image(bundle.files[name], name)
    return np.full((480, 640, 3), 128, np.uint8)


def _key(bundles: Mapping[str, Bundle], backend: str) -> str:
    told = [f"{name} {bundle.digest}" for name, bundle in sorted(bundles.items())]
    told += [backend, platform.machine(), str(usable_cores()), package_version("ai-edge-litert")]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]


def _file() -> Path:
    return cache_folder() / "plans.json"


def _kept() -> dict[str, Kept]:
    """Return the plans that were kept; what cannot be read is measured again."""
    try:
        if _file().stat().st_size > _MAX_FILE:
            return {}
        table: dict[str, Any] = json.loads(_file().read_text(encoding="utf-8"))
        return {
            str(key): Kept(
                Plan(
                    threads=min(64, max(1, int(threads))),
                    parallel=bool(parallel),
                    plain=bool(plain),
                ),
                int(doubts),
            )
            for key, (threads, parallel, plain, doubts) in table.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _keep(key: str, kept: Kept) -> None:
    plans = {**_kept(), key: kept}
    last = dict(list(plans.items())[-_MOST_KEPT:])
    # A home that cannot be written to costs a measurement at each start, and nothing else.
    with contextlib.suppress(RilleError, OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        text = {
            name: [one.plan.threads, one.plan.parallel, one.plan.plain, one.doubts]
            for name, one in last.items()
        }
        write_whole(_file(), json.dumps(text, indent=1) + "\n")
