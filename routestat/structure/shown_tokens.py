"""The tokens that show what an expert specialises in."""

from dataclasses import dataclass

import numpy as np

from routestat.counting.document_sample import Sample
from routestat.counting.labelled_tokens import Integers, MeetingChoices
from routestat.inference.base.tables import Floats
from routestat.structure.token_labels import DOMAIN, TokenLabels

#: A token that is shown occurs in so many documents.
LEAST_DOCUMENTS = 2


@dataclass(frozen=True)
class ShownToken:
    """A token id of a domain or class that includes an expert more often than expected.

    Attributes
    ----------
    token : int
    count : int
        Tokens of this id with the domain or class for which the expert was chosen.
    expected : float
        How many independence of the label and the expert expects.
    n_documents : int
        Documents that hold these tokens.
    """

    token: int
    count: int
    expected: float
    n_documents: int


def shown_tokens(
    sample: Sample,
    experts: Integers,
    of: MeetingChoices,
    labels: TokenLabels,
    label: int,
    value: int,
    expert: int,
    most: int = 5,
) -> tuple[ShownToken, ...]:
    """Return the token ids that add most to a cell of label and expert, of two or more documents each.

    Parameters
    ----------
    sample : Sample
    experts : int array ``[row, slot]``
        Of the sample.
    of : MeetingChoices
    labels : TokenLabels
    label : int
        `DOMAIN` or `LEXICAL`.
    value, expert : int
        The cell.
    most : int
    """
    meetings = labels.meetings
    included, tokens = _of_meetings(of, expert)
    expected: Floats
    n_ids = len(labels.ids)
    stratum, own = meetings.stratum, meetings.labels[label] == value
    inside = np.bincount(stratum[own], included[own], n_ids)
    if label == DOMAIN:
        # At one id, the domain has its share of the tokens that include the expert.
        share = np.bincount(stratum[own], tokens[own], n_ids) / np.maximum(
            np.bincount(stratum, tokens, n_ids), 1.0
        )
        expected = share * np.bincount(stratum, included, n_ids)
    else:
        # In one domain, an id has its share.
        domain = meetings.labels[DOMAIN]
        n_domains = meetings.sizes[DOMAIN]
        rate = np.bincount(domain, included, n_domains) / np.maximum(
            np.bincount(domain, tokens, n_domains), 1.0
        )
        expected = np.asarray(
            np.bincount(stratum[own], weights=(tokens * rate[domain])[own], minlength=n_ids), np.float64
        )
    excess = np.where(labels.ids >= 0, inside - expected, 0.0)
    found: list[ShownToken] = []
    for at in np.argsort(-excess, kind="stable").tolist():
        if excess[at] <= 0 or len(found) == most:
            break
        entries = np.arange(meetings.first[meetings.start[at]], meetings.first[meetings.start[at + 1]])
        kept = np.repeat(
            own[meetings.start[at] : meetings.start[at + 1]],
            np.diff(meetings.first[meetings.start[at] : meetings.start[at + 1] + 1]),
        )
        rows = meetings.row[entries[kept]]
        rows = rows[(experts[rows] == expert).any(axis=1)]
        documents = len(np.unique(sample.document[rows]))
        if documents >= LEAST_DOCUMENTS:
            found.append(ShownToken(int(labels.ids[at]), int(inside[at]), float(expected[at]), documents))
    return tuple(found)


def _of_meetings(of: MeetingChoices, expert: int) -> tuple[Floats, Floats]:
    """Return how many tokens of every meeting include an expert, and how many have a choice, ``[meeting]``."""
    member = (of.members == expert).any(axis=1)[of.chosen]
    ends = np.concatenate([[0.0], np.cumsum(of.count * member)])
    all_ends = np.concatenate([[0.0], np.cumsum(of.count)])
    return np.diff(ends[of.first]), np.diff(all_ends[of.first]) / of.slots
