"""What a run does against bits that flip in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Defences:
    """Measures against flipped bits, besides the golden images (`engine.check_every`).

    Attributes:
        scrub_kb: kilobytes of the bundles' bytes held against their checksums after each frame;
            0 for none.
        rebuild_s: seconds after which each engine is built anew from verified bytes, because it
            keeps a copy of the weights that no checksum covers; 0 for never.
        vote_needs, vote_of: a label is only published when so many of the last so many answers
            give it; until then the one before stands. 0 for every answer as it comes.
    """

    scrub_kb: int = 256
    rebuild_s: float = 60.0
    vote_needs: int = 0
    vote_of: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.scrub_kb <= 65_536:
            raise ValueError(f"scrub_kb must be from 0 to 65536, not {self.scrub_kb}")
        if not 0 <= self.rebuild_s <= 86_400:
            raise ValueError(f"rebuild_s must be from 0 to 86400, not {self.rebuild_s:g}")
        if not 0 <= self.vote_of <= 1000:
            raise ValueError(f"vote_of must be from 0 to 1000, not {self.vote_of}")
        if not (self.vote_needs == self.vote_of == 0 or self.vote_of < 2 * self.vote_needs):
            raise ValueError(
                f"vote_needs must be more than half of vote_of ({self.vote_of}), "
                f"not {self.vote_needs}"
            )
        if self.vote_needs > self.vote_of:
            raise ValueError(f"vote_needs must be at most vote_of ({self.vote_of})")
