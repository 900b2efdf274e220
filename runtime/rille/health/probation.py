"""Bundles on probation in one run: their starts are counted, and who uses them up goes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rille.errors import BundleError, RilleError
from rille.health.beats import FrameAccount
from rille.site.probation import count_start, fall_back, on_probation, spare_start
from rille.site.slots import SlotEntry

_STOPPED = (0, 2, 130)
_SOURCE_OR_SINK = 3


def says_nothing(code: int, account: FrameAccount) -> bool:
    """Return whether the end of a run says nothing against the bundles that flew.

    It was over, told to end, or wrongly configured; or a camera or an output failed. A source
    is said to have failed, too, where every frame did: that may be the bundle's work.

    Args:
        code: exit code of the run; negative for a signal.
        account: where its frames went.
    """
    if code == _SOURCE_OR_SINK:
        return not account.captured or account.ok + account.late > 0
    return code in _STOPPED


class Probation:
    """The bundles of a run that have yet to prove themselves.

    Args:
        places: what the stages fly; those that are no sites, or hold nothing on probation, do not
            matter. Looked at anew each time: bundles are installed while a run goes on.
        tries: starts that a bundle has.
        emit: takes BUNDLE_ROLLED_BACK and ROLLBACK_FAILED: name, text, values.
        say: takes a line for people.
    """

    def __init__(
        self,
        places: Iterable[Path],
        tries: int,
        emit: Callable[[str, str, dict[str, Any]], object],
        say: Callable[[str], None],
    ) -> None:
        self._places = list({place.resolve(): place for place in places}.values())
        self._tries, self._emit, self._say = tries, emit, say
        self._told: set[str] = set()

    def begin(self) -> None:
        """Go back where all starts are used up, and count one more of the others: before it."""
        if self.used_up:
            self.roll_back("the board or the run ended before it could", used_up=True)
        for site in self._on_probation():
            self._change(count_start, site)

    def spare(self) -> None:
        """Take the last start back: how it ended says nothing against a bundle."""
        for site in self._on_probation():
            self._change(spare_start, site)

    @property
    def used_up(self) -> bool:
        """Whether a bundle on probation has no start left."""
        return any(self._spent(entry) for entry in self._on_probation().values())

    def roll_back(self, why: str, *, used_up: bool = False) -> bool:
        """Let the other slots fly again in the place of what is on probation.

        Of several bundles nobody knows which is to blame: all that are meant go back, and each
        event says so.

        Args:
            why: what speaks against them.
            used_up: only those that have no start left.

        Returns:
            Whether another bundle flies from now on.
        """
        meant = {
            site: entry
            for site, entry in self._on_probation().items()
            if not used_up or self._spent(entry)
        }
        shared = ""
        if len(meant) > 1:
            shared = f"; which of {len(meant)} bundles on probation is to blame is not known"
        done = [self._go_back(site, entry, why, shared) for site, entry in meant.items()]
        return any(done)

    def _go_back(self, site: Path, entry: SlotEntry, why: str, shared: str) -> bool:
        reason = f"started {entry.starts} times, it did not prove itself: {why}{shared}"
        try:
            made = fall_back(site, entry.digest, reason)
        except RilleError as wrong:
            self._tell_once(
                "ROLLBACK_FAILED",
                f"{site}: {entry} goes on flying though it should not ({reason}): {wrong}",
                {"site": str(site), "digest": entry.digest},
            )
            return False
        self._emit(
            "BUNDLE_ROLLED_BACK",
            f"{site}: {made.good} flies again, in the place of {made.bad}; {reason}",
            {
                "site": str(site),
                "digest": made.good.digest,
                "rejected": made.bad.digest,
                "starts": entry.starts or 0,
            },
        )
        return True

    def _tell_once(self, name: str, text: str, values: dict[str, Any]) -> None:
        key = f"{name} {values['site']} {values['digest']}"
        if key not in self._told:
            self._told.add(key)
            self._emit(name, text, values)

    def _spent(self, entry: SlotEntry) -> bool:
        return entry.starts is not None and entry.starts >= self._tries

    def _on_probation(self) -> dict[Path, SlotEntry]:
        found = {}
        for site in self._places:
            try:
                entry = on_probation(site)
            except BundleError:
                continue  # the run itself says what is wrong with it
            if entry is not None:
                found[site] = entry
        return found

    def _change(self, change: Callable[[Path], object], site: Path) -> None:
        """Keep count; where that cannot be written, the run goes on, and is told of."""
        try:
            change(site)
        except RilleError as wrong:
            text = f"starts on probation are not counted: {wrong}"
            if text not in self._told:
                self._told.add(text)
                self._say(text)
