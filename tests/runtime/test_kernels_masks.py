"""The compiled kernels for masks and features against OpenCV, NumPy and plain loops."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rille import kernels
from rille.ellipse import Ellipse, draw_ellipses

pytestmark = pytest.mark.usefixtures("each_library")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 5, 6, 7, 256])
def test_the_largest_is_argmax(dtype: str, channels: int) -> None:
    rng = np.random.default_rng(6)
    raw = rng.integers(-9, 9, (31, 17, channels)).astype(dtype)  # few numbers: ties
    np.testing.assert_array_equal(kernels.largest(raw), raw.argmax(axis=2))


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), max_size=30),
    values=st.lists(st.integers(0, 255), min_size=1, max_size=4),
)
def test_counts_are_numpys(lengths: list[int], values: list[int]) -> None:
    """Runs of equal values, as masks have them, of every length and beginning anywhere."""
    runs = [np.full(n, values[k % len(values)], np.uint8) for k, n in enumerate(lengths)]
    mask = np.concatenate([np.zeros(0, np.uint8), *runs])
    np.testing.assert_array_equal(kernels.counts(mask), np.bincount(mask, minlength=256))
    noise = np.random.default_rng(7).integers(0, 7, (33, 41)).astype(np.uint8)
    np.testing.assert_array_equal(kernels.counts(noise), np.bincount(noise.ravel(), minlength=256))


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 150)),
    dtype=st.sampled_from(["int8", "uint8", "int16", "float32"]),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([2, 60]),
    above=st.sampled_from([-np.inf, -40.0, -0.5, 0.0, 0.3, 30.0, 127.0, 300.0, np.inf]),
)
def test_peaks_are_those_of_a_dilation(
    size: tuple[int, int], dtype: str, seed: int, spread: int, above: float
) -> None:
    rng = np.random.default_rng(seed)
    least = 0 if dtype == "uint8" else -spread
    values = rng.integers(least, spread, size, endpoint=True).astype(dtype)
    wide = values.astype(np.float32)
    peak = (wide == cv2.dilate(wide, np.ones((3, 3), np.uint8)).reshape(size)) & (wide > above)
    at, around = kernels.PeakFinder(size, np.dtype(dtype))(values, above)
    np.testing.assert_array_equal(at, np.flatnonzero(peak))
    rows, columns = np.divmod(at, size[1])
    far = np.pad(wide, 1, mode="edge")
    for place, (dy, dx) in enumerate([(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)]):
        np.testing.assert_array_equal(around[:, place], far[rows + 1 + dy, columns + 1 + dx])


def test_every_cell_of_a_plain_is_a_peak_and_a_byte_has_its_limits() -> None:
    for dtype, value in (("int8", 127), ("int8", -128), ("uint8", 255), ("uint8", 0)):
        plain_map = np.full((70, 9), value, dtype)
        find = kernels.PeakFinder((70, 9), np.dtype(dtype))
        assert len(find(plain_map, value - 0.5)[0]) == plain_map.size
        assert len(find(plain_map, float(value))[0]) == 0


def boxes_by_hand(
    at: Any, around: Any, score: Any, sizes: Any, most: int, near: float
) -> list[tuple[float, ...]]:
    """What `kernels.boxes` says it does, peak by peak, in 23 columns of cells of 2 by 3."""
    kept: list[tuple[float, ...]] = []
    for i in np.argsort(-around[:, 0].astype(float), kind="stable")[:most]:
        place = []
        for middle, before, after in ((at[i] % 23, 1, 2), (at[i] // 23, 3, 4)):
            v = around[i].astype(float)
            bend = v[before] - 2 * v[0] + v[after]
            off = 0.5 * (v[before] - v[after]) / bend if bend < 0 else 0.0
            place.append(middle + min(0.5, max(-0.5, off)))
        x, y = (place[0] + 0.5) * 2 - 0.5, (place[1] + 0.5) * 3 - 0.5
        diameter = float(np.sqrt(sizes[i, 0] * sizes[i, 1]))
        repeats = any(
            np.hypot(x - one[0], y - one[1]) < near * min(diameter, one[5])
            and max(diameter, one[5]) < 1.5 * min(diameter, one[5])
            for one in kept
        )
        if not repeats:
            kept.append((x, y, *sizes[i], score[i], diameter))
    return kept


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(0, 40),
    seed=st.integers(0, 2**31),
    near=st.sampled_from([0.35, 2.0]),
    dtype=st.sampled_from(["int8", "uint8", "float32"]),
)
def test_boxes_are_those_made_by_hand(n: int, seed: int, near: float, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    at = np.sort(rng.choice(17 * 23, n, replace=False)).astype(np.int32)
    around = rng.integers(0, 100, (n, 5)).astype(dtype)
    score, sizes = rng.random(n), rng.uniform(2, 20, (n, 2))
    for most in (n, n // 2):
        found = kernels.boxes(
            *(at, around, score, sizes),
            columns=23,
            cell=(2.0, 3.0),
            most=most,
            near=near,
            alike=1.5,
        )
        expected = boxes_by_hand(at, around, score, sizes, most, near)
        np.testing.assert_allclose(found, np.reshape(expected, (-1, 6)), rtol=1e-13, atol=1e-13)


LIMITS = np.linspace(60, -90, 256)


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 40)] * 2),
    n=st.integers(0, 9),
    dtype=st.sampled_from(["int8", "uint8", "float32"]),
    seed=st.integers(0, 2**31),
    shift=st.sampled_from([-np.inf, -300.0, -40.3, 0.0, 127.0, 128.0, 300.0, np.inf]),
)
def test_what_is_believed_is_drawn_by_the_exact_filler(
    size: tuple[int, int], n: int, dtype: str, seed: int, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, size).astype(np.uint8)
    stored = raw.view(dtype) if dtype != "float32" else raw.astype(np.float32) - 99.5
    score = np.sort(rng.random(n))[::-1]
    x, y = rng.uniform(-9, 99, n), rng.uniform(-9, 99, n)
    rows = np.stack([x, y, *rng.uniform(0.1, 50, (2, n)), score, np.ones(n)], axis=1)
    limit = np.full(size, LIMITS[0] + shift)
    for x, y, width, height, sure, _ in rows[::-1]:
        inside = np.zeros(size, np.uint8)
        cells = Ellipse.from_box((x + 0.5) / 2 - 0.5, (y + 0.5) / 3 - 0.5, width / 2, height / 3)
        draw_ellipses(inside, [cells])
        limit[inside > 0] = LIMITS[int(np.floor(255 * sure + 0.5))] + shift
    mask = kernels.believed(stored, rows, LIMITS + shift, (2.0, 3.0))
    np.testing.assert_array_equal(mask, stored.astype(float) > limit)


def test_a_box_without_an_end_or_a_place_does_no_harm() -> None:
    raw = np.zeros((9, 9), np.int8)
    for wrong in (np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300):
        for place in range(6):
            row = np.array([[4.0, 4.0, 3.0, 3.0, 0.5, 3.0]])
            row[0, place] = wrong
            assert set(np.unique(kernels.believed(raw, row, LIMITS, (1.0, 1.0)))) <= {0, 1}


def by_hand(
    mask: NDArray[np.uint8], values: list[int], shares: NDArray[np.float64]
) -> list[tuple[Any, ...]]:
    """Regions of OpenCV's connected components, and sums of NumPy's."""
    found = []
    for value in values:
        number, labels = cv2.connectedComponents((mask == value).view(np.uint8), connectivity=8)
        for k in range(1, number):
            y, x = np.nonzero(labels == k)
            first = int(y[0]) * mask.shape[1] + int(x[0])
            moments = [len(x), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
            found.append((first, value, float(shares[y, x].sum()), [int(m) for m in moments]))
    return sorted(found)


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 40)] * 2),
    seed=st.integers(0, 2**31),
    smooth=st.sampled_from([0.1, 1.0, 3.0]),
)
def test_regions_are_opencvs(size: tuple[int, int], seed: int, smooth: float) -> None:
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random(size).astype(np.float32), (0, 0), smooth).reshape(size)
    spread = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-9)
    mask = (spread * 3.99).astype(np.uint8)
    shares = rng.random(size)
    found = kernels.RegionFinder(size, [1, 3])(mask, shares)
    expected = by_hand(mask, [1, 3], shares)
    assert found.value.tolist() == [row[1] for row in expected]
    assert found.moments.tolist() == [row[3] for row in expected]
    np.testing.assert_allclose(found.share, [row[2] for row in expected], rtol=1e-12)


def test_a_spiral_is_one_region_and_a_board_as_well() -> None:
    board = np.indices((40, 40)).sum(axis=0).astype(np.uint8) % 2
    comb = np.zeros((41, 60), np.uint8)
    comb[:, ::2], comb[-1] = 1, 1
    for mask in (board, board[::-1].copy(), comb, comb[::-1].copy()):
        sums = kernels.RegionFinder(mask.shape, [1])(mask, np.ones(mask.shape))
        assert sums.value.tolist() == [1]
        assert sums.moments[0, 0] == sums.share[0] == mask.sum()


def test_shares_are_those_of_the_table() -> None:
    rng = np.random.default_rng(8)
    raw = rng.integers(-128, 128, (19, 23, 6)).astype(np.int8)
    mask, table = kernels.largest(raw), rng.random(256)
    finder = kernels.RegionFinder((19, 23), [2, 5])
    powers = table[raw.view(np.uint8)]
    said = np.take_along_axis(powers, mask[:, :, None].astype(np.intp), axis=2)[:, :, 0]
    wanted = (mask == 2) | (mask == 5)
    found = finder.shares(raw, mask, table)
    np.testing.assert_allclose(found[wanted], (said / powers.sum(axis=2))[wanted], rtol=1e-12)
    np.testing.assert_array_equal(finder.cells(mask), np.flatnonzero(wanted))
    one = finder.shares(raw[:, :, :1], mask, table)
    np.testing.assert_array_equal(one[wanted], powers[:, :, 0][wanted])


def ellipses_by_hand(found: Any, score: float, diameter: float) -> Any:
    """What `kernels.chosen` says it does, in NumPy, for the source of the test below."""
    chosen = found.copy()
    chosen[:, 1], chosen[:, 2] = found[:, 1] * 2 - 3, found[:, 2] * 1.5 + 1
    chosen[:, 3:] *= (4, 2.25, 3, 1)
    area = np.maximum(found[:, 3] * found[:, 4] - found[:, 5] ** 2, 0)
    inside = (chosen[:, 1:3] >= -0.5).all(axis=1) & (chosen[:, 1:3] < (39.5, 29.5)).all(axis=1)
    fits = (found[:, 6] >= score) & (4 * area**0.25 >= diameter) & inside
    chosen = chosen[fits]
    return chosen[np.argsort(-chosen[:, 6], kind="stable")]


@settings(max_examples=150, deadline=None)
@given(n=st.integers(0, 70), seed=st.integers(0, 2**31), levels=st.sampled_from([2, 1000]))
def test_what_is_published_is_chosen_as_by_hand(n: int, seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    found = rng.uniform(-5, 25, (n, 7))
    found[:, 3:5] = np.abs(found[:, 3:5])
    found[:, 0], found[:, 6] = rng.integers(1, 5, n), rng.integers(0, levels, n) / levels
    rows = kernels.chosen(
        found, score=0.3, diameter=6.0, scale=(2.0, 1.5), shift=(-3.0, 1.0), size=(40, 30)
    )
    np.testing.assert_allclose(rows, ellipses_by_hand(found, 0.3, 6.0), rtol=1e-13, atol=1e-13)


def test_a_region_is_spread_as_its_points_are() -> None:
    rng = np.random.default_rng(5)
    mask = (rng.random((30, 40)) < 0.3).astype(np.uint8)
    shares = rng.random(mask.shape)
    found = kernels.spread(kernels.RegionFinder(mask.shape, [1])(mask, shares), (2.0, 3.0))
    number, labels = cv2.connectedComponents(mask, connectivity=8)
    assert len(found) == number - 1 > 3
    in_order = sorted(range(1, number), key=lambda k: int(np.flatnonzero(labels == k)[0]))
    for k, row in zip(in_order, found, strict=True):
        y, x = (np.nonzero(labels == k)[axis].astype(float) for axis in (0, 1))
        spread = ((x.var() + 1 / 12) * 4, (y.var() + 1 / 12) * 9, np.cov(x, y, bias=True)[0, 1] * 6)
        expected = (1, x.mean() * 2 + 0.5, y.mean() * 3 + 1, *spread, shares[labels == k].mean())
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)


def boxes(n: int, around: int, score: int, sizes: int) -> NDArray[np.float64]:
    """Boxes of arrays of these lengths."""
    return kernels.boxes(
        *(np.zeros(n, np.int32), np.zeros((around, 5)), np.zeros(score), np.ones((sizes, 2))),
        columns=4,
        cell=(1.0, 1.0),
        most=9,
        near=1.0,
        alike=1.0,
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: kernels.largest(np.zeros((4, 4, 257), np.int8)),
        lambda: kernels.counts(np.zeros((4, 4), np.int8)),
        lambda: kernels.PeakFinder((4, 4), np.dtype(np.int8))(np.zeros((4, 5), np.int8), 0.0),
        lambda: boxes(3, 3, 3, 2),
        lambda: boxes(3, 3, 2, 3),
        lambda: boxes(2, 3, 3, 3),
        lambda: boxes(3, 2, 3, 3),
        lambda: kernels.believed(np.zeros((2, 2)), np.zeros((1, 5)), LIMITS, (1.0, 1.0)),
        lambda: kernels.believed(np.zeros((2, 2)), np.zeros((1, 6)), LIMITS[1:], (1.0, 1.0)),
        lambda: kernels.chosen(
            np.zeros((3, 6)), score=0, diameter=0, scale=(1, 1), shift=(0, 0), size=(9, 9)
        ),
        lambda: kernels.spread(
            kernels.Sums(np.zeros(2, np.int32), np.zeros(2), np.zeros((1, 6), np.int64)), (1, 1)
        ),
        lambda: kernels.RegionFinder((4, 4), [1])(np.zeros((4, 5), np.uint8), np.zeros((4, 4))),
        lambda: kernels.RegionFinder((2, 2), [3]).shares(
            np.zeros((2, 2, 2), np.int8), np.full((2, 2), 3, np.uint8), np.zeros(256)
        ),
    ],
)
def test_what_a_kernel_cannot_take_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"^(no |257 |the mask)"):
        call()
