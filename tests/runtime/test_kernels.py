"""The compiled kernels for pictures against OpenCV and NumPy, to the bit, with each library."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rille import kernels
from rille.errors import BackendUnavailableError
from rille.kernels import library

from . import plain_pixels as plain

pytestmark = pytest.mark.usefixtures("each_library")
X86 = platform.machine() == "x86_64"
SIZES = [(480, 640), (47, 53), (4, 6), (100, 1000), (2, 2), (1, 1), (1, 9), (9, 1), (241, 322)]

ROWS = np.zeros((2, 4), np.int16)


def picture(seed: int, *shape: int) -> NDArray[np.uint8]:
    """Noise that is not the same everywhere, with parts that are black and white."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.integers(0, 256, shape, np.uint8), (0, 0), 2).astype(np.float64)
    noise = (noise - noise.mean()) * 7 + 120 + rng.normal(0, 3, noise.shape)
    return np.asarray(np.clip(noise, 0, 255), np.uint8).reshape(shape)


@pytest.mark.parametrize("size", SIZES)
def test_grey_is_opencvs(size: tuple[int, int]) -> None:
    pixels = picture(1, *size, 3)
    np.testing.assert_array_equal(kernels.gray(pixels), cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def test_grey_of_every_colour_is_opencvs() -> None:
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    every = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(52, -1, 3)
    np.testing.assert_array_equal(kernels.gray(every), cv2.cvtColor(every, cv2.COLOR_RGB2GRAY))


def resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """What resizing is to give; OpenCV's own elsewhere is another one."""
    expected = plain.resize(pixels, *size)
    if X86:
        opencvs = cv2.resize(pixels, size[::-1]).reshape(expected.shape)
        if (pixels.shape[0], pixels.shape[1]) == (2 * size[0], 2 * size[1]):
            return np.asarray(opencvs, np.uint8)  # it averages there
        np.testing.assert_array_equal(expected, opencvs)
    return expected


@pytest.mark.parametrize("shape", [s for s in SIZES if min(s) > 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_half_size_is_opencvs(shape: tuple[int, int], channels: int) -> None:
    pixels = picture(2, *shape, *((3,) if channels == 3 else ()))
    expected = resized(pixels, (shape[0] // 2, shape[1] // 2))
    np.testing.assert_array_equal(kernels.halve(pixels), expected)
    if not (shape[0] % 2 or shape[1] % 2):
        few = pixels.reshape(shape[0] // 2, 2, shape[1] // 2, 2, -1).astype(int).sum(axis=(1, 3))
        np.testing.assert_array_equal(expected, ((few + 2) >> 2).reshape(expected.shape))


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 90)] * 2),
    made=st.tuples(*[st.integers(1, 90)] * 2),
    channels=st.sampled_from([1, 3]),
    flip=st.booleans(),
)
def test_resizing_is_opencvs(
    size: tuple[int, int], made: tuple[int, int], channels: int, flip: bool
) -> None:
    deep = (3,) if channels == 3 else ()
    pixels = picture(3, *size, *deep)
    around = np.full((made[0] + 2, made[1] + 2, *deep), 77, np.uint8)
    inner = around[1:-1, 1:-1]
    assert kernels.resize(pixels, inner, flip=flip) is inner
    np.testing.assert_array_equal(inner, resized(pixels, made) ^ np.uint8(128 * flip))
    around[1:-1, 1:-1] = 77
    assert (around == 77).all()  # nothing was written beside it


@pytest.mark.parametrize("made", [(224, 224), (416, 416), (256, 256), (33, 700)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_frames_is_opencvs(made: tuple[int, int], channels: int) -> None:
    pixels = picture(4, 480, 640, *((3,) if channels == 3 else ()))
    out = np.empty((*made, *pixels.shape[2:]), np.uint8)
    np.testing.assert_array_equal(kernels.resize(pixels, out), resized(pixels, made))


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 70)] * 2),
    tiles=st.integers(1, 9),
    clip_limit=st.sampled_from([0.01, 0.5, 2.0, 40.0, 1000.0]),
    flip=st.booleans(),
)
def test_clahe_is_opencvs(size: tuple[int, int], tiles: int, clip_limit: float, flip: bool) -> None:
    image = picture(5, *size)
    around = np.full((size[0] + 2, size[1] + 2), 77, np.uint8)
    inner = around[1:-1, 1:-1]
    assert kernels.clahe(image, clip_limit, tiles, inner, flip=flip) is inner
    expected = plain.clahe(image, clip_limit, tiles)
    np.testing.assert_array_equal(inner, expected ^ np.uint8(128 * flip))
    if X86:  # elsewhere OpenCV's own is compiled to round otherwise
        opencvs = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(image)
        np.testing.assert_array_equal(expected, opencvs)
    around[1:-1, 1:-1] = 77
    assert (around == 77).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("n", [1, 127, 128, 129, 1280])
def test_products_are_exact(dtype: str, n: int) -> None:
    rng = np.random.default_rng(12)
    stored = rng.integers(0, 256, n).astype(np.uint8).view("int8" if dtype == "int8" else "uint8")
    rows = rng.integers(-(2**15), 2**15, (5, n)).astype(np.int16)
    rows[0], zero = -(2**15), int(np.iinfo(stored.dtype).min)
    multiply = kernels.ProductSums(rows, np.dtype(dtype), zero)
    for values in (stored, np.full_like(stored, np.iinfo(stored.dtype).max)):
        x = values.astype(np.int64) - zero
        expected = [*(rows.astype(np.int64) @ x).tolist(), int(x @ x)]
        assert multiply(values.astype(dtype)) == expected
        doubled = np.repeat(values.astype(dtype), 2)
        assert multiply(doubled[::2]) == expected


@pytest.mark.parametrize("size", [(240, 320), (1, 1), (1, 9), (9, 1), (2, 2), (3, 9001), (47, 53)])
def test_a_look_sums_up(size: tuple[int, int]) -> None:
    plane = picture(9, *size)
    found = kernels.look(plane, 250)
    bend = cv2.Laplacian(plane, cv2.CV_16S, ksize=1).astype(np.float64)
    assert found.mean == pytest.approx(plane.mean(), rel=1e-12)
    assert found.deviation == pytest.approx(plane.std(), rel=1e-9)
    assert found.bright == np.count_nonzero(plane >= 250)
    assert found.detail == pytest.approx(bend.std(), rel=1e-9)


def test_any_changed_pixel_changes_the_digest() -> None:
    plane = picture(10, 23, 37)
    digests = {kernels.look(plane, 250).digest}
    for at in range(plane.size):
        other = plane.copy()
        other.flat[at] ^= 1
        digests.add(kernels.look(other, 250).digest)
    assert len(digests) == plane.size + 1


def test_the_brightest_and_roughest_pictures_do_not_overflow() -> None:
    board = (np.indices((400, 9000)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = kernels.look(board, 250)
    assert found.mean == found.deviation == 127.5 and found.detail == 1020.0
    white = np.full((400, 9000), 255, np.uint8)
    assert kernels.look(white, 250)[:4] == (255.0, 0.0, white.size, 0.0)
    out = np.empty((77, 83), np.uint8)
    assert (kernels.resize(white, out) == 255).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: kernels.gray(np.zeros((4, 4), np.uint8)),
        lambda: kernels.gray(np.zeros((4, 4, 3), np.int8)),
        lambda: kernels.halve(np.zeros((4, 4, 2), np.uint8)),
        lambda: kernels.halve(np.zeros((0, 4), np.uint8)),
        lambda: kernels.halve(np.zeros((1, 4), np.uint8)),
        lambda: kernels.resize(np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint8)),
        lambda: kernels.resize(np.zeros((4, 4), np.uint8), np.zeros((4, 8), np.uint8)[:, ::2]),
        lambda: kernels.resize(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.int8)),
        lambda: kernels.resize(np.zeros((4, 4), np.uint8), np.zeros((0, 4), np.uint8)),
        lambda: kernels.clahe(np.zeros((4, 4), np.uint8), 2.0, 2, np.zeros((4, 5), np.uint8)),
        lambda: kernels.clahe(np.zeros((4, 4, 3), np.uint8), 2.0, 2),
        lambda: kernels.look(np.zeros((0, 4), np.uint8), 250),
        lambda: kernels.ProductSums(ROWS, np.dtype(np.int8), 0)(np.zeros(3, np.int8)),
        lambda: kernels.ProductSums(ROWS, np.dtype(np.int8), 0)(np.zeros(4, np.uint8)),
        lambda: kernels.ProductSums(ROWS, np.dtype(np.int8), 128),
        lambda: kernels.ProductSums(ROWS.astype(np.int32), np.dtype(np.int8), 0),
    ],
)
def test_what_a_kernel_cannot_take_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"^(no |an image of |out is |not what)"):
        call()


def test_memory_that_cannot_be_written_is_refused() -> None:
    fixed = np.zeros((4, 4), np.uint8)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="cannot be written"):
        kernels.resize(np.zeros((4, 4), np.uint8), fixed)


def test_the_library_for_a_processor(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("processor : 0\nflags : fpu sse sse2 ssse3\n")
    new.write_text("flags\t\t: fpu avx2 bmi1 bmi2 f16c fma abm movbe\n")
    assert library.kind_here("x86_64", old) == "x86_64"
    assert library.kind_here("AMD64", new) == "x86_64_v3"
    assert library.kind_here("x86_64", tmp_path / "none") == "x86_64"
    assert library.kind_here("aarch64", old) == "aarch64"
    with pytest.raises(BackendUnavailableError, match=r"'riscv64'.*make kernels"):
        library.kind_here("riscv64")


def test_a_library_that_is_missing_or_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailableError, match=r"kernels-none\.so: cannot be loaded"):
        library.load("none")
    monkeypatch.setitem(library._CALLS, "rille_other", ([], None))
    library.load.cache_clear()
    with pytest.raises(BackendUnavailableError, match=r"cannot be loaded.*rille_other"):
        library.load(library.kind_here())
    library.load.cache_clear()


def test_libraries_ask_for_nothing_but_the_c_library() -> None:
    """A library that a vehicle's system lacks would be noticed there only."""
    for path in Path(library.__file__).parent.glob("*.so"):
        content = path.read_bytes()
        assert content[:4] == b"\x7fELF" and content.count(b".so.") <= 2, path.name
    assert ctypes.sizeof(ctypes.c_void_p) == 8
