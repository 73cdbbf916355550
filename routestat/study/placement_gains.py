"""What a placement gains on documents, against the default order.

Balance is estimated as `routestat.serving.placement.imbalance_estimate` describes. Of the worst layer, a largest value
over layers as well, there is no such estimate: its figure is that of these documents.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate, ratio, without_interval
from routestat.inference.base.tables import Floats
from routestat.serving.placement.imbalance_estimate import imbalance_of_units
from routestat.serving.placement.measures import device_loads, imbalance, node_loads, together
from routestat.serving.placement.placement import Placement
from routestat.study.placement_findings import Optimality, PlacementGain, PlacementResult

#: Groups whose tables are multiplied together.
AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class HeldOutUnits:
    """Sums of units of documents that placements are measured on.

    Attributes
    ----------
    loads : sequence of int array ``[unit, expert]``
        For each router.
    tokens : int array ``[unit]``
    pairs : int array ``[unit, pair of layers]``
        Pairs of choices of a token at two consecutive routers.
    stay : int array ``[placement, level, unit, pair of layers]``
        Of these, those that stay on a device (level 0) or in a node (level 1); the first placement is the default.
    """

    loads: Sequence[NDArray[np.int64]]
    tokens: NDArray[np.int64]
    pairs: Floats
    stay: Floats

    @property
    def no_estimate(self) -> Estimate:
        """What is estimated without any unit."""
        return without_interval(math.nan, 0, "no documents were held out: they are one independent unit")


def staying_sums(
    tables: Iterable[NDArray[np.integer]], placements: Sequence[Placement], n_units: int
) -> tuple[Floats, Floats]:
    """Sum the pairs of choices of each unit, and those that stay under each placement.

    Parameters
    ----------
    tables : iterable of int array ``[unit, source expert, target expert]``
        For each two consecutive routers; each is released before the next one is taken.
    placements : sequence of Placement
    n_units : int

    Returns
    -------
    pairs : float array ``[unit, pair of layers]``
    stay : float array ``[placement, level, unit, pair of layers]``
        Levels are devices and nodes.
    """
    n_pairs = len(placements[0].routers) - 1
    pairs, stay = np.zeros((n_units, n_pairs)), np.zeros((len(placements), 2, n_units, n_pairs))
    for place, table in enumerate(tables):
        kept = np.array(
            [together(one, place, nodes=nodes).reshape(-1) for one in placements for nodes in (False, True)],
            np.float64,
        )
        for part in _parts(n_units):
            cells = table[part].reshape(-1, kept.shape[1]).astype(np.float64)
            pairs[part, place] = cells.sum(axis=1)
            stay[:, :, part, place] = (kept @ cells.T).reshape(len(placements), 2, -1)
    return pairs, stay


def measured(
    default: Placement,
    placement: Placement,
    number: int,
    held_out: HeldOutUnits,
    made_from: HeldOutUnits,
    optimality: Optimality,
) -> PlacementResult:
    """Measure a placement by both objectives against the default order.

    Parameters
    ----------
    default, placement : Placement
    number : int
        Of the placement in `HeldOutUnits.stay`.
    held_out, made_from : HeldOutUnits
        The latter as one unit.
    optimality : Optimality
    """
    both = default, placement
    shown = held_out if len(held_out.tokens) else made_from
    devices = [_by_layer(shown.loads, one, device_loads).sum(axis=0) for one in both]
    shares = [loads / np.where((n := loads.sum(axis=1, keepdims=True)) > 0, n, math.nan) for loads in devices]
    return PlacementResult(
        objective=placement.objective,
        placement=placement,
        balance=_balance_gain(both, held_out, made_from, device_loads),
        worst_balance=_balance_gain(both, held_out, made_from, device_loads, worst=True),
        node_balance=_balance_gain(both, held_out, made_from, node_loads),
        device_affinity=_affinity_gain(both, number, 0, held_out, made_from),
        node_affinity=_affinity_gain(both, number, 1, held_out, made_from),
        loads_before=shares[0],
        loads_after=shares[1],
        optimality=optimality,
    )


def _parts(n_units: int) -> Iterator[slice]:
    yield from (slice(low, low + AT_ONCE) for low in range(0, n_units, AT_ONCE))


def _by_layer(loads: Sequence[NDArray[np.int64]], placement: Placement, of: Callable[..., Floats]) -> Floats:
    """Return the load of each device or node ``[unit, layer, device]``."""
    return np.stack([of(load, placement, place) for place, load in enumerate(loads)], axis=1)


def _largest(by_layer: Floats) -> Floats:
    """Return the largest of the layers that have tokens ``[...]``."""
    found = np.where(np.isfinite(by_layer), by_layer, -np.inf).max(axis=-1)
    return np.asarray(np.where(np.isfinite(found), found, math.nan))


def _balance_gain(
    both: tuple[Placement, Placement],
    held_out: HeldOutUnits,
    made_from: HeldOutUnits,
    of: Callable[..., Floats],
    *,
    worst: bool = False,
) -> PlacementGain:
    before, after = (_by_layer(held_out.loads, one, of) for one in both)
    layers = [imbalance(one.sum(axis=0)) for one in (before, after)]
    own = [_by_layer(made_from.loads, one, of) for one in both]
    if worst:
        made = [float(_largest(imbalance(one.sum(axis=0)))) for one in own]
    else:
        made = [imbalance_of_units(one).largest for one in own]
    size = held_out.tokens
    if not len(size):
        none = held_out.no_estimate
        return PlacementGain(none, none, none, made[0], made[1], layers[0], layers[1])
    if worst:
        why = "the worst of several layers: no interval"
        of_layers = [float(_largest(one)) for one in layers]
        figures = *of_layers, of_layers[0] - of_layers[1]
        found = [without_interval(one, len(size), why) for one in figures]
    else:
        default, placed = imbalance_of_units(before), imbalance_of_units(after)
        found = [
            default.estimate(size, least=1.0),
            placed.estimate(size, least=1.0),
            (default - placed).estimate(size),
        ]
    return PlacementGain(found[0], found[1], found[2], made[0], made[1], layers[0], layers[1])


def _affinity_gain(
    both: tuple[Placement, Placement],
    number: int,
    level: int,
    held_out: HeldOutUnits,
    made_from: HeldOutUnits,
) -> PlacementGain:
    before, after = held_out.stay[0, level], held_out.stay[number, level]
    pairs = held_out.pairs
    layers = [_share(one.sum(axis=0), pairs.sum(axis=0)) for one in (before, after)]
    made = [float(_share(made_from.stay[at, level].sum(), made_from.pairs.sum())) for at in (0, number)]
    if not pairs.shape[1] or not len(pairs):
        why = held_out.no_estimate
        if not pairs.shape[1]:
            why = without_interval(math.nan, len(pairs), "one layer: there is no transition that could stay")
        return PlacementGain(why, why, why, made[0], made[1], layers[0], layers[1])
    total = pairs.sum(axis=1)
    found = [ratio(one.sum(axis=1), total) for one in (before, after, after - before)]
    alone = [staying_by_loads(held_out, one, nodes=level == 1) for one in both]
    return PlacementGain(found[0], found[1], found[2], made[0], made[1], layers[0], layers[1], *alone)


def staying_by_loads(units: HeldOutUnits, placement: Placement, *, nodes: bool = False) -> float:
    """Return the share of pairs that would stay if choices in consecutive layers were independent.

    Parameters
    ----------
    units : HeldOutUnits
        Their loads and their numbers of pairs.
    placement : Placement
    nodes : bool
        In a node instead of on a device.
    """
    shares = [_share(load.sum(axis=0), load.sum()) for load in units.loads]
    pairs = units.pairs.sum(axis=0)
    stay = [
        float(shares[place] @ together(placement, place, nodes=nodes) @ shares[place + 1]) if n else 0.0
        for place, n in enumerate(pairs)
    ]
    return float(_share(pairs @ np.array(stay), pairs.sum()))


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Floats:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), math.nan)
