"""What a run does, as frozen dataclasses that read from and write to TOML."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rille.budget import Budget
from rille.defences import Defences
from rille.errors import ConfigError, nearest
from rille.health.settings import DEFAULT_FOLDER, HealthConfig
from rille.schema import build, merge_setting, parse_toml, read_toml, to_toml

DEFAULT_SOURCE = "sim://moon?view=rover&terrain=boulder-field&seed=7&fps=10&frames=150"

NETWORKS = {"auto": None, "sequential": False, "parallel": True}
"""How `engine.networks` may be set -> whether two networks run at the same time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """Where frames come from.

    Attributes:
        uri: see `rille.sources`.
    """

    uri: str = DEFAULT_SOURCE


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """One network.

    Attributes:
        bundle: name of a shipped bundle, or the path of one; empty leaves the stage out.
        variant: which form of it; empty for the preferred one.
    """

    bundle: str = ""
    variant: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyConfig(StageConfig):
    """The network that classifies; see `StageConfig`."""

    bundle: str = "moon-scene"


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentConfig(StageConfig):
    """The network that segments; see `StageConfig`."""

    bundle: str = "moon-rocks"


@dataclass(frozen=True, kw_only=True, slots=True)
class LighterConfig(StageConfig):
    """A cheaper network to segment with where the deadline has no room for the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """The inference engine.

    Attributes:
        backend: "litert", "litert-plain" (the steps of the file as they are, slower),
            "litert-exact" (the same bits on every machine, far slower), "onnxruntime", "tensorrt"
            or what an installed package adds; empty for the one that runs the file format of a
            bundle's variant.
        threads: threads for one inference; 0 for what was measured to be fastest here.
        networks: "auto", "sequential" or "parallel": whether two networks run at the same time.
        check_every: frames between two golden images in flight, which tell whether a network is
            still what was verified; 0 for none.
    """

    backend: str = ""
    threads: int = 0
    networks: str = "auto"
    check_every: int = 250

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= 64:
            raise ValueError(f"threads must be from 0 to 64, not {self.threads}")
        if self.networks not in NETWORKS:
            raise ValueError(
                f"networks must be one of {', '.join(NETWORKS)}, not {self.networks!r}"
                f"{nearest(self.networks, list(NETWORKS))}"
            )
        if self.check_every < 0:
            raise ValueError(f"check_every must be at least 0, not {self.check_every}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustConfig:
    """Whose bundles are accepted.

    Attributes:
        keys: public keys as hexadecimal digits, or paths of files with them; with any, a bundle
            that none of them signed is refused. Empty accepts every bundle that is whole.
    """

    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputConfig:
    """What is written.

    Attributes:
        folder: the folder for all of it; made if needed.
        jsonl, video, report: whether results.jsonl, annotated.mp4 and report.html are written.
        sinks: further sinks by URI, as in udp://10.0.0.2:5005; see `rille.sinks`.
        limit: stop after so many captured frames; 0 for no limit.
    """

    folder: str = DEFAULT_FOLDER
    jsonl: bool = True
    video: bool = True
    report: bool = True
    sinks: tuple[str, ...] = ()
    limit: int = 0

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError("limit must be at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything `rille run` does."""

    source: SourceConfig = field(default_factory=SourceConfig)
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    lighter: LighterConfig = field(default_factory=LighterConfig)
    budget: Budget = field(default_factory=Budget)
    engine: EngineConfig = field(default_factory=EngineConfig)
    radiation: Defences = field(default_factory=Defences)
    trust: TrustConfig = field(default_factory=TrustConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    health: HealthConfig = field(default_factory=HealthConfig)

    @property
    def stages(self) -> dict[str, StageConfig]:
        """Stage name -> its network."""
        return {"classify": self.classify, "segment": self.segment, "lighter": self.lighter}

    def to_toml(self) -> str:
        """Return the configuration with every default written out; `read_config` reads it back."""
        return to_toml(asdict(self))


def read_config(path: Path | None, settings: list[str] | None = None) -> RunConfig:
    """Read a run's configuration.

    Args:
        path: a TOML file, or None for the defaults.
        settings: `section.key=value` texts that take precedence.

    Raises:
        ConfigError: the file is missing or malformed, or a key or value does not fit; an unknown
            key comes with the nearest known one.
    """
    table: dict[str, Any] = read_toml(path, ConfigError) if path else {}
    return _resolve(table, str(path) if path else "settings:", settings or [])


def parse_config(text: str, where: str, settings: list[str]) -> RunConfig:
    """Read a run's configuration from TOML text; see `read_config`.

    Args:
        text: as `RunConfig.to_toml` writes it.
        where: what to call it in an error.
        settings: `section.key=value` texts that take precedence.

    Raises:
        ConfigError: as in `read_config`.
    """
    return _resolve(parse_toml(text, where, ConfigError), where, settings)


def _resolve(table: dict[str, Any], where: str, settings: list[str]) -> RunConfig:
    for setting in settings:
        merge_setting(table, setting, ConfigError)
    return build(RunConfig, table, where, ConfigError)
