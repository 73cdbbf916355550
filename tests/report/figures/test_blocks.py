"""Pictures of blocks, read back from matplotlib's artists."""

from dataclasses import replace

import numpy as np
import pytest

from routestat.report.figures import blocks as figures
from routestat.study.blocks import clearest_blocks
from tests.report.figures.artists import titled


@pytest.mark.parametrize("name", ["states", "experts"])
def test_matrices_are_in_the_order_of_the_blocks(reports, name):
    study = reports(name).study
    finding = study.blocks[0]
    figure, blocks = figures.matrices(finding, study.states), finding.blocks
    table = finding.table[np.ix_(blocks.row_order, blocks.column_order)]
    rows, columns = (blocks.row_labels >= 0).sum(), (blocks.column_labels >= 0).sum()
    table = table[:rows, :columns]
    joint, given, lift = (titled(figure, title) for title in ("joint", "conditional", "lift"))
    for axes in (joint, given, lift):
        assert len(axes.lines) == blocks.n_row_blocks + blocks.n_column_blocks - 2
    np.testing.assert_allclose(joint.images[0].get_array(), table / table.sum())
    np.testing.assert_allclose(given.images[0].get_array(), table / table.sum(axis=1, keepdims=True))
    expected = table * table.sum() / np.outer(table.sum(axis=1), table.sum(axis=0))
    low, high = lift.images[0].get_clim()
    assert low * high == pytest.approx(1)
    np.testing.assert_allclose(lift.images[0].get_array(), np.clip(expected, low, high))


def test_lines_are_the_gains_of_every_number(reports):
    study = reports("states").study
    axes = figures.gains(study.blocks, "subset").axes[0]
    assert "bits per token" in axes.get_ylabel()
    lines = axes.lines
    for place, item in enumerate(study.blocks):
        curve, dot = lines[2 * place], lines[2 * place + 1]
        gains = item.found.number.gains_bits
        np.testing.assert_allclose(curve.get_ydata(), gains)
        np.testing.assert_allclose(curve.get_xdata(), 2 + np.arange(len(gains)))
        size = item.found.number.size
        assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([size + 2], [pytest.approx(gains[size])])
    if clearest_blocks(study.blocks) is not None:
        assert lines[2 * clearest_blocks(study.blocks)].get_color() == figures.BLUE


def test_without_blocks_there_is_a_sentence(reports):
    finding = reports("states").study.blocks[0]
    blocks = replace(finding.found.blocks, reason="the table is empty")
    number = replace(finding.found.number, reason="1 independent unit: no test")
    none = replace(finding, found=replace(finding.found, blocks=blocks, number=number))
    assert figures.matrices(none, "subset") == "Layers 0 → 1: no blocks, the table is empty."
    assert figures.gains([none], "subset") == (
        "No number of blocks could be tested; 1 independent unit: no test."
    )
