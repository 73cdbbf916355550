"""Smoothing of counts after two sources as textbooks have it, token by token where that is the clearest."""

import numpy as np


def discount(counts: np.ndarray) -> float:
    """n1 / (n1 + 2 n2) with n1 and n2 the cells met once and twice; half a cell replaces none met once.

    Without the stand-in, cells that were never met would have probability zero. One half where none was met
    once or twice.
    """
    once, twice = float((counts == 1).sum()), float((counts == 2).sum())
    if once + twice == 0:
        return 0.5
    once = max(once, 0.5)
    return once / (once + 2.0 * twice)


def interpolated(row: np.ndarray, d: float, shorter: np.ndarray) -> np.ndarray:
    """What is left of a row of counts after the discount, and the rest by the shorter context's distribution."""
    total = row.sum()
    if total == 0:
        return shorter
    return np.maximum(row - d, 0.0) / total + d * (row > 0).sum() / total * shorter


def kneser_ney(counts: np.ndarray) -> np.ndarray:
    """P(z | x, y) `[x, y, z]` from counts `[x, y, z]`, interpolated, one absolute discount per order.

    Shorter contexts count in how many longer ones a cell was met, not how often; below them all is uniform.

    References
    ----------
    Kneser & Ney (1995), ICASSP; Chen & Goodman (1999), Computer Speech & Language 13 (interpolated).
    """
    counts = np.asarray(counts)
    n_x, n_y, n_z = counts.shape
    met_yz = np.array(
        [[sum(counts[x, y, z] > 0 for x in range(n_x)) for z in range(n_z)] for y in range(n_y)]
    )
    met_z = np.array([sum(met_yz[y, z] > 0 for y in range(n_y)) for z in range(n_z)])
    d3, d2, d1 = discount(counts), discount(met_yz), discount(met_z)
    p_z = interpolated(met_z, d1, np.full(n_z, 1.0 / n_z))
    distribution = np.empty(counts.shape)
    for y in range(n_y):
        p_yz = interpolated(met_yz[y], d2, p_z)
        for x in range(n_x):
            distribution[x, y] = interpolated(counts[x, y], d3, p_yz)
    return distribution


def add(counts: np.ndarray, more: float) -> np.ndarray:
    """P(z | x, y) with `more` added to every count: 1 is Laplace's rule, one half that of Krichevsky and Trofimov."""
    raised = np.asarray(counts) + more
    return raised / raised.sum(axis=-1, keepdims=True)


def laplace(counts: np.ndarray) -> np.ndarray:
    """One added to every count `[x, y, z]`."""
    return add(counts, 1.0)


def krichevsky_trofimov(counts: np.ndarray) -> np.ndarray:
    """One half added to every count `[x, y, z]`."""
    return add(counts, 0.5)


def excess_bits(joint: np.ndarray, distribution: np.ndarray) -> float:
    """Mean log loss of `distribution` `[x, y, z]` beyond that of the truth `joint` `[x, y, z]`, in bits."""
    seen = joint > 0
    true_distribution = joint / np.where(seen.any(axis=2), joint.sum(axis=2), 1.0)[:, :, None]
    return float((joint[seen] * np.log2(true_distribution[seen] / distribution[seen])).sum())
