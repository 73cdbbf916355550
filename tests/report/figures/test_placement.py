"""Pictures of placements, read back from matplotlib's artists."""

import numpy as np
import pytest

from routestat.report.figures import placement as placement_figures
from routestat.report.records.placement import results
from routestat.report.records.plain import plain
from tests.report.placement_cases import LOADS, findings


def record(**case):
    return plain(results(findings(**case), ()))


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_marks_are_at_the_busiest_device_and_lines_reach_down_to_the_least_busy():
    (axes,) = placement_figures.device_loads(record()).axes
    drawn = lines_of(axes)
    assert list(drawn) == ["default order of engines", "placed for balance", "placed for affinity"]
    for label, loads in zip(drawn, ("default", "balance", "affinity"), strict=True):
        np.testing.assert_allclose(drawn[label].get_ydata(), LOADS[loads].max(axis=1) * 4)
    bottoms = [segment[0][1] for group in axes.collections for segment in group.get_segments()]
    np.testing.assert_allclose(bottoms, np.concatenate([loads.min(axis=1) * 4 for loads in LOADS.values()]))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]


@pytest.mark.parametrize("nodes", [1, 2])
def test_affinity_has_a_panel_for_devices_and_one_for_nodes(nodes):
    panels = placement_figures.affinity(record(nodes=nodes)).axes
    assert len(panels) == nodes
    drawn = lines_of(panels[0])
    np.testing.assert_allclose(drawn["default order of engines"].get_ydata(), [0.25, 0.26])
    np.testing.assert_allclose(drawn["placed for affinity"].get_ydata(), [0.45, 0.46])
    (chance,) = [line for line in panels[0].lines if line.get_linestyle() == "--"]
    assert set(chance.get_ydata()) == {0.25}


def test_looks_differ_in_colour_and_mark():
    drawn = lines_of(placement_figures.device_loads(record()).axes[0]).values()
    assert len({line.get_color() for line in drawn}) == len({line.get_marker() for line in drawn}) == 3


def test_where_nothing_is_placed_a_sentence_says_so():
    nothing = record(objectives=())
    assert placement_figures.device_loads(nothing) == "No placement was made."
    assert placement_figures.affinity(nothing).startswith("There are no two consecutive layers")


def test_layers_without_tokens_leave_a_gap():
    found = record()
    found["layers"][0]["device_loads_default"] = [None] * 4
    found["transitions"][0]["device_affinity_default"] = None
    line = lines_of(placement_figures.device_loads(found).axes[0])["default order of engines"]
    assert np.isnan(line.get_ydata()[0])
    line = lines_of(placement_figures.affinity(found).axes[0])["default order of engines"]
    assert np.isnan(line.get_ydata()[0])
