"""DeepSeek's arrays, counted by hand."""

import io

import numpy as np

from routestat.serving.exports.eplb import slots_of_experts
from routestat.serving.exports.registry import export_of
from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import routers_like
from tests.serving.exports.cases import with_routers


def test_arrays_are_these():
    routers = routers_like((2, 5), 3, 1)
    rows = (np.array([2, 0, 1, 0]), np.array([1, 0, 2, 1]))
    exported = with_routers(routers, 6, placement=Placement(routers, Devices(2, 1, 1), rows, "balance"))
    held = np.load(io.BytesIO(export_of("eplb").files(exported)["eplb.npz"]), allow_pickle=False)
    assert held["layer"].tolist() == [2, 5]
    assert held["weight"].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert held["phy2log"].tolist() == [[2, 0, 1, 0], [1, 0, 2, 1]]
    assert held["log2phy"].tolist() == [[[1, 3], [2, -1], [0, -1]], [[1, -1], [0, 3], [2, -1]]]
    assert held["logcnt"].tolist() == [[2, 1, 1], [1, 2, 1]]


def test_without_copies_each_expert_has_one_slot():
    rng = np.random.default_rng(0)
    slots = np.stack([rng.permutation(64) for _ in range(3)])
    found = slots_of_experts(slots, np.ones((3, 64), np.int64))
    assert found.shape == (3, 64, 1)
    assert (np.take_along_axis(slots, found[..., 0], 1) == np.arange(64)).all()
