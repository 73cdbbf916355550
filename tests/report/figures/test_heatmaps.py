"""Heatmaps, read back from matplotlib's artists."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from routestat.report.figures import heatmaps
from routestat.report.figures import style as canvas
from routestat.report.names import FEW_TOKENS
from tests.report.figures.artists import titled


@pytest.mark.parametrize("name", ["states", "experts", "constant layer"])
def test_heatmaps_hold_joint_conditional_and_row_shares(reports, name):
    study = reports(name).study
    item = study.pairs[0]
    figure = heatmaps.joint_and_conditional(item, study.states)
    table, rows = item.table, item.table.sum(axis=1)
    joint = titled(figure, "joint").images[0].get_array()
    given = titled(figure, "conditional").images[0].get_array()
    np.testing.assert_allclose(joint, table / table.sum())
    used = rows > 0
    np.testing.assert_allclose(given[used], table[used] / rows[used, None])
    assert np.ma.getmaskarray(given)[~used].all()
    bars = titled(figure, "P(i)").patches
    np.testing.assert_allclose([bar.get_width() for bar in bars], rows / table.sum())
    tokens = rows if study.states == "subset" else rows / 4
    red = [to_hex(bar.get_facecolor()).upper() == canvas.VERMILLION for bar in bars]
    assert red == (tokens < FEW_TOKENS).tolist()


def test_heatmap_names_pairs_by_their_experts(reports):
    figure = heatmaps.joint_and_conditional(reports("states").study.pairs[0], "subset")
    names = [text.get_text().replace("\u2009", "") for text in titled(figure, "joint").texts]
    assert names[:3] == ["0,1", "0,2", "0,3"]
    assert len(names) == 28
    assert "pair of layer 1" in titled(figure, "joint").get_xlabel()


def test_expert_heatmap_is_labelled_expert(reports):
    figure = heatmaps.joint_and_conditional(reports("experts").study.pairs[0], "expert")
    assert titled(figure, "joint").get_xlabel() == "j: expert of layer 1"
    assert titled(figure, "P(i)").get_ylabel() == "i: expert of layer 0"


def test_no_tokens_no_heatmap(reports):
    item = reports("layer without tokens").study.pairs[0]
    assert (
        heatmaps.joint_and_conditional(item, "subset") == "No token has a choice at both layer 0 and layer 1."
    )
