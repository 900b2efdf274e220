"""What is written down about a run: its configuration, bundles, engines and versions."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

import rille
from rille.config import RunConfig, SourceConfig
from rille.recording.facts import RunFacts

if TYPE_CHECKING:
    from rille.network import Network
    from rille.pipeline import Pipeline
    from rille.sources import Source


def run_facts(config: RunConfig, pipeline: Pipeline, source: Source) -> RunFacts:
    """Return what a recording tells of its run."""
    # How the networks share the cores was measured here; a replay is to do the same. A recording
    # travels further than the folder of a run: no password in it.
    told = replace(
        config,
        source=SourceConfig(uri=source.uri.shown),
        engine=replace(
            config.engine,
            threads=next(iter(pipeline.networks.values())).backend.threads,
            networks="parallel" if pipeline.plan.parallel else "sequential",
        ),
    )
    return RunFacts(
        config=told.to_toml(),
        source=source.describe(),
        versions=versions(pipeline),
        bundles={name: _bundle(network) for name, network in pipeline.networks.items()},
    )


def _bundle(network: Network) -> dict[str, str]:
    return {
        "name": network.contract.name,
        "version": network.contract.version,
        "digest": network.bundle.digest if network.bundle else "",
        "file": network.variant.file,
        "engine": network.backend.name,
        "threads": str(network.backend.threads),
    }


def versions(pipeline: Pipeline) -> str:
    """Return the versions of rille, of what it stands on, and of the networks and engines."""
    engines = "; ".join(
        f"{name}: {network.contract.name} {network.contract.version} on {network.backend.name}, "
        f"{network.backend.threads} thread(s)"
        for name, network in pipeline.networks.items()
    )
    return (
        f"rille {rille.__version__}; Python {platform.python_version()} on {platform.machine()}; "
        f"NumPy {np.__version__}; OpenCV {cv2.__version__}; {engines}"
    )
