"""Tables of a source and the target choices of other documents: what independence of documents' processes gives."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from routestat.counting.sample import Sample
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
    """`n` tables ``[source, target]`` in which whole documents have traded their target choices.

    Documents are permuted at random within bins of 8 of like length; token t of one meets token t of the other,
    and what the longer has beyond is left out. Whatever goes on inside a document stays in it, on either side.

    Parameters
    ----------
    sample : Sample
    source, target : Router
    rng : numpy.random.Generator
    n : int
    states : {"subset", "expert"}
    """
    starts = np.flatnonzero(np.concatenate([[True], sample.document[1:] != sample.document[:-1]]))
    lengths = np.diff(np.append(starts, len(sample)))
    order = np.argsort(lengths, kind="stable")
    for _ in range(n):
        partner = np.empty(len(order), np.intp)
        for first in range(0, len(order), BIN):
            members = order[first : first + BIN]
            partner[members] = rng.permutation(members)
        common = np.minimum(lengths, lengths[partner])
        # Row t of each document, and row t of its partner.
        step = np.arange(common.sum()) - np.repeat(np.cumsum(common) - common, common)
        rows = np.repeat(starts, common) + step, np.repeat(starts[partner], common) + step
        yield paired_cells(sample, source, target, *rows, states)
