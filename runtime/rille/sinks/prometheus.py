"""`prometheus://127.0.0.1:9464`: what a run does, as metrics that a Prometheus server fetches.

Served at /metrics by the standard library alone; without `?public=1` to this machine only.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from rille.result import State
from rille.sinks.base import RunView, Sink
from rille.sinks.metrics_text import Histogram, counts, family, sample
from rille.sinks.text_server import TextServer
from rille.strain import read_strain

if TYPE_CHECKING:
    from typing_extensions import Self

    from rille.result import Result
    from rille.uri import SourceUri

BUCKETS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08),
    *(0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0),
)
_BOARD_EVERY_S = 5.0


class PrometheusEndpoint(Sink):
    """Counts results and serves the counts; see the module's description.

    Args:
        host, port: where it listens; port 0 for any free one.
        public: whether it may listen beyond this machine.

    Attributes:
        port: where it really listens.

    Raises:
        ConfigError: the address is beyond this machine, and `public` is not set.
        SinkError: it cannot listen there.
    """

    takes_pixels = False

    def __init__(self, host: str, port: int, *, public: bool = False) -> None:
        self._lock = threading.Lock()
        self._states: Counter[str] = Counter({state.value: 0 for state in State})
        self._causes: Counter[str] = Counter()
        self._shed: Counter[str] = Counter()
        self._levels: Counter[str] = Counter()
        self._quality: Counter[str] = Counter()
        self._scored = self._unfamiliar = 0
        self._age = Histogram(BUCKETS_S)
        self._stages: dict[str, Histogram] = {}
        self._level, self._budget_s = "", 0.0
        self._run = RunView(sinks=dict, events={})
        self._celsius: float | None = None
        self._looked_at = float("-inf")
        self._server = TextServer(host, port, self.text, public=public)
        self.port = self._server.port

    @classmethod
    def from_uri(cls, uri: SourceUri) -> Self:
        """Make one from its URI; see `Sink.from_uri`."""
        uri.check_options(["public"])
        return cls(*uri.host_port(), public=uri.flag("public", False))

    def observe(self, run: RunView) -> None:
        """Take note of the run whose sinks and events are served too."""
        self._run = run

    def write(self, result: Result) -> None:
        """Count one result."""
        with self._lock:
            self._states[result.state.value] += 1
            self._shed.update(result.shed)
            self._budget_s = result.deadline_ms / 1000
            if result.cause is not None:
                self._causes[result.cause] += 1
            for stage, cost_ms in result.timings_ms.items():
                self._stages.setdefault(stage, Histogram(BUCKETS_S)).add(cost_ms / 1000)
            if result.published:
                self._age.add(result.age_ms / 1000)
                self._level = result.level
                self._levels[result.level] += 1
                self._quality.update(result.quality)
                answer = result.classification
                if answer is not None and answer.ood_score is not None:
                    self._scored += 1
                    self._unfamiliar += answer.out_of_distribution

    def close(self) -> None:
        """Listen no more."""
        self._server.close()

    def text(self) -> str:
        """Return every metric as it stands."""
        run = [*self._sinks(), *self._events(), *self._temperature()]
        with self._lock:
            lines = [*self._frames(), *self._times(), *self._gauges(), *run]
        return "\n".join(lines) + "\n"

    def _frames(self) -> list[str]:
        captured = sample("rille_frames_captured_total", {}, sum(self._states.values()))
        unfamiliar = "rille_out_of_distribution_frames_total"
        flagged = [sample(unfamiliar, {}, self._unfamiliar)] if self._scored else []
        return [
            *family(
                "rille_frames_captured_total", "counter", "Frames whose end is known.", [captured]
            ),
            *counts("rille_frames_total", "Frames by how they ended.", "state", self._states),
            *counts("rille_frames_dropped_total", "Dropped frames.", "cause", self._causes),
            *counts("rille_stages_shed_total", "Stages left out.", "stage", self._shed),
            *counts("rille_level_frames_total", "Published frames.", "level", self._levels),
            *counts("rille_quality_frames_total", "Flagged frames.", "flag", self._quality),
            *family(unfamiliar, "counter", "Frames unlike those trained on.", flagged),
        ]

    def _times(self) -> list[str]:
        stages = [
            line
            for stage, histogram in self._stages.items()
            for line in histogram.lines("rille_stage_seconds", {"stage": stage})
        ]
        about = "Age of published results, from capture to publication."
        return [
            *family(
                "rille_age_seconds", "histogram", about, self._age.lines("rille_age_seconds", {})
            ),
            *family("rille_stage_seconds", "histogram", "Time spent in a stage.", stages),
        ]

    def _gauges(self) -> list[str]:
        levels = [
            sample("rille_level", {"level": level}, int(level == self._level))
            for level in self._levels
        ]
        budget = [sample("rille_budget_seconds", {}, self._budget_s)] if self._budget_s else []
        return [
            *family("rille_level", "gauge", "1 for the operating level of the moment.", levels),
            *family("rille_budget_seconds", "gauge", "Age at which a result is late.", budget),
        ]

    def _sinks(self) -> list[str]:
        fates = ("written", "dropped", "failed")
        name = "rille_sink_things_total"
        lines, waiting = [], []
        for sink, account in self._run.sinks().items():
            for fate, number in account.to_json().items():
                if fate in fates:
                    lines.append(sample(name, {"sink": sink, "fate": fate}, number))
            waiting.append(sample("rille_sink_waiting", {"sink": sink}, account.waiting))
        return [
            *family(name, "counter", "Results and events by what became of them.", lines),
            *family("rille_sink_waiting", "gauge", "Results and events in a buffer.", waiting),
        ]

    def _events(self) -> list[str]:
        about = "Events, those held back included."
        return counts("rille_events_total", about, "id", dict(self._run.events))

    def _temperature(self) -> list[str]:
        if time.monotonic() - self._looked_at > _BOARD_EVERY_S:
            self._looked_at = time.monotonic()
            self._celsius = read_strain(vcgencmd=str).celsius  # asks no program
        if self._celsius is None:
            return []
        value = sample("rille_temperature_celsius", {}, self._celsius)
        return family("rille_temperature_celsius", "gauge", "Hottest thermal zone.", [value])
