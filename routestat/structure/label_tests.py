"""Tests of labels of tokens against the choice of experts, with documents as the units: as a whole, and by cell.

A token adds (1[label] − p(label | stratum)) (1[choice] − p(choice | stratum)) to the score of its group. Inside strata
of token ids this compares the documents of a domain with others *at the same ids*, so that a domain with more digits
does not appear to be a topic of an expert that serves digits; inside strata of domains it does the same for classes.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from routestat.counting.kernels.labels import stratum_scores
from routestat.counting.labelled_tokens import Integers, MeetingChoices, Meetings
from routestat.inference.base.clustered_score_test import ScoreTest, score_test
from routestat.inference.base.estimate import group_correction
from routestat.inference.base.moderated import moderated_square
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.base.units import (
    LEAST_EFFECTIVE,
    log10_relabelling_floor,
    log10_sign_floor,
    too_few,
)

#: Cells with fewer expected tokens are not tested.
LEAST_EXPECTED = 5.0
# Beyond it Student's t is the normal distribution.
MOST_DOF = 1e6


@dataclass(frozen=True, eq=False)
class LabelScores:
    """Scores of groups under independence of label and choice inside strata.

    Attributes
    ----------
    scores, counts : array ``[group, label, choice]``
        Summed over the tokens of a group; and how many of them have the label and the choice.
    tokens : array ``[group, label]``
    overall : array ``[label + choice]``
        Shares of labels, then rates of choices; one where there is none.
    bias, trace : float
        What estimated margins add to the products of the weighed scores of different groups, each stratum by itself,
        and the sum over groups and strata that it is a share of.
    """

    scores: Floats
    counts: Floats
    tokens: Floats
    overall: Floats
    bias: float
    trace: float

    @property
    def size(self) -> Floats:
        """Tokens of each group ``[group]``."""
        return np.asarray(self.tokens.sum(axis=1))

    def by_expert(self, membership: Floats) -> "LabelScores":
        """Return the scores of experts instead of states, with `membership` ``[state, expert]``; without the bias."""
        n_labels = self.tokens.shape[1]
        rates = self.counts.sum(axis=(0, 1)) @ membership / max(1.0, self.tokens.sum())
        overall = np.append(self.overall[:n_labels], np.where(rates > 0, rates, 1.0))
        counts = self.counts @ membership
        return LabelScores(self.scores @ membership, counts, self.tokens, overall, math.nan, math.nan)

    def test(self, constant: bool = False) -> ScoreTest:
        """Test that label and choice are independent inside the strata.

        Parameters
        ----------
        constant : bool
            Whether the label is constant in a document, as its domain is. What a document has of its own then adds up
            over strata, and so does the bias: it is taken as the same share of the scores' whole trace.
        """
        used, n_labels = self.size > 0, self.tokens.shape[1]
        shares, rates = self.overall[:n_labels], self.overall[n_labels:]
        weight = 1.0 / np.sqrt(max(1.0, self.tokens.sum()) * np.outer(shares, rates))
        flat = (self.scores[used] * weight).reshape(int(used.sum()), weight.size)
        gram = flat @ flat.T
        over_strata = float(np.trace(gram)) / self.trace if constant and self.trace > 0 else 1.0
        return score_test(gram, self.bias * over_strata, size=self.size[used])


def scores_in_strata(of: MeetingChoices, meetings: Meetings, label: int, table: Integers) -> LabelScores:
    """Score a label inside the strata of the meetings.

    Parameters
    ----------
    of : MeetingChoices
    meetings : Meetings
    label : int
        Which of the labels of the meetings.
    table : int array ``[group, label, choice]``
        Tokens that have the label and the choice.
    """
    tokens = table.sum(axis=2) / of.slots
    overall = _overall(tokens, table)
    scores = np.zeros(table.shape)
    bias, trace = stratum_scores(
        of.chosen, of.count, of.first, meetings.start, meetings.group, meetings.labels[label], of.slots, overall,
        scores,
    )  # fmt: skip
    return LabelScores(scores, table.astype(np.float64), tokens, overall, bias, trace)


def scores_of_table(table: Integers, slots: int) -> LabelScores:
    """Score a label inside strata from a table ``[group, stratum, label, choice]``; see `scores_in_strata`."""
    counts = table.astype(np.float64)
    of_choice, of_label = counts.sum(axis=2), counts.sum(axis=3) / slots
    tokens = of_label.sum(axis=2)
    in_stratum = np.maximum(tokens.sum(axis=0), 1.0)
    rate, share = of_choice.sum(axis=0) / in_stratum[:, None], of_label.sum(axis=0) / in_stratum[:, None]
    scores = counts.sum(axis=1) - share.T @ of_choice
    scores -= np.einsum("gsa,si->gai", of_label - tokens[:, :, None] * share, rate)
    overall = _overall(of_label.sum(axis=1), table.sum(axis=1))
    rows = ((of_label - tokens[:, :, None] * share) ** 2 / overall[: table.shape[2]]).sum(axis=2)
    columns = ((of_choice - tokens[:, :, None] * rate) ** 2 / overall[table.shape[2] :]).sum(axis=2)
    found = (rows * columns / np.where(tokens > 0, tokens, 1.0) ** 2).sum(axis=0)
    s2, s3, s4 = (((tokens / in_stratum) ** power).sum(axis=0) for power in (2, 3, 4))
    above = 2.0 * s3 - s2**2 - (s2**3 - 4.0 * s2 * s3 + 4.0 * s4)
    below = (1.0 + s2) ** 2 * s2 - 4.0 * (1.0 + s2) * s3 + 4.0 * s4
    kappa = np.where((below > 0) & (s2 < 1.0 - 1e-12), above / np.where(below > 0, below, 1.0), 0.0)
    bias, trace = (float(part.sum() / max(1.0, tokens.sum())) for part in (kappa * found, found))
    return LabelScores(scores, counts.sum(axis=1), of_label.sum(axis=1), overall, bias, trace)


def _overall(tokens: Floats, table: Integers) -> Floats:
    n = max(1.0, float(tokens.sum()))
    both = np.concatenate([tokens.sum(axis=0), table.sum(axis=(0, 1))]) / n
    # What never occurs has no scores; any weight but zero will do.
    return read_only(np.where(both > 0, both, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class LabelCells:
    """One test per label and expert; see `cells_of`. NaN where a cell is not tested.

    Attributes
    ----------
    observed, expected : array ``[label, expert]``
        Tokens with the label that include the expert, and how many independence inside the strata expects.
    lift, low, high : array ``[label, expert]``
        observed / expected, with its 95 % interval (that of the logarithm).
    z, log10_p : array ``[label, expert]``
        (observed − expected) in clustered standard errors (moderated), and the two-sided p-value.
    reason : str, optional
        Why nothing was tested.
    """

    observed: Floats
    expected: Floats
    lift: Floats
    low: Floats
    high: Floats
    z: Floats
    log10_p: Floats
    reason: str | None = None


def cells_of(of: LabelScores, kept: Integers | None = None) -> LabelCells:
    """Test every label and expert against independence inside the strata.

    The variance is that of the groups' linearised differences O_g − lift E_g. Half of it is that of independent tokens
    times the design effect of all cells, as in `cell_tests`. Degrees of freedom are Satterthwaite's, with those of the
    groups that have the label: a domain of seven documents is known no better than from seven.

    Parameters
    ----------
    of : LabelScores
        Of experts.
    kept : int array ``[place]``, optional
        Some of the groups; all by default.
    """
    some = slice(None) if kept is None else kept
    scores, counts, tokens = of.scores[some], of.counts[some], of.tokens[some]
    observed, excess, size = counts.sum(axis=0), scores.sum(axis=0), tokens.sum(axis=1)
    expected = np.maximum(0.0, observed - excess)
    if why := too_few(size):
        nothing = np.full(observed.shape, math.nan)
        return LabelCells(observed, expected, nothing, nothing, nothing, nothing, nothing, why)
    groups, n_labels = int(np.count_nonzero(size)), tokens.shape[1]
    worth = np.minimum(_worth(tokens), _worth(size[:, None] - tokens))
    known = (expected >= LEAST_EXPECTED) & (worth >= LEAST_EFFECTIVE)[:, None]
    lift = np.where(known, observed / np.where(known, expected, 1.0), 1.0)
    # O_g − lift E_g, with E_g = O_g − score_g the group's part of the expectation.
    square = (((1.0 - lift) * counts + lift * scores) ** 2).sum(axis=0)
    iid = expected * (1.0 - of.overall[:n_labels, None]) * np.maximum(0.0, 1.0 - of.overall[n_labels:])
    both, _ = moderated_square(square, iid, known)
    error = np.sqrt(np.where(known & (both > 0), group_correction(groups) * both, math.nan))
    # How many times the error is what the groups alone determine.
    own = np.divide(2.0 * both, square, out=np.full(both.shape, math.inf), where=square > 0)
    dof = np.minimum(MOST_DOF, np.maximum(1.0, worth - 1.0)[:, None] * own**2)
    log10_p = np.maximum(log10_t_tails(excess / error, dof), _floors(tokens, groups)[:, None])
    # Where nothing was observed there is no logarithm.
    reach = special.stdtrit(dof, 0.975) * error / np.where(observed > 0, observed, math.nan)
    lift = np.where(known, lift, math.nan)
    return LabelCells(
        observed=read_only(observed),
        expected=read_only(expected),
        lift=read_only(lift),
        low=read_only(lift * np.exp(-reach)),
        high=read_only(lift * np.exp(reach)),
        z=read_only(excess / error),
        log10_p=read_only(log10_p),
    )


def _worth(tokens: Floats) -> Floats:
    """How many groups of one size those with a label are worth ``[label]``; see `effective_units`."""
    total = tokens.sum(axis=0)
    return np.asarray(total**2 / np.maximum((tokens**2).sum(axis=0), 1.0))


def _floors(tokens: Floats, groups: int) -> Floats:
    """log10 of the least p-values that relabelling the groups with a label allows; that of signs where all have it."""
    having = np.count_nonzero(tokens, axis=0).tolist()
    return np.array(
        [
            log10_relabelling_floor(n, groups - n) if 0 < n < groups else log10_sign_floor(groups)
            for n in having
        ]
    )
