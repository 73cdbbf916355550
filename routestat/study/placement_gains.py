"""What a placement gains on documents, against the default order.

The imbalance of a layer is a largest value, which few documents make too large: the more so the more equal the devices
are. The jackknife removes about half of that (with 43 units, 10 layers and 8 devices of equal load .05 of .09), so that
the gain of a balanced placement is rather too small than too large.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate, ratio, without_interval
from routestat.inference.base.jackknife import jackknife
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.serving.placement.measures import device_loads, imbalance, node_loads, together
from routestat.serving.placement.placement import Placement
from routestat.study.placement_findings import PlacementGain

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


def gains_of(
    default: Placement, placement: Placement, number: int, held_out: HeldOutUnits, made_from: HeldOutUnits
) -> dict[str, PlacementGain | Floats]:
    """Return the gains of a placement, by the names of the attributes of `PlacementResult`.

    Parameters
    ----------
    default, placement : Placement
    number : int
        Of the placement in `HeldOutUnits.stay`.
    held_out, made_from : HeldOutUnits
        The latter as one unit.
    """
    both = default, placement
    shown = held_out if len(held_out.tokens) else made_from
    devices = [_by_layer(shown.loads, one, device_loads).sum(axis=0) for one in both]
    shares = [loads / np.where((n := loads.sum(axis=1, keepdims=True)) > 0, n, math.nan) for loads in devices]
    return {
        "balance": _balance_gain(both, held_out, made_from, device_loads, _mean),
        "worst_balance": _balance_gain(both, held_out, made_from, device_loads, _largest),
        "node_balance": _balance_gain(both, held_out, made_from, node_loads, _mean),
        "device_affinity": _affinity_gain(number, 0, held_out, made_from),
        "node_affinity": _affinity_gain(number, 1, held_out, made_from),
        "loads_before": shares[0],
        "loads_after": shares[1],
    }


def _parts(n_units: int) -> Iterator[slice]:
    yield from (slice(low, low + AT_ONCE) for low in range(0, n_units, AT_ONCE))


def _by_layer(loads: Sequence[NDArray[np.int64]], placement: Placement, of: Callable[..., Floats]) -> Floats:
    """Return the load of each device or node ``[unit, layer, device]``."""
    return np.stack([of(load, placement, place) for place, load in enumerate(loads)], axis=1)


def _mean(by_layer: Floats) -> Floats:
    """Return the mean over the layers that have tokens ``[...]``."""
    known = np.isfinite(by_layer)
    n = known.sum(axis=-1)
    return np.where(n > 0, np.where(known, by_layer, 0.0).sum(axis=-1) / np.maximum(n, 1), math.nan)


def _largest(by_layer: Floats) -> Floats:
    """Return the largest of the layers that have tokens ``[...]``."""
    found = np.where(np.isfinite(by_layer), by_layer, -np.inf).max(axis=-1)
    return np.asarray(np.where(np.isfinite(found), found, math.nan))


def _balance_gain(
    both: tuple[Placement, Placement],
    held_out: HeldOutUnits,
    made_from: HeldOutUnits,
    of: Callable[..., Floats],
    over_layers: Callable[[Floats], Floats],
) -> PlacementGain:
    made = [float(over_layers(imbalance(_by_layer(made_from.loads, one, of)))[0]) for one in both]
    loads = [_by_layer(held_out.loads, one, of) for one in both]
    layers = [imbalance(one.sum(axis=0)) for one in loads]
    whole = [float(over_layers(one)) for one in layers]
    left_out = [over_layers(imbalance(one.sum(axis=0) - one)) for one in loads]
    size = held_out.tokens
    found = [_jackknifed(*one, size) for one in zip(whole, left_out, strict=True)]
    gain = _jackknifed(whole[0] - whole[1], left_out[0] - left_out[1], size)
    if not len(size):
        found, gain = [held_out.no_estimate] * 2, held_out.no_estimate
    return PlacementGain(found[0], found[1], gain, made[0], made[1], layers[0], layers[1])


def _jackknifed(whole: float, left_out: Floats, size: NDArray[np.int64]) -> Estimate:
    if len(size) < 2:
        return without_interval(whole, len(size), too_few(size) or "")
    return jackknife(whole, left_out, size)


def _affinity_gain(number: int, level: int, held_out: HeldOutUnits, made_from: HeldOutUnits) -> PlacementGain:
    before, after = held_out.stay[0, level], held_out.stay[number, level]
    pairs = held_out.pairs
    layers = [_share(one.sum(axis=0), pairs.sum(axis=0)) for one in (before, after)]
    made = [
        float(_share(made_from.stay[at, level].sum(), made_from.pairs.sum())) for at in (0, number)
    ]
    if not pairs.shape[1] or not len(pairs):
        why = held_out.no_estimate
        if not pairs.shape[1]:
            why = without_interval(math.nan, len(pairs), "one layer: there is no transition that could stay")
        return PlacementGain(why, why, why, made[0], made[1], layers[0], layers[1])
    total = pairs.sum(axis=1)
    found = [ratio(one.sum(axis=1), total) for one in (before, after, after - before)]
    return PlacementGain(found[0], found[1], found[2], made[0], made[1], layers[0], layers[1])


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Floats:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), math.nan)
