"""Spectral co-clustering and biclustering into a given number of blocks, to compare with the evidence."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Integers
from routestat.structure.block_evidence import Partitions
from routestat.structure.coclusters import canonical_order, cocluster, matrix_of

_Cluster = Callable[[list[Integers], int], list[tuple[Integers, Integers]]]
# scikit-learn's defaults: singular vectors that are looked at, and the best of them that are kept.
_VECTORS, _BEST = 6, 3


def coclustered(
    tables: Sequence[Integers], blocks: int, matrix: str, rng: np.random.Generator
) -> list[Partitions]:
    """Partitions as by scikit-learn's SpectralCoclustering: rows and columns together, in one space.

    Parameters
    ----------
    tables : sequence of int arrays ``[source, target]``
        Of one shape.
    blocks : int
        Blocks of each side; fewer where there are fewer states in use.
    matrix : {"lift", "conditional", "joint"}
        The matrix that is clustered.
    rng : numpy.random.Generator
        Of the starts of k-means.

    Returns
    -------
    list of Partitions
        One block of each side, then `blocks`; no `log_evidence`.

    References
    ----------
    Dhillon, Co-clustering documents and words using bipartite spectral graph partitioning, KDD 2001.
    """

    def cluster(used: list[Integers], n: int) -> list[tuple[Integers, Integers]]:
        seeds = [int(rng.integers(2**31)) for _ in used]
        return cocluster(used, n, seeds, "counts" if matrix == "joint" else matrix)

    return _of_used(tables, blocks, cluster)


def biclustered(
    tables: Sequence[Integers], blocks: int, matrix: str, rng: np.random.Generator
) -> list[Partitions]:
    """Partitions by scikit-learn's SpectralBiclustering: rows and columns each in a space of their own.

    Rows and columns are normalised by its default method, bistochastic, on the dense matrix.

    Parameters
    ----------
    tables, blocks, matrix, rng
        As in `coclustered`.

    Returns
    -------
    list of Partitions
        As `coclustered`.

    Raises
    ------
    RoutestatError
        If scikit-learn is not installed.

    References
    ----------
    Kluger, Basri, Chang & Gerstein, Spectral biclustering of microarray data, Genome Research 2003.
    """
    try:
        # Takes more than a second to import, and only this comparison needs it.
        from sklearn.cluster import SpectralBiclustering  # noqa: PLC0415
    except ImportError as error:
        raise RoutestatError(
            "spectral biclustering needs scikit-learn, which is not installed; pip install 'routestat[spectral]', "
            "or use another method"
        ) from error

    def cluster(used: list[Integers], n: int) -> list[tuple[Integers, Integers]]:
        return [of_one(table, n) for table in used]

    def of_one(table: Integers, n: int) -> tuple[Integers, Integers]:
        order = canonical_order(table)
        values = matrix_of(table[np.ix_(*order)].astype(np.float64), matrix)
        vectors = min(_VECTORS, min(table.shape) - 1)
        # Oversampling to the full width makes the randomised decomposition exact.
        model = SpectralBiclustering(
            n,
            n_components=vectors,
            n_best=min(_BEST, vectors),
            n_svd_vecs=min(table.shape),
            random_state=int(rng.integers(2**31)),
        )
        with warnings.catch_warnings():
            # Of k-means with fewer distinct states than blocks, and of a normalisation that has not converged.
            warnings.simplefilter("ignore")
            model.fit(values)
        rows, columns = (np.empty(size, np.int64) for size in table.shape)
        rows[order[0]], columns[order[1]] = model.row_labels_, model.column_labels_
        return rows, columns

    return _of_used(tables, blocks, cluster)


def _of_used(tables: Sequence[Integers], blocks: int, cluster: _Cluster) -> list[Partitions]:
    """One block, and the given number; states without tokens are in the first."""
    used = [(np.flatnonzero(table.any(axis=1)), np.flatnonzero(table.any(axis=0))) for table in tables]
    numbers = [min(blocks, *map(len, places)) for places in used]
    labels = [tuple(np.zeros((2, size), np.int64) for size in table.shape) for table in tables]
    for n in sorted({n for n in numbers if n > 1}):
        alike = [at for at, own in enumerate(numbers) if own == n]
        found = cluster([tables[at][np.ix_(*used[at])] for at in alike], n)
        for at, sides in zip(alike, found, strict=True):
            for own, place, side in zip(labels[at], used[at], sides, strict=True):
                own[1, place] = np.unique(side, return_inverse=True)[1]
    return [Partitions(rows, columns, np.full(2, np.nan)) for rows, columns in labels]
