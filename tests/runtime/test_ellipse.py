"""Ellipses against closed forms and against pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rille.ellipse import (
    Ellipse,
    clipped_polygon,
    draw_ellipses,
    ellipse_from_moments,
    polygon_iou,
)

ellipses = st.builds(
    Ellipse,
    x=st.floats(60, 140),
    y=st.floats(60, 140),
    semi_major=st.floats(20, 50),
    semi_minor=st.floats(8, 20),
    angle_deg=st.floats(0, 179),
)


@given(ellipses)
@settings(max_examples=60, deadline=None)
def test_a_drawn_ellipse_is_the_pixels_whose_centre_it_holds(e: Ellipse) -> None:
    mask = np.zeros((200, 200), np.uint8)
    draw_ellipses(mask, [e])
    # The quadratic form (p - centre)^T M (p - centre) <= 1, M = R diag(1/a^2, 1/b^2) R^T.
    turn = math.radians(e.angle_deg)
    axes = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    form = axes @ np.diag([e.semi_major**-2, e.semi_minor**-2]) @ axes.T
    rows, columns = np.mgrid[:200, :200]
    apart = np.stack([columns - e.x, rows - e.y], axis=-1)
    value = np.einsum("...i,ij,...j", apart, form, apart)
    told = np.abs(value - 1) > 1e-9  # nearer, rounding decides
    assert told.sum() > 39_900
    np.testing.assert_array_equal(mask[told], value[told] < 1)


@given(ellipses)
@settings(max_examples=60, deadline=None)
def test_pixels_of_a_drawn_ellipse_give_it_back(e: Ellipse) -> None:
    """Its pixels' moments, on a grid of eight pixels to one.

    A pixel counts as a whole or not at all, so each end of a row is off by up to half a pixel. Of
    such an error in a row of half width w, a half axis a takes 2 / pi (4 w^2 / a^2 - 1), averaged
    over rows: if all err in the worst way, 1.15 times half a pixel. And the sum of w over rows,
    as it falls to 0 like a root, misses its integral b pi / 2 by up to 2 |zeta(-1/2)| sqrt(2 / b)
    = 0.59 / sqrt(b), which changes a by 0.19 a / b^1.5. (One to one, 47 x 8 with its centre at
    60.5, 60 comes back as 47.73.)
    """
    fine = 8
    mask = np.zeros((200 * fine, 200 * fine), np.uint8)
    draw_ellipses(mask, [Ellipse(e.x * fine, e.y * fine, *_axes(e, fine), e.angle_deg)])
    rows, columns = np.nonzero(mask)
    (xx, xy), (_, yy) = np.cov(np.stack([columns, rows]), bias=True)
    found = ellipse_from_moments(columns.mean(), rows.mean(), xx + 1 / 12, yy + 1 / 12, xy)
    major, minor = _axes(e, fine)
    assert found.semi_major == pytest.approx(major, abs=0.6 + 0.2 * major / minor**1.5)
    assert found.semi_minor == pytest.approx(minor, abs=0.6 + 0.2 * minor / major**1.5)
    assert (found.x, found.y) == pytest.approx((e.x * fine, e.y * fine), abs=0.5)
    assert mask.sum() == pytest.approx(e.area * fine**2, rel=0.005)


def _axes(e: Ellipse, scale: int) -> tuple[float, float]:
    return e.semi_major * scale, e.semi_minor * scale


@given(ellipses, st.floats(0.3, 3), st.floats(0.3, 3))
@settings(max_examples=60, deadline=None)
def test_mapping_agrees_with_mapped_points(e: Ellipse, sx: float, sy: float) -> None:
    mapped = e.mapped(sx, sy, 3.0, -5.0)
    points = e.polygon(720).astype(np.float64) * [sx, sy] + [3.0, -5.0]
    centre = points.mean(axis=0)
    (xx, _), (_, yy) = np.cov((points - centre).T, bias=True)
    assert (mapped.x, mapped.y) == pytest.approx(tuple(centre), abs=1e-3)
    # Points evenly spaced in the parameter have half the squared axes as variances.
    a2 = mapped.semi_major**2 + mapped.semi_minor**2
    assert a2 == pytest.approx(2 * (xx + yy), rel=1e-3)
    assert mapped.area == pytest.approx(e.area * sx * sy, rel=1e-4)


def test_box_and_ellipse() -> None:
    wide, high = Ellipse.from_box(5, 6, 20, 10), Ellipse.from_box(5, 6, 10, 20)
    assert (wide.semi_major, wide.semi_minor, wide.angle_deg) == (10, 5, 0)
    assert (high.semi_major, high.semi_minor, high.angle_deg) == (10, 5, 90)
    assert wide.diameter == pytest.approx(2 * math.sqrt(50))


def test_overlap_of_equal_circles_is_the_lens_formula() -> None:
    r, d = 20.0, 13.0
    one = clipped_polygon(Ellipse(50, 50, r, r), 200, 200)
    two = clipped_polygon(Ellipse(50 + d, 50, r, r), 200, 200)
    lens = 2 * r * r * math.acos(d / (2 * r)) - d / 2 * math.sqrt(4 * r * r - d * d)
    expected = lens / (2 * math.pi * r * r - lens)
    assert polygon_iou(one, two) == pytest.approx(expected, abs=0.003)


def test_what_lies_outside_the_image_is_cut_off() -> None:
    half = clipped_polygon(Ellipse(-0.5, 50, 10, 10), 100, 100)
    assert half[:, 0].min() >= -0.5 - 1e-4
    whole = clipped_polygon(Ellipse(50, 50, 10, 10), 100, 100)
    assert polygon_iou(half, whole) == 0.0
    assert len(clipped_polygon(Ellipse(-50, -50, 10, 10), 100, 100)) == 0


def test_a_mask_is_clipped_not_wrapped() -> None:
    mask = np.zeros((40, 40), np.uint8)
    draw_ellipses(mask, [Ellipse(0, 20, 8, 8)])
    assert mask[:, :9].any() and not mask[:, 20:].any()
