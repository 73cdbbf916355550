"""The layer × layer map: the dependence of every pair of layers, one pair at a time."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.association.expert_independence import ExpertIndependence, independence_of_inclusions
from routestat.inference.association.independence import Independence, independence
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.information.entropy import entropy
from routestat.inference.information.inclusion_counts import inclusion_counts
from routestat.inference.information.inclusion_information import information_of
from routestat.inference.information.mutual_information import mutual_information_interval
from routestat.inference.information.scarcity import Scarcity, scarcity
from routestat.progress import over_threads

#: A table, or what counts it.
PairTable = ArrayLike | Callable[[], ArrayLike]
PairTables = Mapping[tuple[int, int], PairTable] | Iterable[tuple[tuple[int, int], PairTable]]

_MATRICES = (
    "mi_bits", "mi_bits_low", "mi_bits_high", "mi_bits_plugin", "cramers_v_corrected", "design_effect",
    "p_clustered", "log10_p_clustered", "log10_q_clustered",
)  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerMap:
    """The dependence of layers, matrices ``[layer, layer]``; symmetric, NaN where a pair was not given.

    Attributes
    ----------
    layers : tuple of int
        Names of rows and columns.
    mi_bits, mi_bits_low, mi_bits_high, mi_bits_plugin
        Mutual information in bits: delete-group jackknife, its 95 % interval, plug-in. The diagonal of the
        first and last is the layer's entropy (Miller-Madow and plug-in).
        In the expert view information is that of a random expert at either end.
    cramers_v_corrected, design_effect
        Bergsma's effect size with tokens / design effect, and the design effect; NaN on the diagonal and in the
        expert view.
    p_clustered, log10_p_clustered, log10_q_clustered
        Second-order clustered test, and after Benjamini and Hochberg over all pairs of the map.
    reasons : dict of (int, int) to str
        Why a pair's values are NaN.
    scarce : dict of (int, int) to Scarcity
        Whether a pair's table has enough tokens for its width.
    """

    layers: tuple[int, ...]
    mi_bits: Floats
    mi_bits_low: Floats
    mi_bits_high: Floats
    mi_bits_plugin: Floats
    cramers_v_corrected: Floats
    design_effect: Floats
    p_clustered: Floats
    log10_p_clustered: Floats
    log10_q_clustered: Floats
    reasons: dict[tuple[int, int], str]
    scarce: dict[tuple[int, int], Scarcity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Pair:
    """What is known of one pair: its figures, why some are NaN, and counts of the choices of both layers."""

    figures: dict[str, float]
    reason: str | None
    scarce: Scarcity
    margins: tuple[NDArray[np.number], NDArray[np.number]]


def layer_map(
    pair_tables: PairTables,
    layers: Sequence[int] | None = None,
    top_k: Mapping[int, int] | None = None,
    level: float = 0.95,
    threads: int = 1,
) -> LayerMap:
    """Measure the dependence of pairs of layers, with two tables in memory at a time for each thread.

    Parameters
    ----------
    pair_tables : mapping or iterable of ((source layer, target layer), table ``[group, source, target]``)
        Give a generator, or functions that return a table, where the tables together would not fit in memory; the
        functions are called in the threads. A pair is given once, in either
        direction; groups are taken as independent, tokens within a group are not.
    layers : sequence of int, optional
        Rows and columns of the map, in this order; all given ones, sorted, by default.
    top_k : mapping of layer to experts per token, optional
        The expert view: a token is in k·k cells of a table. None for tables of states.
    level : float
        Of the intervals.
    threads : int
        Pairs measured at a time.

    Raises
    ------
    RoutestatError
        If a pair comes twice, names one layer twice, or a layer outside `layers`.
    """
    keys: dict[tuple[int, int], None] = {}
    wanted = None if layers is None else set(layers)
    items = iter(pair_tables.items() if isinstance(pair_tables, Mapping) else pair_tables)

    def measured(given: PairTable, k: tuple[int, int] | None) -> _Pair:
        return _measure(np.asarray(given() if callable(given) else given), k, level)

    def jobs() -> Iterator[Callable[[], _Pair]]:
        for (source, target), given in items:
            _check_pair(source, target, keys, wanted)
            keys[source, target] = None
            yield partial(measured, given, None if top_k is None else (top_k[source], top_k[target]))

    measures = list(over_threads(jobs(), threads))
    pairs = dict(zip(keys, measures, strict=True))
    selves: dict[int, tuple[float, float]] = {}
    for key, pair in pairs.items():
        for layer, margin in zip(key, pair.margins, strict=True):
            if layer not in selves:
                selves[layer] = entropy(margin), entropy(margin, "plugin")
    order = tuple(sorted(selves)) if layers is None else tuple(layers)
    return LayerMap(
        layers=order,
        reasons={key: pair.reason for key, pair in pairs.items() if pair.reason},
        scarce={key: pair.scarce for key, pair in pairs.items()},
        **_matrices(order, {key: pair.figures for key, pair in pairs.items()}, selves),
    )


def without_diagonal(matrix: ArrayLike) -> Floats:
    """Return the matrix with NaN on its diagonal, where an item is compared with itself."""
    values = np.array(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise RoutestatError(f"matrix: expected as many rows as columns, got shape {values.shape}")
    np.fill_diagonal(values, np.nan)
    return read_only(values)


def _check_pair(
    source: int, target: int, found: Mapping[tuple[int, int], object], wanted: set[int] | None
) -> None:
    if source == target:
        raise RoutestatError(f"layer {source} against itself is its entropy; give pairs of different layers")
    if (source, target) in found or (target, source) in found:
        raise RoutestatError(f"layers {source} and {target} came twice; give each pair once")
    if wanted is not None and not {source, target} <= wanted:
        raise RoutestatError(
            f"layers {source} and {target} are not both among the layers of the map; leave the pair out"
        )


def _measure(tables: NDArray[np.integer], top_k: tuple[int, int] | None, level: float) -> _Pair:
    effect: dict[str, float] = {}
    test: Independence | ExpertIndependence
    if top_k is None:
        information, test = mutual_information_interval(tables, level), independence(tables)
        effect = {"cramers_v_corrected": test.cramers_v_corrected, "design_effect": test.design_effect}
        total, slots = tables.sum(axis=0, dtype=np.int64), 1
        margins = total.sum(axis=1), total.sum(axis=0)
    else:
        counts = inclusion_counts(tables, *top_k)
        information, test = information_of(counts, level), independence_of_inclusions(counts)
        total, slots = counts.total.astype(np.int64), counts.cells
        margins = counts.sources.sum(axis=0), counts.targets.sum(axis=0)
    figures = effect | {
        "mi_bits": information.mi_bits,
        "mi_bits_low": information.low,
        "mi_bits_high": information.high,
        "mi_bits_plugin": information.mi_bits_plugin,
        "p_clustered": test.p_clustered,
        "log10_p_clustered": test.log10_p_clustered,
    }
    scarce = scarcity(total, slots, effect.get("design_effect", 1.0))
    return _Pair(figures, information.reason or test.reason, scarce, margins)


def _matrices(
    layers: tuple[int, ...],
    found: Mapping[tuple[int, int], Mapping[str, float]],
    selves: Mapping[int, tuple[float, float]],
) -> dict[str, Floats]:
    place = {layer: at for at, layer in enumerate(layers)}
    out = {name: np.full((len(layers), len(layers)), math.nan) for name in _MATRICES}
    log10_q = adjust_log10([figures["log10_p_clustered"] for figures in found.values()])
    for ((source, target), figures), q in zip(found.items(), log10_q, strict=True):
        i, j = place[source], place[target]
        for name, value in (*figures.items(), ("log10_q_clustered", float(q))):
            out[name][i, j] = out[name][j, i] = value
    for layer, (bits, plugin) in selves.items():
        out["mi_bits"][place[layer], place[layer]] = bits
        out["mi_bits_plugin"][place[layer], place[layer]] = plugin
    return {name: read_only(matrix) for name, matrix in out.items()}
