"""The tables of adjacent repeats, and the committed result."""

import numpy as np

from analyses import output
from analyses.adjacent_repeats import PUBLISHED, above, by_layer, picture, read
from analyses.repeats import Repeats, choices, measure, pairs_of
from routestat.inference.base.estimate import Estimate

KNOWN = Estimate(0.5, 0.4, 0.6, 0.05, 9)
NONE = Estimate(np.nan, np.nan, np.nan, np.nan, 9)


def test_columns_of_the_token_ids_are_there_only_with_ids():
    with_ids = Repeats(0, KNOWN, 0.46, 0.47, KNOWN, KNOWN, 0.3, KNOWN)
    without = Repeats(4, KNOWN, 0.46, 0.47, KNOWN, NONE, np.nan, NONE)
    lines = by_layer([with_ids], 1).splitlines()
    assert lines[2] == (
        "| 0 | 50.0 (40.0 … 60.0) | 46.0 | 47.0 | 50.0 (40.0 … 60.0) | 50.0 | 30.0 | 50.0 (40.0 … 60.0) |"
    )
    assert (
        by_layer([without], 1).splitlines()[2]
        == "| 4 | 50.0 (40.0 … 60.0) | 46.0 | 47.0 | 50.0 (40.0 … 60.0) |"
    )
    assert (
        above([KNOWN, NONE, Estimate(-1, -2, -0.5, 0.3, 9)]) == "above zero at 1, below zero at 1 of 3 layers"
    )
    drawn = picture({"<b>": [with_ids, without]})
    assert drawn.count("<polyline") == 2


def test_the_committed_result_has_the_figures_of_the_trace():
    """One layer again: DeepSeek-V2-Lite, layer 13, where adjacent tokens repeat most."""
    committed = (output.RESULTS / "adjacent_repeats.md").read_text()
    sample = read("deepseek-v2-lite-esft")
    place = [router.layer for router in sample.routers].index(13)
    one = measure(
        13, *choices(sample, place, "any"), pairs_of(sample), 64, np.random.default_rng(0), 1 - 0.05 / 26
    )
    row = by_layer([one], 1).splitlines()[2]
    # What is drawn at the loads comes from another place of the generator.
    assert row.split(" | ")[1] == "87.9 (86.8 … 89.0)"
    assert row.split(" | ")[3:] == ["59.5", "28.4 (26.1 … 30.7) |"]
    assert row.split(" | ")[1] in committed
    assert row.split(" | ")[4] in committed
    low, high = PUBLISHED["any"][15]
    assert f"{low} … {high}" in committed
