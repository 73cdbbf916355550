"""The choices of a trace in the order in which an engine would serve them.

Documents are served in the order of the trace, `batch` of them side by side; the next ones begin when the last of these
has ended. At every step each of them has one token. As long as one of them has prefill tokens next, a step is one of
prefill, with up to `chunk` tokens of each of those documents, and the others wait. An *event* is a step at one layer:
what it needs is the union of the experts of its tokens.

Independent units are whole clusters of documents. With a batch they are bundles of clusters, so that no step has
tokens of two units; documents of one cluster then follow each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.counting.kernels.steps import schedule
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router
from routestat.traces.validation import PHASES

#: Most units: sums are kept for each.
MOST_UNITS = 256


@dataclass(frozen=True, eq=False)
class Steps:
    """Choices in the order of their steps; `make_steps` makes them.

    Attributes
    ----------
    routers : tuple of Router
        In order of depth.
    choices : int16 array ``[token, layer, slot]``
        Experts ascending, −1 where there is none: all slots of a missing choice, the last ones of a router with
        fewer choices than another.
    row : int array ``[token]``
        Row of the sample.
    next_row : int array ``[token]``
        Row of the next token of the document; −1 where there is none.
    start : int array ``[step + 1]``
        The first token of each step.
    phase : int8 array ``[step]``
        Place in `PHASES`.
    unit : int32 array ``[step]``
    first : bool array ``[step]``
        Whether the documents of a batch begin there.
    n_units : int
    batch, chunk : int
    tokens : int array ``[unit, phase]``
    documents : int array ``[unit]``
        Number of documents.
    gaps : int
        Tokens that do not follow the one before them in the trace, though their document does.
    """

    routers: tuple[Router, ...]
    choices: NDArray[np.int16]
    row: NDArray[np.int64]
    next_row: NDArray[np.int64]
    start: NDArray[np.int64]
    phase: NDArray[np.int8]
    unit: NDArray[np.int32]
    first: NDArray[np.bool_]
    n_units: int
    batch: int
    chunk: int
    tokens: NDArray[np.int64]
    documents: NDArray[np.int64]
    gaps: int

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.phase)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """The first of a layer's experts among those of all layers ``[layer + 1]``."""
        return np.cumsum([0, *(router.n_experts for router in self.routers)])

    @property
    def cycle(self) -> int:
        """Experts that one token needs over all layers."""
        return sum(router.top_k for router in self.routers)


def make_steps(
    sample: Sample,
    routers: Sequence[Router],
    *,
    batch: int = 1,
    chunk: int = 1,
    most_units: int = MOST_UNITS,
) -> Steps:
    """Order the tokens of a sample as they would be served.

    Parameters
    ----------
    sample : Sample
    routers : sequence of Router
        Which of the sample's; sorted by depth.
    batch : int
        Documents side by side.
    chunk : int
        Tokens of prefill of one document that one step takes.
    most_units : int

    Raises
    ------
    RoutestatError
        If the batch or the chunk is below one, or the sample has no tokens.
    """
    for name, value in (("batch", batch), ("prefill chunk", chunk)):
        if value < 1:
            raise RoutestatError(f"{name}: expected 1 or more, got {value}")
    if not len(sample):
        raise RoutestatError("the trace holds no tokens: there is nothing to replay")
    routers = tuple(routers)
    begins = np.flatnonzero(np.r_[True, sample.document[1:] != sample.document[:-1]])
    stops = np.append(begins[1:], len(sample))
    cluster = sample.units.cluster_of(sample.document[begins])
    order, unit = _units(cluster, batch, most_units)
    phase = sample.known_phase
    row, start, of_step, of_unit, first = schedule(begins[order], stops[order], unit, phase, batch, chunk)
    choices = np.full((len(row), len(routers), max(router.top_k for router in routers)), -1, np.int16)
    for place, router in enumerate(routers):
        experts = expert_rows(sample.columns[router.name], router)[row]
        missing = int(np.iinfo(router.alphabet.expert_dtype).max)
        own = experts.astype(np.int16)
        own[experts == missing] = -1
        choices[:, place, : router.top_k] = own
    n_units = int(unit.max()) + 1
    tokens = np.zeros((n_units, len(PHASES)), np.int64)
    np.add.at(tokens, (of_unit, of_step), np.diff(start))
    followed = np.append(sample.follows[1:], False)
    inside = np.ones(len(sample), bool)
    inside[begins] = False
    return Steps(
        routers, choices, row, np.where(followed[row], row + 1, -1), start, of_step, of_unit, first, n_units,
        batch, chunk, tokens,
        np.bincount(unit, minlength=n_units), int(np.count_nonzero(inside & ~sample.follows)),
    )  # fmt: skip


def _units(cluster: NDArray[np.integer], batch: int, most: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Return the order of the documents, and the unit of each in this order.

    A unit is cut where a cluster ends and it has as many documents as a share of `most`, rounded up to whole batches.
    """
    _, seen, rank = np.unique(cluster, return_index=True, return_inverse=True)
    order = np.argsort(seen[rank], kind="stable")
    ends = np.append(np.diff(seen[rank][order]) != 0, True)
    share = -(-len(cluster) // most)
    size = -(-share // batch) * batch
    unit = np.zeros(len(cluster), np.int32)
    number = begin = 0
    for place in np.flatnonzero(ends).tolist():
        if place + 1 - begin >= size:
            unit[begin : place + 1] = number
            number, begin = number + 1, place + 1
    # What remains at the end is a unit with fewer documents.
    unit[begin:] = number
    if batch == 1:
        # No step has tokens of two documents, so that they need not be moved.
        own = np.empty_like(unit)
        own[order] = unit
        return np.arange(len(cluster)), own
    return order, unit
