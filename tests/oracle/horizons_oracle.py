"""Slow and obvious versions of routestat.inference.horizons and homogeneity: loops over groups, states and steps."""

import math
from itertools import product

import numpy as np


def transitions(table):
    """Rows over their sums; zero where there is nothing."""
    return np.array([row / row.sum() if row.sum() else np.zeros(len(row)) for row in table.astype(float)])


def implied(steps):
    """The product of the steps' distributions, each `[group, source, target]`, path by path."""
    matrices = [transitions(step.sum(axis=0)) for step in steps]
    widths = [range(p.shape[0]) for p in matrices] + [range(matrices[-1].shape[1])]
    out = np.zeros((len(widths[0]), len(widths[-1])))
    for path in product(*widths):
        out[path[0], path[-1]] += math.prod(
            p[i, j] for p, i, j in zip(matrices, path[:-1], path[1:], strict=True)
        )
    return out


def information(joint):
    """In bits, of shares or counts."""
    p = joint / joint.sum()
    cells = product(range(p.shape[0]), range(p.shape[1]))
    return sum(p[i, j] * math.log2(p[i, j] / p[i].sum() / p[:, j].sum()) for i, j in cells if p[i, j] > 0)


def figures(steps, direct):
    """Counted and implied information, their difference, and the discrepancy, plug-in, in bits."""
    table, chain = direct.sum(axis=0), implied(steps)
    rows = table.sum(axis=1) / table.sum()
    counted, other, found = transitions(table), information(rows[:, None] * chain), 0.0
    for x, z in zip(*np.nonzero(table), strict=True):
        found += rows[x] * counted[x, z] * math.log2(counted[x, z] / chain[x, z])
    return np.array([information(table), other, information(table) - other, found])


def without(arrays, group):
    return [np.delete(a, group, axis=0) for a in arrays]


def scores(steps, direct):
    """Z_g `[group, source, target]`, unweighed, by the sum over the step that the group moves."""
    total, chain = direct.sum(axis=0), implied(steps)
    out = []
    for g in range(len(direct)):
        z = direct[g] - direct[g].sum(axis=1)[:, None] * chain
        for m, step in enumerate(steps):
            moved = np.zeros(step.shape[1:])
            for i in range(step.shape[1]):
                n = step[:, i].sum()
                if n:
                    moved[i] = (step[g, i] - step[g, i].sum() * step[:, i].sum(axis=0) / n) / n
            for other in reversed(range(m)):
                moved = transitions(steps[other].sum(axis=0)) @ moved
            for other in range(m + 1, len(steps)):
                moved = moved @ transitions(steps[other].sum(axis=0))
            z = z - total.sum(axis=1)[:, None] * moved
        out.append(z)
    return np.array(out)


def residual(steps, direct):
    total = direct.sum(axis=0)
    return total - total.sum(axis=1)[:, None] * implied(steps)


def gram_and_cross(steps, direct):
    """M_gh, and the sum of Z_g . E_-g with E_-g from the tables without g."""
    expected = direct.sum(axis=0).sum(axis=1)[:, None] * implied(steps)
    weight = np.array([[1 / e if e > 0 else 0.0 for e in row] for row in expected])
    z = scores(steps, direct)
    gram = np.array([[(a * b * weight).sum() for b in z] for a in z])
    cross = 0.0
    for g in range(len(direct)):
        *rest, table = without([*steps, direct], g)
        cross += (z[g] * residual(rest, table) * weight).sum()
    return gram, cross


def conditional_entropy(table):
    p = table / table.sum()
    return -sum(p[i, j] * math.log2(p[i, j] / p[i].sum()) for i, j in zip(*np.nonzero(table), strict=True))


def gap_scores(figure, tables):
    """What each group adds to the jackknife estimate of each gap, less what its size alone would, `[group, gap]`."""
    columns, estimates = [], []
    for table in tables:
        n = table.sum()
        whole, squares = figure(table.sum(axis=0)), sum((t.sum() / n) ** 2 for t in table)
        added, weights = [], []
        for g in range(len(table)):
            w = table[g].sum() / n
            rest = figure(np.delete(table, g, axis=0).sum(axis=0))
            added.append((1 - w) * (whole - (1 - w) * rest) / (1 - squares))
            weights.append((1 - w) * w / (1 - squares))
        estimates.append(sum(added))
        columns.append((added, weights))
    mean = sum(estimates) / len(estimates)
    raw = np.array([[a - mean * w for a, w in zip(*column, strict=True)] for column in columns]).T
    return raw - raw.mean(axis=1)[:, None], np.array(estimates)
