"""What takes a route: token ids, documents, and its share of the tokens by groups of documents."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.inference.base.estimate import Estimate, ratio, without_interval
from routestat.traces.store import Trace

#: Token ids and documents that are named.
NAMED = 3
#: An interval of a share needs as many groups of documents that take the route.
FEW_GROUPS = 10


@dataclass(frozen=True)
class RouteEvidence:
    """The tokens of a sample that take a route.

    Attributes
    ----------
    token_ids : tuple of (int, int)
        The most frequent ids and how many tokens have each; empty where no id is known.
    documents : tuple of str
        The documents with most of the tokens: their names, or their numbers.
    share : Estimate
        Share of the tokens, with the interval over groups of documents.
    """

    token_ids: tuple[tuple[int, int], ...]
    documents: tuple[str, ...]
    share: Estimate

    def lift(self, probability: float) -> Estimate:
        """Return the share over an expected one, which is taken as known."""
        if not probability > 0:
            nan = float("nan")
            return Estimate(nan, nan, nan, nan, self.share.n_groups, "no expected share")
        one = self.share
        value, low, high, error = (
            part / probability for part in (one.value, one.low, one.high, one.standard_error)
        )
        return Estimate(value, low, high, error, one.n_groups, one.reason)


def evidence_of(
    trace: Trace, sample: Sample, route: NDArray[np.integer], *, token_id: int = -1
) -> RouteEvidence:
    """Collect what takes a route in a sample.

    Parameters
    ----------
    trace : Trace
        For the names of documents.
    sample : Sample
    route : int array ``[layer]``
        States, or columns as `PathCounts` has them.
    token_id : int
        Count only tokens of this id, if not −1.
    """
    alive = np.flatnonzero(sample.token == token_id) if token_id >= 0 else np.arange(len(sample))
    at = 0
    for router in sample.routers:
        column = sample.columns[router.name][alive]
        # Alphabets without states are stored as k experts.
        width = 1 if column.ndim == 1 else column.shape[1]
        same = column == (route[at] if column.ndim == 1 else route[at : at + width])
        at += width
        alive = alive[same if same.ndim == 1 else same.all(axis=1)]
    return evidence_of_rows(
        trace, sample.document[alive], sample.token[alive], sample.group[alive], _sizes(sample)
    )


def evidence_of_rows(
    trace: Trace,
    document: NDArray[np.integer],
    token: NDArray[np.integer],
    group: NDArray[np.integer],
    tokens_of_group: NDArray[np.float64],
) -> RouteEvidence:
    """Collect the same of the rows that take a route."""
    ids, counts = np.unique(token[token >= 0], return_counts=True)
    first = np.argsort(-counts, kind="stable")[:NAMED]
    numbers, of_document = np.unique(document, return_counts=True)
    most = numbers[np.argsort(-of_document, kind="stable")[:NAMED]].tolist()
    taken = np.bincount(group, minlength=len(tokens_of_group)).astype(np.float64)
    share = ratio(taken, tokens_of_group)
    if np.count_nonzero(taken) < FEW_GROUPS:
        share = without_interval(
            share.value, share.n_groups, f"fewer than {FEW_GROUPS} groups of documents take it"
        )
    return RouteEvidence(
        tuple((int(ids[one]), int(counts[one])) for one in first),
        tuple(document_names(trace, most)),
        share,
    )


def document_names(trace: Trace, numbers: Sequence[int]) -> list[str]:
    """Return the names of documents, their numbers where they have none."""
    named: dict[int, str] = {}
    if "name" in trace.documents.column_names:
        every, names = (trace.documents.column(column).to_pylist() for column in ("document", "name"))
        wanted = set(numbers)
        named = {
            number: str(name)
            for number, name in zip(every, names, strict=True)
            if number in wanted and name not in (None, "")
        }
    return [named.get(number, f"document {number}") for number in numbers]


def _sizes(sample: Sample) -> NDArray[np.float64]:
    groups = max(sample.groups, int(sample.group.max(initial=-1)) + 1)
    return np.bincount(sample.group, minlength=groups).astype(np.float64)
