"""The JSON schema of `manifest.json`, made from the dataclasses that read it."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from rille.bundle.manifest import (
    LIGHTS,
    MAX_FEATURES,
    MAX_FILE_BYTES,
    MAX_ROWS,
    SCHEMA,
    TARGETS,
    TASKS,
    Manifest,
)

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Any: {},
}
# What the dataclasses check for themselves, where a schema can say it too.
_RANGES: dict[tuple[str, str], dict[str, Any]] = {
    ("Manifest", "schema"): {"const": SCHEMA},
    ("Manifest", "task"): {"enum": list(TASKS)},
    ("Manifest", "name"): {"pattern": "^[a-z0-9][a-z0-9-]{0,63}$"},
    ("Manifest", "labels"): {"minItems": 1},
    ("Manifest", "light"): {"enum": list(LIGHTS)},
    ("Manifest", "variants"): {"minProperties": 1},
    ("Manifest", "files"): {"propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}},
    ("FileEntry", "bytes"): {"minimum": 0, "maximum": MAX_FILE_BYTES},
    ("FileEntry", "sha256"): {"pattern": "^[0-9a-f]{64}$"},
    ("Variant", "target"): {"enum": list(TARGETS)},
    ("TensorSpec", "dtype"): {"enum": ["float32", "int8", "uint8", "int16"]},
    ("TensorSpec", "shape"): {"minItems": 1, "items": {"type": "integer", "minimum": 1}},
    ("TensorSpec", "scale"): {"exclusiveMinimum": 0},
    ("Familiarity", "numbers"): {"minimum": 1, "maximum": MAX_FEATURES},
    ("Familiarity", "steps"): {
        "minItems": 1,
        "maxItems": MAX_ROWS,
        "items": {"type": "number", "exclusiveMinimum": 0},
    },
    ("Familiarity", "strangeness"): {"exclusiveMinimum": 0},
    ("Familiarity", "doubt"): {"exclusiveMinimum": 0, "maximum": 1},
    ("Decision", "temperature"): {"exclusiveMinimum": 0},
    **{
        ("Decision", key): {"minimum": 0, "maximum": 1}
        for key in ("abstain_below", "mask_threshold", "mask_from_features", "feature_threshold")
    },
    ("Decision", "min_diameter_px"): {"minimum": 0},
    ("Decision", "max_features"): {"minimum": 1, "maximum": 4096},
}


def manifest_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema, draft 2020-12).

    What it cannot say, that a file named by a variant is listed or that there are as many logits
    as labels, is checked when a bundle is read.
    """
    defined: dict[str, Any] = {}
    top = _object(Manifest, defined)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"rille bundle manifest, schema {SCHEMA}",
        **top,
        "$defs": defined,
    }


def _object(kind: Any, defined: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [
            f.name
            for f in fields
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ],
        "properties": {
            f.name: {
                **_type(hints[f.name], defined),
                **_RANGES.get((kind.__name__, f.name), {}),
            }
            for f in fields
        },
    }


def _type(hint: Any, defined: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_type(a, defined) for a in arguments if a is not type(None)]}
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0], defined)}
    if origin is dict or hint is dict:
        inner = _type(arguments[1], defined) if arguments else {}
        return {"type": "object", "additionalProperties": inner or True}
    if dataclasses.is_dataclass(hint):
        name = getattr(hint, "__name__", str(hint))
        if name not in defined:
            defined[name] = {}
            defined[name] = _object(hint, defined)
        return {"$ref": f"#/$defs/{name}"}
    return dict(_SCALARS[hint])
