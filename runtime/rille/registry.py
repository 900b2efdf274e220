"""Names that stand for classes: URI schemes, sinks, engines. Resolved only when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any

from rille.errors import RilleError, nearest


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Known names of one kind, with others added by installed packages.

    Attributes:
        kind: what a name stands for, for messages ("source").
        group: entry-point group through which other packages add names.
        known: name -> "module:attribute".
    """

    kind: str
    group: str
    known: Mapping[str, str]

    def names(self) -> list[str]:
        """Return every name, those of installed packages included."""
        return sorted({*self.known, *(point.name for point in entry_points(group=self.group))})

    def resolve(self, name: str, error: type[RilleError]) -> Any:
        """Import what `name` stands for.

        Raises:
            error: no such name; the nearest one is suggested.
        """
        if name in self.known:
            module, _, attribute = self.known[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        for point in entry_points(group=self.group):
            if point.name == name:
                return point.load()
        names = self.names()
        raise error(
            f"there is no {self.kind} {name!r}{nearest(name, names)} (known: {', '.join(names)})"
        )


def package_version(package: str) -> str:
    """Return the version of an installed package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
