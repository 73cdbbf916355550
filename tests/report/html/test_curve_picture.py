"""The static picture: its paths are the shares, its names do not overlap."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routestat.report.families import Line
from routestat.report.html.curve_codes import encoded
from routestat.report.html.curve_picture import (
    APART,
    BOTTOM,
    HEIGHT,
    LEFT,
    NAMES,
    TOP,
    WIDTH,
    Curve,
    apart,
    drawn,
)


def points(path):
    return np.array([[float(x), float(y)] for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)])


def share_of(y):
    return (HEIGHT - BOTTOM - y) / (HEIGHT - BOTTOM - TOP)


def picture(found, low, high, fetched, share=90):
    curve = Curve("a&b", Line("family-ridge", "#000", "7 3"), encoded([*found, *low, *high]))
    return drawn([curve], fetched, 16, share, "mean")


def test_paths_are_the_shares():
    found, low, high = [0.5, 0.85, 0.951], [0.4, 0.8, 0.94], [0.6, 0.9, 0.96]
    svg = picture(found, low, high, [2, 3, 4])
    (line,) = re.findall(r'class="line" d="([^"]+)" stroke-dasharray="7 3"', svg)
    across, shares = points(line)[:, 0], share_of(points(line)[:, 1])
    np.testing.assert_allclose(shares, found, atol=2e-4)
    np.testing.assert_allclose(across, np.linspace(LEFT, WIDTH - NAMES, 3), atol=0.06)
    (band,) = re.findall(r'class="band" d="([^"]+)Z"', svg)
    np.testing.assert_allclose(share_of(points(band)[:, 1]), [*high, *low[::-1]], atol=2e-4)
    # The dot is on the first point with 90 %, the third.
    ((x, y),) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert float(x) == pytest.approx(WIDTH - NAMES)
    assert share_of(float(y)) == pytest.approx(0.951, abs=2e-4)
    (limit,) = re.findall(rf'class="limit" d="M{LEFT} ([\d.]+)H', svg)
    assert share_of(float(limit)) == pytest.approx(0.9, abs=2e-4)
    assert 'data-predictor="a&amp;b"' in svg
    assert ">a&amp;b</text>" in svg


def test_what_is_undefined_is_left_out():
    svg = picture([0.5, None, 0.7], [None] * 3, [None] * 3, [2, 3, 4])
    assert 'class="band"' not in svg
    (line,) = re.findall(r'class="line" d="([^"]+)"', svg)
    np.testing.assert_allclose(share_of(points(line)[:, 1]), [0.5, 0.7], atol=2e-4)
    assert "<circle" not in svg
    assert "NaN" not in picture([None], [None], [None], [1])


@given(st.lists(st.floats(TOP, HEIGHT - BOTTOM), max_size=20))
def test_names_are_apart_and_inside(heights):
    places = apart(sorted(heights))
    assert len(places) == len(heights)
    assert all(after - before >= APART - 1e-9 for before, after in pairwise(places))
    assert all(TOP - 1e-9 <= place <= HEIGHT - BOTTOM + 1e-9 for place in places)


def test_names_that_are_far_apart_stay():
    assert apart([20.0, 100.0, 300.0]) == [20.0, 100.0, 300.0]
