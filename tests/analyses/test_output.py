"""How results of analyses are printed."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from analyses.output import Line, filled, histogram_svg, interval, lines_svg, table
from routestat.inference.base.estimate import Estimate


def test_a_table_is_markdown():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.123, 0.1, 0.2, 0.01, 9), "12.3 (10.0 … 20.0)"),
        (Estimate(0.123, np.nan, np.nan, np.nan, 1, "one group"), "12.3"),
    ],
)
def test_an_interval_stands_behind_its_value_where_there_is_one(estimate, text):
    assert interval(estimate, 1, 100) == text


def test_paragraphs_and_items_are_filled_and_tables_are_not():
    text = filled("# long heading of many words\n\none two\nthree\n\n- a\n  b\n- c d\n\n| a  table |\n", 8)
    assert text == "# long heading of many words\n\none two\nthree\n\n- a b\n- c d\n\n| a  table |\n"
    assert filled("- aaa bbb ccc", 7) == "- aaa\n  bbb\n  ccc\n"


def test_the_bars_of_a_histogram_are_in_the_ratio_of_the_counts():
    values = np.array([0.0, 0.0, 0.0, 1.0, 2.0, 2.0])
    drawing = ET.fromstring(histogram_svg(values, [(1.0, "here")], "x", bins=3))
    space = "{http://www.w3.org/2000/svg}"
    bars = [float(bar.get("height")) for bar in drawing.findall(f"{space}rect") if bar.get("x")]
    assert bars == [140.0, pytest.approx(46.7), pytest.approx(93.3)]
    mark = drawing.find(f"{space}line")
    assert float(mark.get("x1")) == 320.0  # the middle of an axis from 0 to 2
    assert "here" in [text.text for text in drawing.findall(f"{space}text")]


def test_lines_end_at_their_values_and_their_words_do_not_overlap():
    exact = Estimate(0.5, 0.4, 0.6, 0.05, 9)
    near = Estimate(0.51, np.nan, np.nan, np.nan, 1, "one group")
    lines = [Line("a", (1, 3), [exact, exact]), Line("b", (1, 3), [exact, near])]
    drawing = ET.fromstring(lines_svg(lines, "x", "y"))
    space = "{http://www.w3.org/2000/svg}"
    ends = [line.get("points").split()[-1] for line in drawing.findall(f"{space}polyline")]
    assert ends == ["510.0,160.0", "510.0,157.2"]  # of 280 pixels from 0 at 300 to 1 at 20
    bands = [band.get("points").split() for band in drawing.findall(f"{space}polygon")]
    assert bands[0] == ["60.0,132.0", "510.0,132.0", "510.0,188.0", "60.0,188.0"]
    assert bands[1] == ["60.0,132.0", "60.0,188.0"]  # no interval, no band
    heights = {
        text.text: float(text.get("y")) for text in drawing.findall(f"{space}text") if text.text in "ab"
    }
    assert heights["a"] - heights["b"] >= 16
