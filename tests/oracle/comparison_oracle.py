"""Slow and obvious versions of routestat.inference.comparison and its kin: loops over groups, rows and cells."""

import math

import numpy as np

from tests.oracle.inference_oracle import tail_of_signs


def units(a, b, paired):
    """Independent units as pairs (table of a or None, table of b or None)."""
    if paired:
        return [(x, y) for x, y in zip(a, b, strict=True) if x.sum() + y.sum()]
    return [(x, None) for x in a if x.sum()] + [(None, y) for y in b if y.sum()]


def clustered_test(a, b, paired=False):
    """X2, p and design effect of tables [group, row, column], one score at a time."""
    groups = units(a, b, paired)
    total_a, total_b = a.sum(axis=0).astype(float), b.sum(axis=0).astype(float)
    scores, bias, dof = [[] for _ in groups], 0.0, 0
    centred = [[] for _ in groups]
    for row in range(total_a.shape[0]):
        r_a, r_b = total_a[row].sum(), total_b[row].sum()
        if not r_a or not r_b:
            continue
        r = r_a + r_b
        used = [j for j in range(total_a.shape[1]) if total_a[row, j] + total_b[row, j]]
        dof += len(used) - 1
        residual_squares, cross = 0.0, []
        for place, (x, y) in enumerate(groups):
            q = (x[row].sum() / r_a if x is not None else 0.0) - (
                y[row].sum() / r_b if y is not None else 0.0
            )
            product = 0.0
            for j in used:
                p = (total_a[row, j] + total_b[row, j]) / r
                p_a, p_b = total_a[row, j] / r_a, total_b[row, j] / r_b
                e_a = x[row, j] - x[row].sum() * p if x is not None else 0.0
                e_b = y[row, j] - y[row].sum() * p if y is not None else 0.0
                weight = math.sqrt(r_a * r_b / (r * p))
                score, residual = (e_a / r_a - e_b / r_b) * weight, (e_a + e_b) * weight
                scores[place].append(score)
                product += score * residual
                residual_squares += residual**2
                z_a = (x[row, j] - x[row].sum() * p_a) / r_a if x is not None else 0.0
                z_b = (y[row, j] - y[row].sum() * p_b) / r_b if y is not None else 0.0
                centred[place].append((z_a - z_b) * weight)
            cross.append((q, product))
        bias += sum(2 * q * product / r - q**2 * residual_squares / r**2 for q, product in cross)
    products = np.array([[sum(u * v for u, v in zip(x, y, strict=True)) for x in scores] for y in scores])
    x2, trace = float(products.sum()), float(np.trace(products))
    np.fill_diagonal(products, 0.0)
    nu = trace**2 / (products**2).sum()
    n_a, n_b = (sum(t.sum() > 0 for t in tables) for tables in (a, b))
    floor = 0.5 ** (len(groups) - 1) if paired else 1 / math.comb(n_a + n_b, n_a)
    p = tail_of_signs(products, products.sum() - bias, floor)
    spread = 0.0
    for (x, _), score in zip(groups, centred, strict=True):
        n = min(n_a, n_b) if paired else n_a if x is not None else n_b
        spread += n / (n - 1) * sum(v * v for v in score)
    return {"chi2": x2, "p": p, "nu": nu, "dof": dof, "design_effect": spread / dof}


def divergence(a, b):
    """Jensen-Shannon divergence in bits of two tables."""
    p, q = a / a.sum(), b / b.sum()
    bits = 0.0
    for x, y in zip(p.ravel(), q.ravel(), strict=True):
        m = (x + y) / 2
        bits += (x * math.log2(x / m) if x else 0.0) / 2 + (y * math.log2(y / m) if y else 0.0) / 2
    return bits


def conditional_divergence(a, b):
    """Mean over rows of the rows' divergence, each row weighted by its share in either sample."""
    p, q = a / a.sum(), b / b.sum()
    bits = 0.0
    for x, y in zip(p, q, strict=True):
        mean, share = (x.sum() + y.sum()) / 2, x.sum() / (x.sum() + y.sum()) if x.sum() + y.sum() else 0.0
        for u, v in zip(x, y, strict=True):
            given_a, given_b = u / x.sum() if x.sum() else 0.0, v / y.sum() if y.sum() else 0.0
            m = share * given_a + (1 - share) * given_b
            bits += mean * share * (given_a * math.log2(given_a / m) if given_a else 0.0)
            bits += mean * (1 - share) * (given_b * math.log2(given_b / m) if given_b else 0.0)
    return bits


def without_bias(whole, left, share):
    """F0 of F = F0 + sum of w_g**2 v_g and F_-g = F0 + sum over h != g of w_h**2 v_h / (1 - w_g)**2, as equations."""
    groups = len(left)
    system = np.ones((groups + 1, groups + 1))
    system[0, 1:] = share**2
    for g in range(groups):
        system[g + 1, 1:] = [share[h] ** 2 / (1 - share[g]) ** 2 if h != g else 0.0 for h in range(groups)]
    return float(np.linalg.solve(system, np.array([whole, *left]))[0])


def jackknife(statistic, a, b, paired=False):
    """Estimate and standard error, leaving out one group after the other."""
    whole = statistic(a.sum(axis=0), b.sum(axis=0))
    share_a, share_b = (np.array([t.sum() for t in table]) / table.sum() for table in (a, b))
    if paired:
        left = [
            statistic(np.delete(a, g, 0).sum(axis=0), np.delete(b, g, 0).sum(axis=0)) for g in range(len(a))
        ]
        sides = [(left, (share_a + share_b) / 2)]
    else:
        out_a = [statistic(np.delete(a, g, 0).sum(axis=0), b.sum(axis=0)) for g in range(len(a))]
        out_b = [statistic(a.sum(axis=0), np.delete(b, g, 0).sum(axis=0)) for g in range(len(b))]
        sides = [(out_a, share_a), (out_b, share_b)]
    estimate, variance = whole, 0.0
    for left, share in sides:
        estimate -= whole - without_bias(whole, left, share)
        moves = (1 - share) * (whole - np.array(left))
        variance += len(left) * np.var(moves, ddof=1)
    return estimate, math.sqrt(variance)


def cell_errors(a, b, paired=False):
    """Standard error of each cell's difference of shares, from counts [group, cell]."""
    n_a, n_b = a.sum(), b.sum()
    errors = []
    for cell in range(a.shape[1]):
        p_a, p_b = a[:, cell].sum() / n_a, b[:, cell].sum() / n_b
        z_a = [(t[cell] - t.sum() * p_a) / n_a for t in a]
        z_b = [(t[cell] - t.sum() * p_b) / n_b for t in b]
        if paired:
            variance = len(a) / (len(a) - 1) * sum((x - y) ** 2 for x, y in zip(z_a, z_b, strict=True))
        else:
            variance = sum(len(z) / (len(z) - 1) * sum(v * v for v in z) for z in (z_a, z_b))
        errors.append(math.sqrt(variance))
    return np.array(errors)
