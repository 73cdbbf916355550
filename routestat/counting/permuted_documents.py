"""Tables of a source and the target choices of other documents: the null of independent layers."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.strata import paired_cells
from routestat.traces.metadata import Router

BIN = 8


def permuted_tables(
    sample: Sample,
    source: Router,
    target: Router,
    rng: np.random.Generator,
    n: int,
    *,
    states: str = "subset",
) -> Iterator[NDArray[np.int64]]:
    """Yield the table ``[source, target]`` of the trace, then `n` in which clusters exchange their target choices.

    Clusters of documents are permuted at random within bins of 8 of similar length; token t of one is paired with
    token t of the other, counted through the documents of a cluster in order. All clusters of a bin are cut to the
    shortest of them, in every table and in the first: tables of fewer tokens have more information by chance.
    Dependence within a cluster is preserved on either side.

    Parameters
    ----------
    sample : Sample
    source, target : Router
    rng : numpy.random.Generator
    n : int
    states : {"subset", "expert"}
    """
    # Rows of one cluster together; documents keep their order, so that equal prefixes are paired.
    together = np.argsort(sample.cluster, kind="stable")
    cluster = sample.cluster[together]
    starts = np.flatnonzero(np.concatenate([[True], cluster[1:] != cluster[:-1]]))
    lengths = np.diff(np.append(starts, len(sample)))
    order = np.argsort(lengths, kind="stable")
    bins = [order[first : first + BIN] for first in range(0, len(order), BIN)]
    common = np.empty_like(lengths)
    for members in bins:
        common[members] = lengths[members].min()
    step = np.arange(common.sum()) - np.repeat(np.cumsum(common) - common, common)
    rows = together[np.repeat(starts, common) + step]
    yield paired_cells(sample, source, target, rows, rows, states)
    for _ in range(n):
        partner = np.empty(len(order), np.intp)
        for members in bins:
            partner[members] = rng.permutation(members)
        # Row t of each cluster, and row t of its partner.
        traded = together[np.repeat(starts[partner], common) + step]
        yield paired_cells(sample, source, target, rows, traded, states)
