"""What `rille bundle inspect` tells, on the terminal and as a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rille.backends.anatomy import anatomy
from rille.bundle import Bundle, shipped_bundles, write_bundle
from rille.report.facts import facts
from rille.report.measured import measure

Rille = Callable[..., int]


class Page(HTMLParser):
    """Collects what a page fetches and which tags it leaves open."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [v for k, v in attrs if k in ("src", "href") and v]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass


@pytest.mark.parametrize("name", shipped_bundles())
def test_the_page_of_every_shipped_bundle(rille: Rille, tmp_path: Path, name: str) -> None:
    path = tmp_path / "page.html"
    assert rille("bundle", "inspect", name, "--html", path) == 0
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert page.open == [] and all(src.startswith("data:image/png") for src in page.fetched)
    assert "Parity" in text and "left outside of XNNPACK" in text and "p95" in text
    assert text.count("<svg") >= 2 and name in text


def test_a_page_is_written_whole_or_not_at_all(rille: Rille, tmp_path: Path) -> None:
    assert rille("bundle", "inspect", "moon-scene", "--html", tmp_path / "no" / "page.html") == 3
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_says_nothing_of_itself(
    rille: Rille, tmp_path: Path, mars_bundle: Bundle
) -> None:
    bare = replace(mars_bundle.manifest, metrics={"parity": {}}, provenance={}, golden_images=())
    variants = {k: replace(v, golden={}) for k, v in bare.variants.items()}
    bundle = write_bundle(
        tmp_path / "bare", replace(bare, variants=variants, summary="<b>"), mars_bundle.files
    )
    path = tmp_path / "page.html"
    assert rille("bundle", "inspect", bundle.where, "--html", path) == 0
    assert (
        "<b>" not in re.sub(r'<div class="card"><b>', "", path.read_text()).split("</h1>")[1][:80]
    )
    assert rille("bundle", "inspect", bundle.where) == 0


def test_layers_left_in_float_are_told(mars_bundle: Bundle) -> None:
    assert "in float" not in dict(facts(mars_bundle))
    left = {"layers_in_float": {"onnx-int8": ["conv2d", "light"]}}
    manifest = replace(mars_bundle.manifest, provenance=mars_bundle.manifest.provenance | left)
    assert dict(facts(replace(mars_bundle, manifest=manifest)))["in float"] == (
        "onnx-int8: conv2d, light"
    )


def test_what_a_network_is_made_of(mars_bundle: Bundle, craters_bundle: Bundle) -> None:
    plain = anatomy(mars_bundle.files["model.int8.tflite"])
    assert plain.parts == 1 and plain.outside == {}
    assert plain.operations["DEPTHWISE_CONV_2D"] == 17
    assert 2_200_000 < plain.weight_bytes < len(mars_bundle.files["model.int8.tflite"])
    # The widest place of MobileNetV2: 96 channels of 112 x 112 in, of 56 x 56 out.
    assert plain.activation_bytes == 96 * (112 * 112 + 56 * 56)
    split = anatomy(craters_bundle.files["model.int8.tflite"])
    assert split.parts == 2 and split.outside["REVERSE_V2"] == 4


def test_measured_on_this_machine(mars_bundle: Bundle) -> None:
    found = measure(mars_bundle, "tflite-int8", [1])
    assert len(found.spent_ms[1]) == 200
    assert 0 < found.percentile(1, 0.5) <= found.percentile(1, 0.95)
    assert any("p95" in line for line in found.lines())
