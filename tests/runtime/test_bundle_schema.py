"""The published schema of `manifest.json` and the code that reads it agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rille.bundle import load_bundle, shipped_bundles
from rille.bundle.json_schema import manifest_schema
from rille.bundle.manifest import parse_manifest
from rille.errors import ManifestError

jsonschema = pytest.importorskip("jsonschema", reason="the test group is not installed")


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = manifest_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", shipped_bundles())
def test_every_shipped_manifest_is_valid(validator: Any, name: str) -> None:
    validator.validate(json.loads(load_bundle(name).text))


def put(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value

    return change


VARIANT = ("variants", "tflite-int8")
KNOWN = {"file": "familiarity.bin", "numbers": 1280, "steps": [0.1], "strangeness": 0.4}


@pytest.mark.parametrize(
    "change",
    [
        put("schema", value=1),
        put("task", value="divination"),
        put("name", value="../evil"),
        put("labels", value=[]),
        put("labels", 0, value={"id": "0", "name": "apxs"}),
        put("surprise", value=1),
        put("files", "../evil", value={"bytes": 1, "sha256": "0" * 64}),
        put("files", "golden.0.png", "bytes", value=-1),
        put("files", "golden.0.png", "sha256", value="abc"),
        put("decision", "temperature", value=0),
        put("decision", "abstain_below", value=1.5),
        put("decision", "max_features", value=0),
        put("decision", "hidden", value=0),
        put("variants", value={}),
        put(*VARIANT, "target", value="pickle"),
        put(*VARIANT, "input", "dtype", value="object"),
        put(*VARIANT, "input", "shape", value=[1, -1]),
        put(*VARIANT, "input", "scale", value=0),
        put(*VARIANT, "input", value=None),
        put("golden_images", value="golden.0.png"),
        put("preprocess", value={"op": "rgb"}),
        put("version", value=3),
        put("familiarity", value={**KNOWN, "strangeness": 0}),
        put("familiarity", value={**KNOWN, "steps": [0]}),
        put("familiarity", value={**KNOWN, "numbers": 0}),
        put("familiarity", value={**KNOWN, "doubt": 1.5}),
        put("familiarity", value={**KNOWN, "hidden": 0}),
        put("familiarity", value=[]),
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(validator: Any, change: Any) -> None:
    table = json.loads(load_bundle("mars-msl24").text)
    assert validator.is_valid(table)
    change(table)
    assert not validator.is_valid(table)
    with pytest.raises(ManifestError):
        parse_manifest(json.dumps(table).encode(), "test")


def test_the_command_prints_it(
    rille: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rille("bundle", "schema") == 0
    assert json.loads(capsys.readouterr().out) == manifest_schema()
