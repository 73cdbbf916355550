"""K-means of many small sets of points at once, from the starts and by the rules of scikit-learn's KMeans."""

import math

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Labels = NDArray[np.int64]

STARTS = 10
_MOST_ROUNDS = 300
_TOLERANCE = 1e-4
# Distances that are held at once, of all starts together.
_AT_ONCE = 1 << 22


def k_means(points: Points, n_clusters: int, seeds: NDArray[np.integer], starts: int = STARTS) -> Labels:
    """Cluster every set of points: greedy k-means++, Lloyd's iterations, the least inertia of several starts.

    With one seed the starts are those of ``sklearn.cluster.KMeans(n_clusters, n_init=starts, random_state=seed)``, and
    so are its rules for convergence and empty clusters: the labels are the same up to rounding.

    Parameters
    ----------
    points : float array ``[set, point, dimension]``
    n_clusters : int
        At most as many as there are points.
    seeds : int array ``[set]``
    starts : int

    Returns
    -------
    int array ``[set, point]``
        Some clusters are empty where fewer points are distinct.

    References
    ----------
    Arthur & Vassilvitskii 2007; Lloyd 1982.
    """
    centred = points - points.mean(axis=1, keepdims=True)
    tolerance = _TOLERANCE * points.var(axis=1).mean(axis=1)
    # Points last, so that every operation runs along them.
    lines = np.ascontiguousarray(centred.transpose(0, 2, 1))
    labels = np.empty(points.shape[:2], dtype=np.int64)
    trials = 2 + int(math.log(n_clusters))
    step = max(1, _AT_ONCE // max(1, starts * points.shape[1] * max(n_clusters, trials)))
    for first in range(0, len(points), step):
        part = slice(first, first + step)
        draws = _draws(seeds[part], starts, 1 + (n_clusters - 1) * trials)
        sets = np.repeat(np.arange(len(draws)), starts)
        own = lines[part][sets]
        centres = _plus_plus(own, n_clusters, trials, draws.reshape(len(sets), -1))
        found, inertia = _lloyd(own, centres, tolerance[part][sets])
        shape = (len(draws), starts)
        labels[part] = _least(found.reshape(*shape, -1), inertia.reshape(shape), n_clusters)
    return labels


def _draws(seeds: NDArray[np.integer], starts: int, n: int) -> Points:
    """Uniform numbers ``[set, start, draw]`` in the order in which KMeans draws them."""
    # KMeans draws from this generator; another one would start elsewhere.
    streams = [np.random.RandomState(int(seed)) for seed in seeds]
    return np.stack([stream.random_sample((starts, n)) for stream in streams])


def _plus_plus(points: Points, n_clusters: int, trials: int, draws: Points) -> Points:
    """First centres ``[run, dimension, cluster]``: the best of several points, drawn by their squared distance.

    `points` are ``[run, dimension, point]``.
    """
    runs, dimensions, n = points.shape
    centres = np.empty((runs, dimensions, n_clusters))
    run = np.arange(runs)
    shares = np.full(n, 1 / n).cumsum()
    first = np.searchsorted(shares / shares[-1], draws[:, 0], side="right")
    centres[:, :, 0] = points[run, :, first]
    nearest = _squares(points - centres[:, :, :1])
    for cluster in range(1, n_clusters):
        at = 1 + (cluster - 1) * trials
        wanted = draws[:, at : at + trials] * nearest.sum(axis=1, keepdims=True)
        below = np.cumsum(nearest, axis=1)[:, None, :] < wanted[:, :, None]
        candidates = np.minimum(np.count_nonzero(below, axis=2), n - 1)
        tried = np.empty((trials, runs, n))
        for trial in range(trials):
            centre = points[run, :, candidates[:, trial], None]
            np.minimum(_squares(points - centre), nearest, out=tried[trial])
        best = tried.sum(axis=2).argmin(axis=0)
        nearest = tried[best, run]
        centres[:, :, cluster] = points[run, :, candidates[run, best]]
    return centres


def _lloyd(points: Points, centres: Points, tolerance: Points) -> tuple[Labels, Points]:
    """Labels ``[run, point]`` and inertia ``[run]`` after Lloyd's iterations, each run until it has converged."""
    labels = np.full((points.shape[0], points.shape[2]), -1, dtype=np.int64)
    ends = centres.copy()
    going = np.arange(len(points))
    own, loose = points, []
    for _ in range(_MOST_ROUNDS):
        found = _assign(own, centres)
        moved = _means(own, found, centres)
        same = (found == labels[going]).all(axis=1)
        near = ~same & (((moved - centres) ** 2).sum(axis=(1, 2)) <= tolerance[going])
        labels[going], ends[going] = found, moved
        loose.append(going[near])
        still = ~(same | near)
        going, centres = going[still], moved[still]
        if not going.size:
            break
        own = own if still.all() else own[still]
    # These stopped before their labels were those of their centres.
    late = np.concatenate([*loose, going])
    labels[late] = _assign(points[late], ends[late])
    return labels, _squares(points - _of_points(ends, labels)).sum(axis=1)


def _assign(points: Points, centres: Points) -> Labels:
    """Nearest centre of every point ``[run, point]``; the first of equally near ones."""
    lengths = _squares(centres)
    labels = np.zeros((points.shape[0], points.shape[2]), dtype=np.int64)
    for cluster in range(centres.shape[2]):
        # Less the length of the point, which all its distances have.
        distance = lengths[:, cluster, None] - 2 * np.einsum("rdp,rd->rp", points, centres[:, :, cluster])
        if cluster == 0:
            nearest = distance
            continue
        labels[distance < nearest] = cluster
        np.minimum(nearest, distance, out=nearest)
    return labels


def _means(points: Points, labels: Labels, centres: Points) -> Points:
    """Means of the clusters; an empty one takes over the point that is farthest from its centre."""
    runs, dimensions, n_clusters = centres.shape
    cells = (labels + n_clusters * np.arange(runs)[:, None]).ravel()
    shape, n_cells = (runs, n_clusters), runs * n_clusters
    sizes = np.bincount(cells, minlength=n_cells).reshape(shape).astype(np.float64)
    sums = np.stack(
        [
            np.bincount(cells, points[:, dimension].ravel(), n_cells).reshape(shape)
            for dimension in range(dimensions)
        ],
        axis=1,
    )
    for run in np.flatnonzero((sizes == 0).any(axis=1)):
        _fill(points[run], labels[run], centres[run], sums[run], sizes[run])
    biggest = sums[np.arange(runs), :, sizes.argmax(axis=1)] / sizes.max(axis=1)[:, None]
    means = sums / np.maximum(sizes, 1)[:, None]
    return np.where(sizes[:, None] > 0, means, biggest[:, :, None])


def _fill(points: Points, labels: Labels, centres: Points, sums: Points, sizes: Points) -> None:
    """Give the empty clusters of one run a point each, in place; nothing where all points are on their centres."""
    distances = ((points - centres[:, labels]) ** 2).sum(axis=0)
    if not distances.max():
        return
    empty = np.flatnonzero(sizes == 0)
    farthest = np.argpartition(distances, -empty.size)[: -empty.size - 1 : -1]
    for cluster, point in zip(empty, farthest, strict=True):
        sums[:, labels[point]] -= points[:, point]
        sums[:, cluster] = points[:, point]
        sizes[cluster] = 1
        sizes[labels[point]] -= 1


def _of_points(centres: Points, labels: Labels) -> Points:
    """Return the centre of every point ``[run, dimension, point]``."""
    return np.take_along_axis(centres, labels[:, None], axis=2)


def _least(labels: Labels, inertia: Points, n_clusters: int) -> Labels:
    """Labels ``[set, point]`` of the start with the least inertia; of equal clusterings the first."""
    best = np.empty((labels.shape[0], labels.shape[2]), dtype=np.int64)
    for one, (found, costs) in enumerate(zip(labels, inertia, strict=True)):
        chosen = 0
        for start in range(1, len(costs)):
            if costs[start] < costs[chosen] and not _alike(found[start], found[chosen], n_clusters):
                chosen = start
        best[one] = found[chosen]
    return best


def _alike(a: Labels, b: Labels, n_clusters: int) -> bool:
    """Whether `b` follows from `a`: the same clusters, perhaps numbered otherwise."""
    numbers = np.full(n_clusters, -1)
    numbers[a] = b
    return bool((numbers[a] == b).all())


def _squares(values: Points) -> Points:
    """Squared length along the dimensions ``[run, dimension, …]``."""
    return np.einsum("rd...,rd...->r...", values, values)
