"""Held-out scores of predictors, from grouped tables alone: train on all groups but one, score on that one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, log2

import numpy as np
from numpy.typing import NDArray

from routestat.counting.predictor_scores import SUMS
from routestat.errors import RoutestatError
from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.smoothing.prior import resolve_alpha

#: The scores, each an `Estimate`; `bits` is reported as log_loss_bits.
SCORES = ("exact_set", "recall_at_k", "hit_rate", "top1_hit", "recall_at_2k", "log_loss_bits")


@dataclass(frozen=True)
class PredictionScore:
    """The held-out scores of one predictor at one target layer.

    Attributes
    ----------
    predictor : str
    source, target : int
        Layers; `source` is −1 where the predictor uses no earlier layer.
    horizon : int
        Layers from source to target; 0 where the predictor uses no earlier layer.
    sums : float array ``[group, SUMS]``
        Held-out sums per group; scores are ratios of their columns.
    has_probabilities : bool
        Whether the predictor gives probabilities; without them there is no log loss.
    router : str
        Name of the target's router: a layer may have several. Empty for several layers together.
    """

    predictor: str
    source: int
    target: int
    horizon: int
    sums: NDArray[np.float64]
    has_probabilities: bool = True
    router: str = ""

    @property
    def n_tokens(self) -> int:
        """Tokens scored."""
        return int(self.sums[:, 0].sum())

    def estimate(self, score: str, level: float = 0.95) -> Estimate:
        """One score with its interval over groups of documents."""
        if score not in SCORES:
            raise RoutestatError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        if score == "log_loss_bits" and not self.has_probabilities:
            nan = float("nan")
            return Estimate(nan, nan, nan, nan, 0, "this predictor ranks experts but gives no probabilities")
        column = SUMS.index("bits" if score == "log_loss_bits" else score)
        return ratio(self.sums[:, column], self.sums[:, 0], level)


def pooled(scores: Sequence[PredictionScore]) -> PredictionScore:
    """Pool the scores of one predictor over several target layers; every token of every layer has equal weight."""
    if not scores or len({score.predictor for score in scores}) != 1:
        raise RoutestatError("the scores of exactly one predictor can be pooled")
    first = scores[0]
    sums = np.sum([score.sums for score in scores], axis=0)
    return PredictionScore(first.predictor, -1, -1, first.horizon, sums, first.has_probabilities)


def score_table(
    tables: NDArray[np.integer], membership: NDArray[np.uint8], top_k: int, alpha: str | float
) -> NDArray[np.float64]:
    """Held-out sums ``[group, SUMS]`` of the predictor P(target | context) with Dirichlet rows.

    Group g is scored by the posterior mean of T − T_g. A learned prior is learned without g as well, from the
    half of the groups that g is not in.

    Parameters
    ----------
    tables : counts ``[group, context, target]`` of states
    membership : ``[target, expert]``
        Which experts a state holds.
    top_k : int
    alpha : str or float
        As for `routestat.inference.smoothing.prior.resolve_alpha`.
    """
    sums = np.zeros((len(tables), len(SUMS)))
    used = np.flatnonzero(tables.any(axis=(1, 2)))
    if len(used) < 2:
        return sums
    total = tables.sum(axis=0, dtype=np.int64)
    half = np.arange(len(used)) % 2
    priors = np.array(
        [resolve_alpha(tables[used[half != h]].sum(axis=0, dtype=np.int64), alpha) for h in (0, 1)]
    )
    for part in chunks(len(used), total.size):
        chosen, prior = used[part], priors[half[part]]
        sums[chosen] = _score_groups(tables[chosen].astype(np.int64), total, prior, membership, top_k)
    return sums


def _score_groups(
    held_out: NDArray[np.int64],
    total: NDArray[np.int64],
    prior: NDArray[np.float64],
    membership: NDArray[np.uint8],
    top_k: int,
) -> NDArray[np.float64]:
    """Compute the sums of a block of groups: `held_out` ``[group, context, target]``, `prior` ``[group, target]``."""
    distribution = total - held_out + prior[:, None, :]
    distribution /= distribution.sum(axis=2, keepdims=True)
    member = membership.astype(np.float64)
    order = np.argsort(-np.round(distribution @ member, 12), axis=2, kind="stable")[..., : 2 * top_k]
    experts = held_out @ member
    right = np.take_along_axis(experts, order, axis=2)
    predicted = np.zeros((*distribution.shape[:2], member.shape[1]))
    np.put_along_axis(predicted, order[..., :top_k], 1.0, axis=2)
    hit = predicted @ member.T > 0
    best = np.take_along_axis(held_out, distribution.argmax(axis=2)[..., None], axis=2)
    columns = [
        held_out.sum(axis=(1, 2)),
        best.sum(axis=(1, 2)),
        right[..., :top_k].sum(axis=(1, 2)) / top_k,
        (held_out * hit).sum(axis=(1, 2)),
        right[..., 0].sum(axis=1),
        right.sum(axis=(1, 2)) / top_k,
        -(held_out * np.log2(distribution)).sum(axis=(1, 2)),
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def score_uniform(tokens: NDArray[np.number], n_experts: int, top_k: int) -> NDArray[np.float64]:
    """Compute the sums ``[group, SUMS]`` expected of k experts drawn uniformly; `tokens` is ``[group]``."""
    size = comb(n_experts, top_k)
    share = [
        1.0,
        1 / size,
        top_k / n_experts,
        1 - comb(n_experts - top_k, top_k) / size,
        top_k / n_experts,
        min(2 * top_k, n_experts) / n_experts,
        log2(size),
    ]
    return np.asarray(tokens, float)[:, None] * np.array(share)
