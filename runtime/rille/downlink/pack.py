"""Filling a number of bytes with products of a recording, and accounting for the rest.

The products stand in one order that does not know the budget; what is sent is the longest beginning
of it that fits with its manifest. So a larger budget sends everything that a smaller one sends, and
more. What stays unused is less than the product that came next.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.downlink.coverage import Coverage, cover, every_kth
from rille.downlink.products import file_name, make
from rille.downlink.rank import KINDS, Order, Product, Ranked
from rille.downlink.sight import Sight, see
from rille.errors import ConfigError, FrameDecodeError, SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.recording import Recorded, Recording

MOST_FRAMES = 4000
"""Frames that are ranked; of a longer run, so many at even distances."""
MANIFEST = "manifest.json"
MASK_FORMAT = (
    "RM1, width and height as uint16 LE, then runs in row order: value byte, length in LEB128"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """What is sent.

    Attributes:
        manifest: the content of `manifest.json`, which is sent as well.
        ranked: the products, best first.
        total: bytes of all of it, with the manifest and what the container adds.
        coverage: what classes it shows.
        plain: what every k-th whole frame would show in as many bytes.
    """

    manifest: bytes
    ranked: tuple[Ranked, ...]
    total: int
    coverage: Coverage
    plain: Coverage


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A run as it is ranked.

    Attributes:
        sights: the frames with pictures.
        products: their products, the record first.
        sums: name of a product's file -> CRC-32 of its content.
        left_out: why other frames are not among them -> how many.
    """

    sights: list[Sight]
    products: list[list[Product]]
    sums: dict[str, int]
    left_out: dict[str, int]


def look(recording: Recording) -> Seen:
    """Look at every frame of a recording once.

    Raises:
        SourceError: the recording is damaged, or no frame of it has both a result and a picture.
    """
    seen = Seen(sights=[], products=[], sums={}, left_out={})
    chosen = _chosen(recording, seen.left_out)
    for recorded, pixels in _pictures(recording, chosen, seen.left_out):
        try:
            sight, contents = see(recorded.index, recorded.record, pixels), make(recorded, pixels)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as wrong:
            # The file's sums are right, so this was written so: by another program, or on purpose.
            raise SourceError(
                f"{recording.path}: the record of frame {recorded.index} cannot be read ({wrong!r})"
            ) from None
        seen.sights.append(sight)
        seen.products.append([_product(recorded.index, *entry, seen) for entry in contents.items()])
    if not seen.sights:
        raise SourceError(f"{recording.path}: no frame of it has both a result and a picture")
    return seen


def _product(index: int, key: tuple[str, str], content: bytes, seen: Seen) -> Product:
    kind, label = key
    name = file_name(index, kind, label)
    seen.sums[name] = zlib.crc32(content)
    what = label.rpartition(" ")[0]
    return Product(index=index, kind=kind, name=name, size=len(content), label=what)


def _chosen(recording: Recording, left_out: dict[str, int]) -> set[int]:
    """Return the indices of the frames to rank, after counting those that cannot be."""
    usable = []
    for recorded in recording.frames():
        state = recorded.record.get("state")
        if state not in ("ok", "late"):
            left_out[f"{state}: no result"] = left_out.get(f"{state}: no result", 0) + 1
        elif recorded.image is None:
            left_out["recorded without its picture"] = (
                left_out.get("recorded without its picture", 0) + 1
            )
        else:
            usable.append(recorded.index)
    if len(usable) <= MOST_FRAMES:
        return set(usable)
    left_out["thinned out"] = len(usable) - MOST_FRAMES
    places = np.linspace(0, len(usable) - 1, MOST_FRAMES).round().astype(int)
    return {usable[place] for place in places}


def _pictures(
    recording: Recording, chosen: set[int], left_out: dict[str, int]
) -> Iterator[tuple[Recorded, NDArray[np.uint8]]]:
    for recorded in recording.frames():
        if recorded.index not in chosen:
            continue
        try:
            yield recorded, recorded.pixels()
        except FrameDecodeError:
            left_out["picture damaged"] = left_out.get("picture damaged", 0) + 1


def select(
    seen: Seen, budget: int, priority: Mapping[str, float] | None = None, overhead: int = 0
) -> Selection:
    """Choose what to send.

    Args:
        seen: the run.
        budget: bytes that all of it may take, the manifest included.
        priority: label -> how much it matters; 1 where it is not named.
        overhead: bytes that the container adds for a file with a name of no length; twice the
            length of a name comes on top where this is above 0.

    Raises:
        ConfigError: the budget does not even take the manifest.
    """
    priority = dict(priority or {})
    total = _least(seen, budget, priority) + _added(overhead, MANIFEST)
    if total > budget:
        raise ConfigError(
            f"--bytes {budget}: the manifest alone needs {total}; allow at least that, and some "
            "thousand more for pictures"
        )
    kept: list[Ranked] = []
    for ranked in Order(seen.sights, seen.products, priority, _added(overhead, " " * 21)):
        cost = len(_entry(ranked, seen)) + 1 + _added(overhead, ranked.product.name)
        if total + ranked.product.size + cost > budget:
            break
        total += ranked.product.size + cost
        kept.append(ranked)
    manifest = _manifest(seen, budget, priority, kept)
    sent = sum(r.product.size + _added(overhead, r.product.name) for r in kept)
    return Selection(
        manifest=manifest,
        ranked=tuple(kept),
        total=len(manifest) + sent + _added(overhead, MANIFEST),
        coverage=cover(seen.sights, {r.product.index for r in kept if _shows(r.product)}),
        plain=every_kth(seen.sights, [_full(products) for products in seen.products], budget),
    )


def _added(overhead: int, name: str) -> int:
    return overhead + 2 * len(name) if overhead else 0


def _shows(product: Product) -> bool:
    return product.kind in ("thumbnail", "full")


def _full(products: list[Product]) -> int:
    return next(p.size for p in products if p.kind == "full")


def _entry(ranked: Ranked, seen: Seen) -> bytes:
    """Return a product's line in the manifest: file, bytes, CRC-32, gain, reason."""
    product = ranked.product
    line = [
        product.name,
        product.size,
        f"{seen.sums[product.name]:08x}",
        float(f"{ranked.gain:.2e}"),
        ranked.why,
    ]
    return json.dumps(line, separators=(",", ":")).encode()


def _manifest(seen: Seen, budget: int, priority: Mapping[str, float], kept: list[Ranked]) -> bytes:
    """Return the manifest: what is sent and why, and what is not."""
    names = {ranked.product.name for ranked in kept}
    pictures = {ranked.product.index for ranked in kept if _shows(ranked.product)}
    touched = {ranked.product.index for ranked in kept}
    left: dict[str, dict[str, int]] = {kind: {"files": 0, "bytes": 0} for kind in KINDS}
    for product in (p for products in seen.products for p in products if p.name not in names):
        left[product.kind]["files"] += 1
        left[product.kind]["bytes"] += product.size
    head = _head(seen, budget, priority)
    head["sent"] = {
        "files": len(kept),
        "bytes": sum(ranked.product.size for ranked in kept),
        "frames": len(touched),
        "frames_with_picture": len(pictures),
    }
    head["left"] = {
        "for_want_of_bytes": left,
        "frames_without_anything": len(seen.sights) - len(touched),
        "frames_not_ranked": seen.left_out,
    }
    return _joined(head, [_entry(ranked, seen) for ranked in kept])


def _head(seen: Seen, budget: int, priority: Mapping[str, float]) -> dict[str, Any]:
    return {
        "schema": 1,
        "budget_bytes": budget,
        "frames": len(seen.sights),
        "priority": dict(priority),
        "mask_format": MASK_FORMAT,
        "columns": ["file", "bytes", "crc32", "gain", "why"],
    }


def _joined(head: Mapping[str, Any], entries: list[bytes]) -> bytes:
    text = json.dumps(head, separators=(",", ":")).encode()
    return text[:-1] + b',"products":[' + b",".join(entries) + b"]}\n"


def _least(seen: Seen, budget: int, priority: Mapping[str, float]) -> int:
    """Return the length of a manifest without products, with every number as long as it can be."""
    everything = [product for products in seen.products for product in products]
    files, size = len(everything), sum(product.size for product in everything)
    frames = len(seen.sights)
    head = _head(seen, budget, priority)
    head["sent"] = {
        "files": files,
        "bytes": size,
        "frames": frames,
        "frames_with_picture": frames,
    }
    head["left"] = {
        "for_want_of_bytes": {kind: {"files": files, "bytes": size} for kind in KINDS},
        "frames_without_anything": frames,
        "frames_not_ranked": seen.left_out,
    }
    return len(_joined(head, []))
