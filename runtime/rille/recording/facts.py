"""What a recording says about the run it is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """One run, as its recording tells of it.

    Attributes:
        config: the resolved configuration as TOML; see `rille.config.RunConfig.to_toml`.
        source: the source in words, without a password.
        versions: of rille, Python, its libraries and the engines, in words.
        bundles: stage name -> facts about the network there: name, version, digest of the bundle,
            variant, engine, threads.
    """

    config: str
    source: str = ""
    versions: str = ""
    bundles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
