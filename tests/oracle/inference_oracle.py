"""Slow and obvious versions of what routestat.inference computes: loops over tokens, cells and groups."""

import math
from collections import Counter
from dataclasses import dataclass

import mpmath
import numpy as np
from scipy import stats


@dataclass
class Clustered:
    x2: float
    trace: float
    nu: float
    bias: np.ndarray
    p: float
    spread: float


def tail_of_signs(products: np.ndarray, statistic: float, floor: float | None = None) -> float:
    """P of a distribution with the first three moments of sum over g != h of signs e_g e_h times the products."""
    groups = range(len(products))
    square = sum(products[g, h] ** 2 for g in groups for h in groups if g != h)
    triples = sum(
        products[g, h] * products[h, k] * products[k, g]
        for g in groups
        for h in groups
        for k in groups
        if len({g, h, k}) == 3
    )
    skewness = 8 * triples / (2 * square) ** 1.5
    z = statistic / math.sqrt(2 * square)
    p = stats.norm.sf(z) if skewness < 0.01 else stats.pearson3.sf(z, skewness)
    return max(float(p), 0.5 ** (len(products) - 1) if floor is None else floor)


def bias_of_products(share: np.ndarray, a: np.ndarray, b: np.ndarray, d: np.ndarray) -> np.ndarray:
    """What estimated margins add to each product of two groups' scores, from deviations from those margins.

    The mean squares of the true deviations solve linear equations; see `routestat.inference.base.pair_bias`.
    """
    groups = len(share)
    least = np.minimum(share, 0.4)
    system = np.diag(1 - 2 * least) + np.outer(share**2, np.ones(groups))
    a, b = np.linalg.solve(system, a), np.linalg.solve(system, b)
    bias = np.zeros((groups, groups))
    for g in range(groups):
        for h in range(groups):
            if g == h:
                continue
            for one, two in ((g, h), (h, g)):
                w = share[one]
                rest_a, rest_b = a[one] - w * a.sum(), b[one] - w * b.sum()
                own = d[one] + (1 - w) * (rest_a * b[one] + rest_b * a[one]) - w * rest_a * rest_b
                bias[g, h] += share[two] * own / (1 - least[one]) ** 2 + a[one] * b[two]
                bias[g, h] -= share[two] * (a.sum() * b[one] + b.sum() * a[one])
            bias[g, h] += share[g] * share[h] * a.sum() * b.sum()
    return bias


def clustered_by_tokens(documents: list[tuple[np.ndarray, np.ndarray]]) -> Clustered:
    """The clustered test from the tokens themselves: documents of indicator rows (x[token, i], y[token, j])."""
    n = sum(len(x) for x, _ in documents)
    r = sum(x.sum(axis=0) for x, _ in documents) / n
    c = sum(y.sum(axis=0) for _, y in documents) / n
    e = np.outer(r, c)
    p = sum(x.T @ y for x, y in documents) / n
    null_scores, centred_scores = [], []
    for x, y in documents:
        score = np.zeros_like(e)
        for token_x, token_y in zip(x, y, strict=True):
            score += np.outer(token_x - r, token_y - c)
        null_scores.append(score / np.sqrt(e) / math.sqrt(n))
        table, margin_x, margin_y = x.T @ y, x.sum(axis=0), y.sum(axis=0)
        centred = table - np.outer(r, margin_y) - np.outer(margin_x, c) + len(x) * (2 * e - p)
        centred_scores.append(centred / np.sqrt(e))
    groups = len(documents)
    trace = cross = 0.0
    for g in range(groups):
        for h in range(groups):
            product = float((null_scores[g] * null_scores[h]).sum())
            if g == h:
                trace += product
            else:
                cross += product
    sizes = np.array([len(x) for x, _ in documents])
    a, b, d = [], [], []
    for x, y in documents:
        u, v = x.sum(axis=0) - len(x) * r, y.sum(axis=0) - len(y) * c
        a.append((u**2 / r).sum() / n**1.5)
        b.append((v**2 / c).sum() / n**1.5)
        z = sum(np.outer(one - r, other - c) for one, other in zip(x, y, strict=True))
        d.append((z * np.outer(u, v) / e).sum() / n**2)
    bias = bias_of_products(sizes / n, np.array(a), np.array(b), np.array(d))
    flat = np.array([score.ravel() for score in null_scores])
    products = flat @ flat.T - bias
    np.fill_diagonal(products, 0.0)
    nu = trace**2 / (products**2).sum()
    p = tail_of_signs(products, products.sum())
    spread = sum(float((score**2).sum()) for score in centred_scores) * groups / ((groups - 1) * n)
    return Clustered(trace + cross, trace, nu, bias, p, spread)


def log_evidence_by_urn(counts: list[int], alpha: list[float]) -> float:
    """One token after another from a Polya urn: each has probability (alpha_k + seen_k) / (A + seen)."""
    weights, log_p = list(alpha), 0.0
    for k, count in enumerate(counts):
        for _ in range(count):
            log_p += math.log(weights[k] / sum(weights))
            weights[k] += 1
    return log_p


def nsb_by_mpmath(counts: list[int]) -> float:
    """Nemenman, Shafee and Bialek's entropy in nats, with 40 digits and no rearrangement."""
    with mpmath.workdps(40):
        cells, n, distinct = len(counts), sum(counts), Counter(counts).items()

        def density(u: mpmath.mpf) -> mpmath.mpf:
            b = mpmath.e**u
            log = mpmath.loggamma(cells * b) - mpmath.loggamma(n + cells * b)
            log += sum(m * (mpmath.loggamma(c + b) - mpmath.loggamma(b)) for c, m in distinct)
            return log + mpmath.log(cells * mpmath.psi(1, cells * b + 1) - mpmath.psi(1, b + 1)) + u

        def mean(u: mpmath.mpf) -> mpmath.mpf:
            b = mpmath.e**u
            whole = n + cells * b
            return mpmath.psi(0, whole + 1) - sum(
                m * (c + b) / whole * mpmath.psi(0, c + b + 1) for c, m in distinct
            )

        grid = [mpmath.mpf(i) / 12 for i in range(-400, 520)]
        logs = [density(u) for u in grid]
        weights = [mpmath.e ** (log - max(logs)) for log in logs]
        return float(sum(w * mean(u) for w, u in zip(weights, grid, strict=True)) / sum(weights))


def grassberger_g(n: int) -> float:
    """G_n by the recursion of Grassberger (2003): G_1 = -gamma - ln 2, G_2 = 2 + G_1, G_2n+2 = G_2n + 2/(2n+1)."""
    if n == 1:
        return -float(np.euler_gamma) - math.log(2)
    value = 2 - float(np.euler_gamma) - math.log(2)
    for half in range(1, n // 2):
        value += 2 / (2 * half + 1)
    return value


def chao_shen(counts: list[int]) -> float:
    """Chao and Shen's entropy in nats, cell by cell."""
    n = sum(counts)
    coverage = 1 - sum(c == 1 for c in counts) / n
    total = 0.0
    for c in counts:
        if c:
            share = coverage * c / n
            total -= share * math.log(share) / (1 - (1 - share) ** n)
    return total


def step_up(p: list[float], by: bool) -> list[float]:
    """Adjusted p-values by their definition: the least m p_(j) / j over all j at or above the rank."""
    m = len(p)
    factor = m * sum(1 / i for i in range(1, m + 1)) if by else m
    ordered = sorted(p)
    return [
        min(1.0, min(factor * ordered[j] / (j + 1) for j in range(m) if ordered[j] >= value)) for value in p
    ]


def predicted_right(table: np.ndarray) -> tuple[float, float]:
    """Goodman-Kruskal (tau, lambda) for columns from rows: errors with and without the row, counted cell by cell."""
    n = table.sum()
    column = table.sum(axis=0)
    blind_tau = sum(c / n * (n - c) / n for c in column)
    known_tau = sum(
        table[i, j] / n * (1 - table[i, j] / table[i].sum())
        for i in range(table.shape[0])
        for j in range(table.shape[1])
    )
    blind = n - column.max()
    known = sum(row.sum() - row.max() for row in table)
    return (blind_tau - known_tau) / blind_tau, (blind - known) / blind


def without_bias(whole: float, left_out: list[float], size: np.ndarray) -> float:
    """I of the equations F = I + sum w_h**2 v_h and F_-g = I + sum over h != g of w_h**2 v_h / (1 - w_g)**2."""
    groups, share = len(size), np.asarray(size) / np.sum(size)
    system, known = np.zeros((groups + 1, groups + 1)), np.array([whole, *left_out])
    system[:, 0] = 1.0
    for h in range(groups):
        system[0, 1 + h] = share[h] ** 2
        for g in range(groups):
            if g != h:
                system[1 + g, 1 + h] = (share[h] / (1 - share[g])) ** 2
    return float(np.linalg.solve(system, known)[0])
