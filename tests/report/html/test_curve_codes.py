"""Shares as two characters each: thousandths come back, undefined ones stay undefined."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routestat.report.html.curve_codes import decoded, encoded


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=40))
def test_thousandths_come_back(shares):
    text = encoded(shares)
    assert len(text) == 2 * len(shares)
    for share, back in zip(shares, decoded(text), strict=True):
        if share is None:
            assert back is None
        else:
            assert abs(back - 1000 * share) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "00"), (0.035, "0z"), (0.036, "10"), (0.9, "p0"), (1, "rs"), (None, "zz"), (math.nan, "zz")],
)
def test_by_hand(share, text):
    assert encoded([share]) == text


def test_what_is_out_of_range_is_drawn_at_the_edge():
    assert decoded(encoded([-0.01, 1.002])) == [0, 1000]
