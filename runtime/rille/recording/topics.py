"""What a recording holds: its topics, and the JSON Schemas of the messages that are rille's own."""

from __future__ import annotations

import json
from typing import Any

IMAGE = "/camera/image"
"""foxglove.CompressedImage: the frame, PNG unless asked otherwise."""
RESULT = "/rille/result"
"""rille.Result, JSON: what `results.jsonl` has, with digests and clock readings."""
ANNOTATIONS = "/rille/annotations"
"""foxglove.ImageAnnotations: features as outlines, and the classification in words."""
MASK = "/rille/mask"
"""foxglove.CompressedImage: the mask as the network gave it, PNG; pixel k is label k - 1."""
LOG = "/rille/log"
"""foxglove.Log: events as words for people."""
EVENTS = "/rille/events"
"""rille.Event, JSON: events with everything that is known of them."""

ABOUT = "rille"
"""Name of the metadata: the machine, the offset of the clock, how pixels are kept."""
CONFIG = "run.toml"
"""Name of the attachment with the run's configuration."""
BUNDLES = "bundles.json"
"""Name of the attachment with source, versions, and of each stage the bundle and the engine."""

_NUMBER = {"type": "number"}
_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}
_MAYBE_OBJECT = ["object", "null"]


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


_FEATURE = _object(
    "label x_px y_px semi_major_px semi_minor_px angle_deg area_px score",
    label=_TEXT,
    x_px=_NUMBER,
    y_px=_NUMBER,
    semi_major_px=_NUMBER,
    semi_minor_px=_NUMBER,
    angle_deg=_NUMBER,
    area_px=_NUMBER,
    score=_NUMBER,
)
_CLASSIFICATION = _object(
    "label label_id probability entropy abstained",
    label=_TEXT,
    label_id=_WHOLE,
    probability=_NUMBER,
    entropy=_NUMBER,
    abstained={"type": "boolean"},
    ood_score={**_NUMBER, "minimum": 0},
    out_of_distribution={"type": "boolean"},
    labels={"type": "object", "additionalProperties": _NUMBER},
)
_SEGMENTATION = _object(
    "coverage shares features",
    coverage=_NUMBER,
    shares={"type": "object", "additionalProperties": _NUMBER},
    features={"type": "array", "items": _FEATURE},
)
RESULT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "rille.Result",
    **_object(
        "frame state captured_ns published_ns deadline_ms level",
        frame={**_WHOLE, "minimum": 0},
        name=_TEXT,
        state={"enum": ["ok", "late", "dropped", "failed"]},
        captured_ns=_WHOLE,
        published_ns=_WHOLE,
        source_ns=_WHOLE,
        age_ms=_NUMBER,
        deadline_ms=_NUMBER,
        level=_TEXT,
        shed={"type": "array", "items": _TEXT},
        quality={"type": "array", "items": _TEXT},
        timings_ms={"type": "object", "additionalProperties": _NUMBER},
        readings_ns={"type": "object", "additionalProperties": _WHOLE},
        classification={**_CLASSIFICATION, "type": _MAYBE_OBJECT},
        segmentation={**_SEGMENTATION, "type": _MAYBE_OBJECT},
        digests={"type": "object", "additionalProperties": _TEXT},
        grid={"type": "object", "additionalProperties": _NUMBER},
    ),
}
EVENT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "rille.Event",
    **_object(
        "event severity serial at_ns text values held_back",
        event=_TEXT,
        severity=_TEXT,
        serial=_WHOLE,
        at_ns=_WHOLE,
        text=_TEXT,
        values={"type": "object"},
        held_back=_WHOLE,
    ),
}


def schema_bytes(schema: dict[str, Any]) -> bytes:
    """Return a schema as a recording carries it."""
    return json.dumps(schema, separators=(",", ":")).encode()
