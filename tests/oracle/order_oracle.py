"""Order 1 against order 2 by definition: loops over cells, all tables with given margins, products of scores."""

import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from routestat.counting.document_sample import Sample
from routestat.counting.strata import Strata, count_strata
from routestat.traces.clusters.units import Units
from routestat.traces.metadata import Router
from tests.oracle.inference_oracle import bias_of_products


def strata_of_tokens(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, document: np.ndarray, sizes: tuple[int, int, int]
) -> Strata:
    """Count tokens x -> y -> z of `sizes` states, as a trace of three layers that chose one expert each."""
    routers = tuple(Router(layer, size, 1) for layer, size in enumerate(sizes))
    columns = {router.name: state for router, state in zip(routers, (x, y, z), strict=True)}
    n, groups = len(x), int(document.max()) + 1 if len(x) else 1
    unknown = np.full(n, -1, np.int32)
    sample = Sample(
        routers,
        unknown,
        document.astype(np.int32),
        np.zeros(n, bool),
        columns,
        Units.alone(np.arange(groups)),
        groups,
        groups,
        n,
    )
    return count_strata(sample, routers[0], routers[2], routers[1])


def strata_of(cube: np.ndarray) -> Strata:
    """The same of counts `[group, stratum, source, target]`; one document a group."""
    cube = np.asarray(cube)
    cells = np.nonzero(cube)
    group, y, x, z = (np.repeat(axis, cube[cells]) for axis in cells)
    return strata_of_tokens(x, y, z, group, (cube.shape[2], cube.shape[1], cube.shape[3]))


def likelihood_ratio(cube: np.ndarray) -> tuple[float, float, int]:
    """G2, X2 and their degrees of freedom of counts `[stratum, source, target]`."""
    g = chi2 = 0.0
    dof = 0
    for table in cube:
        n = table.sum()
        if not n:
            continue
        rows = [i for i in range(len(table)) if table[i].sum()]
        columns = [j for j in range(table.shape[1]) if table[:, j].sum()]
        dof += (len(rows) - 1) * (len(columns) - 1)
        for i in rows:
            for j in columns:
                expected = table[i].sum() * table[:, j].sum() / n
                chi2 += (table[i, j] - expected) ** 2 / expected
                if table[i, j]:
                    g += 2 * table[i, j] * math.log(table[i, j] / expected)
    return g, chi2, dof


def tables_with(rows: list[int], columns: list[int]) -> Iterator[list[list[int]]]:
    """Every table of whole counts with these margins."""
    if len(rows) == 1:
        yield [list(columns)]
        return
    for first in _splits(rows[0], columns):
        left = [c - f for c, f in zip(columns, first, strict=True)]
        for rest in tables_with(rows[1:], left):
            yield [first, *rest]


def _splits(n: int, left: list[int]) -> Iterator[list[int]]:
    if len(left) == 1:
        if n <= left[0]:
            yield [n]
        return
    for first in range(min(n, left[0]) + 1):
        for rest in _splits(n - first, left[1:]):
            yield [first, *rest]


def exact_distribution(cube: np.ndarray) -> dict[float, float]:
    """The distribution of G2 over all tables with the margins of every stratum: value (to 1e-9) to probability."""
    distribution = {0.0: 1.0}
    for table in cube:
        rows, columns = table.sum(axis=1).tolist(), table.sum(axis=0).tolist()
        margins = sum(math.lgamma(m + 1) for m in (*rows, *columns)) - math.lgamma(table.sum() + 1)
        own: dict[float, float] = defaultdict(float)
        for other in tables_with(rows, columns):
            p = math.exp(margins - sum(math.lgamma(c + 1) for row in other for c in row))
            own[round(likelihood_ratio(np.array([other]))[0], 9)] += p
        both: dict[float, float] = defaultdict(float)
        for a, p in distribution.items():
            for b, q in own.items():
                both[round(a + b, 9)] += p * q
        distribution = both
    return distribution


def clustered(cube: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products of the groups' scores and the bias of each, of counts `[group, stratum, source, target]`."""
    groups = len(cube)
    gram, bias = np.zeros((groups, groups)), np.zeros((groups, groups))
    for tables in np.moveaxis(cube, 1, 0).astype(float):
        met = [g for g in range(groups) if tables[g].sum()]
        tables = tables[:, tables.sum(axis=(0, 2)) > 0][:, :, tables.sum(axis=(0, 1)) > 0]
        if len(met) < 2 or min(tables.shape[1:]) < 2:
            continue
        n = tables.sum()
        r, c = tables.sum(axis=(0, 2)) / n, tables.sum(axis=(0, 1)) / n
        weight = 1 / np.outer(r, c) / n
        size = {g: tables[g].sum() for g in met}
        u = {g: tables[g].sum(axis=1) - size[g] * r for g in met}
        v = {g: tables[g].sum(axis=0) - size[g] * c for g in met}
        z = {g: tables[g] - np.outer(r, v[g]) - np.outer(u[g], c) - size[g] * np.outer(r, c) for g in met}
        for g in met:
            for h in met:
                gram[g, h] += (z[g] * z[h] * weight).sum()
        a = np.array([(u[g] ** 2 / r).sum() for g in met]) / n**1.5
        b = np.array([(v[g] ** 2 / c).sum() for g in met]) / n**1.5
        d = np.array([(z[g] * np.outer(u[g], v[g]) / np.outer(r, c)).sum() for g in met]) / n**2
        bias[np.ix_(met, met)] += bias_of_products(np.array([size[g] for g in met]) / n, a, b, d)
    return gram, bias
