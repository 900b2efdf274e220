"""A new bundle under which the run dies or hangs, again and again, for as long as it flies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rille.bundle import install, load_bundle, write_bundle
from rille.hil.scenario import Fault
from rille.hil.target import Setup
from rille.hil.upset_process import ProcessUpset, supervised_child
from rille.site.probation import on_probation

_VERSION = "99.0.0"


class DyingBundle(ProcessUpset):
    """Strikes each run that has served for `amount` seconds while a bundle is on probation.

    The new bundles hold the networks that were there, so the bench knows their answers; what they
    would do to the process is done from outside.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._sites: list[Path] = []
        self._serving: tuple[int | None, float] = (None, 0.0)

    def prepare(self, setup: Setup) -> None:
        """Fly each of the device's bundles from a folder with slots, a new version of it chosen."""
        super().prepare(setup)
        for number, name in enumerate(setup.bundles):
            site, old = setup.folder / f"site-{number}", load_bundle(name)
            manifest = replace(old.manifest, version=_VERSION)
            new = write_bundle(setup.folder / f"new-{number}", manifest, old.files)
            for bundle in (old, new):
                install(bundle, site, lambda slot: None)
            setup.bundles[number] = str(site)
            self._sites.append(site)

    def look(self, since_s: float) -> None:
        """Strike again, unless the bundles from before fly by now."""
        assert self.setup is not None
        child = supervised_child(self.setup.out, serving=True)
        if child != self._serving[0]:
            self._serving = (child, since_s)
        elif (
            child is not None
            and since_s - self._serving[1] >= self.fault.amount
            and any(on_probation(site) for site in self._sites)
        ):
            self.strike()
            self._serving = (child, since_s)
