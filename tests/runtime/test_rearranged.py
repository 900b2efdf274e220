"""Engines run networks in quicker steps, and answer as the file does, to the bit."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rille.backends import litert, open_backend
from rille.bundle import load_bundle, shipped_bundles
from rille.errors import ManifestError
from rille.images import decode_image
from rille.preprocess import Preprocessor

pytest.importorskip(
    "ai_edge_litert", reason="only ai-edge-litert can be asked what is in a network"
)

from rille.backends.rearrange import Rearranger, rearranged
from rille.backends.rearrange.graph import KINDS, Graph
from rille.backends.rearrange.tiles import AMX, VECTORS, Tiles, tiles_here


def content(name: str) -> tuple[bytes, Any]:
    bundle = load_bundle(name)
    form = bundle.variant()[1]
    return bundle.files[form.file], form


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("tiles", [None, AMX, VECTORS], ids=["here", "amx", "vectors"])
@pytest.mark.parametrize("name", shipped_bundles())
def test_the_answers_of_the_file_to_the_bit(name: str, tiles: Tiles | None, threads: int) -> None:
    bundle = load_bundle(name)
    model, form = content(name)
    assert rearranged(model, tiles) is not model
    plain = open_backend(model, form, name="litert-plain", threads=threads)
    if tiles is None:
        quick = open_backend(model, form, threads=threads)
        assert plain.name == f"{quick.name} plain"
    else:
        quick = open_backend(rearranged(model, tiles), form, name="litert-plain", threads=threads)
    prepare = Preprocessor(bundle.manifest.ops, form.input)
    rng = np.random.default_rng(5)
    pictures = [
        decode_image(bundle.files[golden], golden) for golden in bundle.manifest.golden_images
    ]
    pictures += [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
    pictures += [rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)]
    for picture in pictures:
        tensor = prepare(picture)[0]
        found, wanted = quick.infer(tensor), plain.infer(tensor)
        assert found.keys() == wanted.keys() == form.outputs.keys()
        for role, values in wanted.items():
            assert np.array_equal(found[role], values), role
    quick.close()
    plain.close()


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("flags\t\t: fpu avx2 amx_bf16 amx_tile amx_int8\n", AMX),
        ("flags\t\t: fpu avx2 avx512_vnni amx_tile\n", VECTORS),
        ("Features\t: fp asimd asimddp\n", VECTORS),
    ],
)
def test_the_processor_tells_what_it_computes_at_a_time(
    flags: str, found: Tiles, tmp_path: Path
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\n{flags}")
    assert tiles_here(told) is found
    assert tiles_here(tmp_path / "none") is VECTORS


@given(
    outputs=st.integers(1, 200),
    inputs=st.integers(1, 200),
    width=st.integers(1, 416),
    tiles=st.sampled_from([AMX, VECTORS]),
)
def test_pixels_are_joined_only_where_that_costs_less(
    outputs: int, inputs: int, width: int, tiles: Tiles
) -> None:
    kernel = outputs, 1, 1, inputs
    before = tiles.cost(kernel)
    count = tiles.best(kernel, width, before)
    if count:
        assert count > 1 and width % count == 0
        assert tiles.cost(kernel, count) < 0.95 * before
    if outputs % tiles.outputs == 0:
        assert not count, "no tile is idle"
    if outputs == 1 and inputs <= 16 and width % 4 == 0:
        assert count >= 4


def test_a_network_is_rearranged_once() -> None:
    model, _ = content("moon-craters")
    keep = Rearranger(most=2)
    first = keep(model)
    assert first == rearranged(model)
    assert keep(bytes(bytearray(model))) is first
    for other in ("moon-rocks", "mars-msl24"):
        keep(content(other)[0])
    assert keep(model) is not first and keep(model) == first


def test_weights_without_a_plain_zero_are_left_alone() -> None:
    """Products with zero are what fills the gaps."""

    def blocks(model: bytes) -> int:
        return len(Graph(rearranged(model)).steps(KINDS.SPACE_TO_DEPTH))

    model, _ = content("moon-craters")
    graph = Graph(model)
    kernel = graph.steps(KINDS.CONV_2D)[0].inputs[1]
    zeros = graph._graph.tensors[kernel].quantization.zeroPoint
    graph._graph.tensors[kernel].quantization.zeroPoint = np.ones_like(zeros)
    assert blocks(model) == 2 and blocks(graph.packed()) == 1


def test_a_flipped_bit_in_what_is_kept_is_noticed() -> None:
    model, _ = content("moon-craters")
    keep = Rearranger()
    whole = keep(model)
    ((key, (made, digest)),) = keep._kept.items()
    spoilt = bytearray(made)
    spoilt[len(spoilt) // 2] ^= 1
    keep._kept[key] = bytes(spoilt), digest
    assert keep(model) == whole


def no_table(model: bytes) -> bytes:
    raise KeyError(len(model))


def no_network(model: bytes) -> bytes:
    return model[: len(model) // 2]


@pytest.mark.parametrize("strange", [no_table, no_network])
def test_what_cannot_be_rearranged_runs_as_it_is_and_says_so(
    strange: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault is planted: there is no sound network at hand on which it fails."""
    model, form = content("moon-craters")
    tensor = np.zeros(form.input.shape, np.int8)
    wanted = open_backend(model, form, threads=1).infer(tensor)
    monkeypatch.setattr(litert, "_rearranger", lambda: strange)
    with pytest.warns(RuntimeWarning, match=r"model\.int8\.tflite: its steps cannot be rearranged"):
        engine = open_backend(model, form, threads=1)
    for role, values in engine.infer(tensor).items():
        assert np.array_equal(values, wanted[role])


def test_a_damaged_file_is_refused_by_litert_first() -> None:
    model, form = content("moon-craters")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for damaged in (model[: len(model) // 2], b"\xff" * 64 + model[64:], b""):
            with pytest.raises(ManifestError, match="not a network"):
                open_backend(damaged, form, threads=1)


def test_neither_exact_nor_plain_engines_read_the_file_themselves() -> None:
    """The module that does is large, and a board that runs exactly never needs it."""
    code = (
        "import sys\n"
        "from rille.backends import open_backend\n"
        "from rille.bundle import load_bundle\n"
        "bundle = load_bundle('mars-msl24')\n"
        "form = bundle.variant()[1]\n"
        "for name in ('litert-plain', 'litert-exact'):\n"
        "    open_backend(bundle.files[form.file], form, name=name, threads=1)\n"
        "assert 'ai_edge_litert.schema_py_generated' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
