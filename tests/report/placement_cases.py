"""Findings of `place` made by hand, for the tests of its report."""

import math

import numpy as np

from routestat.inference.base.estimate import Estimate, without_interval
from routestat.serving.exports.registry import EXPORTS
from routestat.serving.placement.placement import Devices, Placement
from routestat.study.placement_exports import ModelShape, export_files
from routestat.study.placement_findings import (
    Optimality,
    PinFinding,
    PlacementFindings,
    PlacementGain,
    PlacementResult,
)
from routestat.traces.metadata import TraceMeta, routers_like

HOSTILE = "<script>alert(1)</script>"
ROUTERS = routers_like((1, 2, 4), 8, 2)
ORDERS = {"balance": (0, 4, 1, 5, 2, 6, 3, 7), "affinity": (7, 6, 5, 4, 3, 2, 1, 0)}
LOADS = {
    "default": np.array([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.1, 0.2, 0.3, 0.4]]),
    "balance": np.array([[0.27, 0.25, 0.25, 0.23], [0.25, 0.25, 0.25, 0.25], [0.25, 0.24, 0.25, 0.26]]),
    "affinity": np.array([[0.5, 0.2, 0.2, 0.1], [0.3, 0.3, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4]]),
}


def estimate(value, reach=0.01):
    """An estimate with an interval, or without one where the reach is None."""
    if reach is None:
        return without_interval(value, 3, "3 independent units: no test or interval below 6")
    return Estimate(value, value - reach, value + reach, reach / 2, 40)


def gain_of(before, after, better, by_layer, reach=0.01):
    gain = estimate(better, reach)
    return PlacementGain(
        estimate(before, reach),
        estimate(after, reach),
        gain,
        before + 0.01,
        after - 0.01,
        *map(np.array, by_layer),
    )


def undefined(reason, n):
    nothing = without_interval(math.nan, 0, reason)
    empty = np.full(n, math.nan)
    return PlacementGain(nothing, nothing, nothing, math.nan, math.nan, empty, empty)


def result_of(objective, devices, reach=0.01, gains=None, optimality=None):
    before, after = LOADS["default"], LOADS[objective]
    top = [loads.max(axis=1) * 4 for loads in (before, after)]
    balance, affinity = gains or (
        {"balance": 0.3, "affinity": -0.1}[objective],
        {"balance": -0.01, "affinity": 0.2}[objective],
    )
    stays = [[0.25, 0.26], [0.25 + affinity, 0.26 + affinity]]
    nodes = (
        gain_of(0.5, 0.5 + affinity, affinity, [[0.5, 0.51], [0.5 + affinity, 0.51 + affinity]], reach)
        if devices.n_nodes > 1
        else undefined("there is one node", 2)
    )
    return PlacementResult(
        objective,
        Placement(ROUTERS, devices, tuple(np.array(ORDERS[objective]) for _ in ROUTERS), objective),
        gain_of(1.4, 1.4 - balance, balance, top, reach),
        gain_of(1.6, 1.6 - balance, balance, top, reach),
        gain_of(1.2, 1.2 - balance / 2, balance / 2, top, reach),
        gain_of(0.255, 0.255 + affinity, affinity, stays, reach),
        nodes,
        before,
        after,
        optimality or Optimality(1.1, 1.078, 0.0204, False, "milp"),
    )


def findings(
    *, nodes=1, reach=0.01, objectives=("balance", "affinity"), pins=True, gains=None, optimality=None, **meta
):
    """Findings on 3 layers of 8 experts, 4 devices."""
    devices = Devices(4, nodes)
    placed = tuple(result_of(objective, devices, reach, gains, optimality) for objective in objectives)
    loads = tuple(np.array([80, 70, 60, 50, 40, 30, 20, 10]) + 10 * place for place in range(3))
    pinned = PinFinding(
        3,
        (np.array([0, 1, 2]),) * 3,
        estimate(0.52, reach),
        estimate(0.61, reach),
        estimate(-0.09, reach),
        0.375,
    )
    return PlacementFindings(
        TraceMeta(ROUTERS, **meta),
        ROUTERS,
        devices,
        Placement(ROUTERS, devices, (np.arange(8),) * 3, "default"),
        placed,
        pinned if pins else None,
        loads,
        1800,
        60,
        40,
        20,
        40,
        20 if reach is not None else 3,
        ("a note on the trace",),
        {"trace": "traces/mine", "seed": 0},
    )


def exported(found, names=None, n_hidden_layers=5):
    """All files of some findings, or those of these exports."""
    chosen = [
        one for one in EXPORTS if (names is None and one.name != "cache-profile") or one.name in (names or ())
    ]
    return export_files(found, chosen, ModelShape(n_hidden_layers))
