"""A heuristic's placement against the best one, where that can be found."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.serving.placement.affine import staying
from routestat.serving.placement.measures import device_loads, imbalance
from routestat.serving.placement.optimum import (
    MOST_NODES,
    MOST_PLACEMENTS,
    MOST_VARIABLES,
    MOST_WITH_COPIES,
    NEAR,
    optimal_affinity,
    optimal_balance,
    variables,
)
from routestat.serving.placement.placement import Placement
from routestat.study.placement_findings import Optimality


def against_optimum(
    placement: Placement, loads: Sequence[NDArray[np.int64]], transitions: Sequence[NDArray[np.int64]]
) -> tuple[Placement, Optimality]:
    """Return the better one of a placement and the optimum, where this is known, and how far they are apart.

    Parameters
    ----------
    placement : Placement
        Of a heuristic, for "balance" or "affinity".
    loads, transitions : sequence of int array
        That it was made from: ``[expert]`` for each router, and ``[source expert, target expert]`` for each two
        consecutive ones.
    """
    routers, devices = placement.routers, placement.devices
    if placement.objective == "balance":
        if any(variables(router.n_experts, devices) > MOST_VARIABLES for router in routers):
            return placement, Optimality(
                reason=f"only searched for layers of up to {MOST_VARIABLES} variables"
            )
        best, method = optimal_balance(loads, routers, devices), f"integer programming, within {NEAR:.2%}"
        if best is None:
            return placement, Optimality(reason=f"not proved within {MOST_NODES:,} nodes of the search tree")
        found, optimum = mean_imbalance(loads, placement), mean_imbalance(loads, best)
        # The heuristic may be nearer to the optimum than what was accepted as such.
        optimum = min(found, optimum)
        # With several nodes the heuristic also balances these.
        used = optimum < found and devices.n_nodes == 1
    else:
        if not transitions:
            return placement, Optimality(reason="one layer: there is no transition")
        if devices.n_nodes > 1:
            return placement, Optimality(reason="only searched for one node")
        best, method = optimal_affinity(transitions, routers, devices), "dynamic programming"
        if best is None:
            most = MOST_WITH_COPIES if devices.redundant else MOST_PLACEMENTS
            return placement, Optimality(reason=f"a layer has more than {most:,} different placements")
        total = max(float(sum(int(table.sum()) for table in transitions)), 1.0)
        found, optimum = staying(transitions, placement) / total, staying(transitions, best) / total
        used = optimum > found
    gap = abs(found - optimum) / optimum if optimum else 0.0
    return best if used else placement, Optimality(found, optimum, gap, used, method)


def mean_imbalance(loads: Sequence[NDArray[np.int64]], placement: Placement) -> float:
    """Return the largest load of a device over the mean one, mean over the layers that have tokens."""
    found = [float(imbalance(device_loads(load, placement, place))) for place, load in enumerate(loads)]
    known = [one for one in found if np.isfinite(one)]
    return float(np.mean(known)) if known else float("nan")
