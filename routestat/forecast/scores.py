"""Held-out scores of a predictor: ratios of additive sums, with intervals over groups of documents."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb, log2

import numpy as np
from numpy.typing import NDArray

from routestat.counting.score_sums import SUMS, Cells
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate, Estimates, proportions, ratio
from routestat.inference.base.tables import Floats

#: The scores, each an `Estimate`: the column of the sums that it is the mean of.
SCORES = {
    "exact_set": "exact_set",
    "recall_at_k": "recall_at_k",
    "hit_rate": "hit_rate",
    "top1_hit": "top1_hit",
    "recall_at_k3": "recall_at_k3",
    "recall_at_2k": "recall_at_2k",
    "log_loss_bits": "bits",
    "brier": "brier",
}
#: Scores that need probabilities.
PROBABILISTIC = ("log_loss_bits", "brier")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a predictor costs for one target.

    Attributes
    ----------
    parameters : int
        Numbers that are stored.
    multiply_adds : float
        Per token.
    seconds : float
        To fit all folds; NaN where it was not measured.
    """

    parameters: int
    multiply_adds: float
    seconds: float = float("nan")

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of both."""
        return Cost(
            self.parameters + other.parameters,
            self.multiply_adds + other.multiply_adds,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, eq=False)
class PredictionScore:
    """The held-out scores of one predictor at one target layer, or pooled over several.

    Attributes
    ----------
    predictor : str
    source, target : int
        Layers; `source` is −1 where the predictor uses no earlier layer of the token, `target` for several layers.
    horizon : int
        Layers from source to target; 0 where the predictor uses no earlier layer of the token.
    sums : float array ``[cell, SUMS + experts fetched]``
        As in `routestat.counting.score_sums.ScoreSums`; scores are ratios of columns.
    cells : Cells
    calibration : float array ``[cell, bin, 3]``, optional
    has_probabilities : bool
    router : str
        Name of the target's router: a layer may have several. Empty for several layers together.
    cost : Cost
    note : str
        What a reader has to know, such as how a design was shortened; mostly empty.
    top_k : int
        Of the target; 0 where targets differ.
    context : str
        Name of the context of states that it looks at; empty where it looks at anything else.
    known : float
        Share of the tokens whose whole context is known; the others are predicted from a shorter one.
    """

    predictor: str
    source: int
    target: int
    horizon: int
    sums: Floats
    cells: Cells
    calibration: Floats | None = None
    has_probabilities: bool = True
    router: str = ""
    cost: Cost = Cost(0, 0.0)
    note: str = ""
    top_k: int = 0
    context: str = ""
    known: float = 1.0

    @property
    def n_tokens(self) -> int:
        """Tokens scored; of several layers together, each token once for each layer."""
        return int(self.sums[:, 0].sum())

    def column(self, score: str) -> Floats:
        """Return the sums of one score, `[cell]`.

        Raises
        ------
        RoutestatError
            For an unknown score.
        """
        if score not in SCORES:
            raise RoutestatError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        at = len(SUMS) if score == "recall_at_k" else SUMS.index(SCORES[score])
        return np.asarray(self.sums[:, at])

    def estimate(
        self, score: str, level: float = 0.95, *, phase: str | None = None, domain: str | None = None
    ) -> Estimate:
        """Return one score with its interval over groups of documents, of all tokens or of a phase or domain."""
        column = self.column(score)
        if score in PROBABILISTIC and not self.has_probabilities:
            nan = float("nan")
            return Estimate(nan, nan, nan, nan, 0, "this predictor ranks experts but gives no probabilities")
        chosen = self._chosen(phase, domain)
        return ratio(self.cells.by_group(column, chosen), self.cells.by_group(self.sums[:, 0], chosen), level)

    def curve(self, level: float = 0.95, *, phase: str | None = None, domain: str | None = None) -> Estimates:
        """Return the share of the chosen experts among the first k, k + 1, …, 4k of the predicted order."""
        chosen = self._chosen(phase, domain)
        shares = self.cells.by_group(self.sums[:, len(SUMS) :], chosen)
        return proportions(shares, self.cells.by_group(self.sums[:, 0], chosen), level)

    def less(
        self,
        other: "PredictionScore",
        score: str,
        level: float = 0.95,
        *,
        phase: str | None = None,
        domain: str | None = None,
    ) -> Estimate:
        """Return this score minus the other's on the same tokens, paired by groups of documents.

        Raises
        ------
        RoutestatError
            If they were not scored on the same tokens.
        """
        chosen = self._chosen(phase, domain)
        tokens = self.cells.by_group(self.sums[:, 0], chosen)
        if not np.array_equal(tokens, other.cells.by_group(other.sums[:, 0], other._chosen(phase, domain))):
            raise RoutestatError(f"{self.predictor} and {other.predictor} were scored on different tokens")
        if score in PROBABILISTIC and not (self.has_probabilities and other.has_probabilities):
            nan = float("nan")
            return Estimate(nan, nan, nan, nan, 0, "one of the two gives no probabilities")
        own = self.cells.by_group(self.column(score), chosen)
        theirs = other.cells.by_group(other.column(score), other._chosen(phase, domain))
        return ratio(own - theirs, tokens, level)

    def _chosen(self, phase: str | None, domain: str | None) -> NDArray[np.bool_] | None:
        if phase is None and domain is None:
            return None
        phases, domains = np.array(self.cells.phase), np.array(self.cells.domain)
        chosen = np.ones(len(self.cells), bool)
        if phase is not None:
            chosen &= phases == phase
        if domain is not None:
            chosen &= domains == domain
        return chosen


def pooled(scores: Sequence[PredictionScore]) -> PredictionScore:
    """Pool the scores of one predictor over several target layers; every token of every layer has equal weight.

    Costs are added: those of all targets, for one token that passes through them.
    """
    if not scores or len({(score.predictor, score.horizon > 0) for score in scores}) != 1:
        raise RoutestatError("the scores of exactly one predictor can be pooled")
    first, width = scores[0], min(score.sums.shape[1] for score in scores)
    sums = np.sum([score.sums[:, :width] for score in scores], axis=0)
    known = [score.calibration for score in scores if score.calibration is not None]
    cost = scores[0].cost
    for score in scores[1:]:
        cost = cost + score.cost
    widths = {score.top_k for score in scores}
    return replace(
        first,
        source=-1,
        target=-1,
        sums=sums,
        calibration=np.sum(known, axis=0) if len(known) == len(scores) else None,
        router="",
        cost=cost,
        note="; ".join(dict.fromkeys(score.note for score in scores if score.note)),
        top_k=first.top_k if len(widths) == 1 else 0,
        # The first layers have fewer layers before them, and shorter contexts.
        context=max((score.context for score in scores), key=len),
        known=_share_known(scores),
    )


def _share_known(scores: Sequence[PredictionScore]) -> float:
    """Return the share of the tokens of several targets whose whole context is known."""
    parts = [(score.known, score.n_tokens) for score in scores if score.n_tokens]
    return sum(share * n for share, n in parts) / sum(n for _, n in parts) if parts else 1.0


def score_uniform(tokens: NDArray[np.number], n_experts: int, top_k: int) -> Floats:
    """Compute the sums ``[cell, SUMS + experts fetched]`` expected of k experts drawn uniformly.

    Parameters
    ----------
    tokens : array ``[cell]``
    n_experts, top_k : int
    """
    size, share = comb(n_experts, top_k), top_k / n_experts
    row = [
        1.0,
        1 / size,
        1 - comb(n_experts - top_k, top_k) / size,
        share,
        log2(size),
        share * (1 - share),
        min(top_k + 3, 4 * top_k, n_experts) / n_experts,
        min(2 * top_k, n_experts) / n_experts,
        *(min(m, n_experts) / n_experts for m in range(top_k, 4 * top_k + 1)),
    ]
    return np.asarray(tokens, float)[:, None] * np.array(row)
