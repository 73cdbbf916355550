"""How results of analyses are printed."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from analyses.output import filled, histogram_svg, interval, table
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
