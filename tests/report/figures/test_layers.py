"""Pictures of loads and of information over the depth, read back from matplotlib's artists."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from routestat.inference.information.scarcity import Scarcity
from routestat.report.figures import layers as layer_figures
from tests.report.figures.artists import titled


def test_dead_experts_are_crossed_out(reports):
    axes = titled(layer_figures.load(reports("dead experts").study.loads), "load over")
    (line,) = axes.lines
    assert sorted(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(1, 2), (1, 5)]


def test_load_is_centred_on_the_mean(reports):
    study = reports("states").study
    image = titled(layer_figures.load(study.loads), "load over").images[0]
    np.testing.assert_allclose(image.get_array()[:, 2], study.loads[2].balance.load / 0.25)
    low, high = image.get_clim()
    assert low * high == pytest.approx(1)


def test_information_dots_and_intervals(reports):
    study = reports("states").study
    scarce = Scarcity(), Scarcity("few", covered=False), Scarcity("few")
    found = [replace(item, scarce=one) for item, one in zip(study.pairs, scarce, strict=True)]
    figure = layer_figures.information(found, study.loads, "subset")
    axes = titled(figure, "mutual information")
    dots, hollow = (line for line in axes.lines if line.get_marker() == "o")
    bits = [item.information.mi_bits for item in found]
    np.testing.assert_allclose(dots.get_ydata(), bits)
    (bars,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    ends = [(segment[0][1], segment[1][1]) for segment in bars.get_segments()]
    drawn = [(i.information.low, i.information.high) for i in found]
    # Where too few tokens would let an interval miss the truth, the dot is hollow and has none.
    drawn[1] = (bits[1], bits[1])
    np.testing.assert_allclose(ends, drawn)
    np.testing.assert_allclose(hollow.get_ydata(), [bits[1]])
    assert axes.get_ylabel() == "bits per token"
