"""Calibration of predicted probabilities: reliability curve, calibration error, parts of the Brier score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.errors import RoutestatError
from routestat.forecast.scores import PredictionScore
from routestat.inference.base.estimate import (
    Estimate,
    Estimates,
    effective_dof,
    proportions,
    sandwich_error,
    with_interval,
    without_interval,
)
from routestat.inference.base.jackknife import jackknife_scores
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.base.units import too_few

#: Columns of the sums per bin: experts, the sum of their probabilities, how many were chosen.
_EXPERTS, _PREDICTED, _CHOSEN = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How the predicted probabilities of single experts compare with how often these experts were chosen.

    Attributes
    ----------
    predictor : str
    n : float array ``[bin]``
        Predicted probabilities in the bin, one per token and expert; bins without any are left out.
    probability : float array ``[bin]``
        Their mean.
    observed : Estimates ``[bin]``
        Share of them whose expert was chosen, with intervals over groups of documents.
    error : Estimate
        Calibration error without its bias: the root mean square, over the probabilities, of the difference between
        `observed` and `probability`. 0 where the estimate of its square, which is unbiased and hence may be negative,
        is below 0. Its interval is that of the square.
    brier : float
        Mean squared error of the probabilities of single experts: reliability − resolution + uncertainty.
    reliability : float
        Mean squared difference between `observed` and `probability`, with its bias; 0 is perfect.
    resolution : float
        How far the observed shares of the bins differ from the overall share, plus what the probabilities inside the
        bins add (generalised resolution); more is better.
    uncertainty : float
        Brier score of a constant prediction of the overall share.
    """

    predictor: str
    n: Floats
    probability: Floats
    observed: Estimates
    error: Estimate
    brier: float
    reliability: float
    resolution: float
    uncertainty: float


def calibration_of(scores: Sequence[PredictionScore], level: float = 0.95) -> Calibration:
    """Measure the calibration of one predictor over one or several targets.

    Parameters
    ----------
    scores : sequence of PredictionScore
        Of one predictor, one per target, with reliability sums.
    level : float
        Of the intervals.

    Raises
    ------
    RoutestatError
        If the scores are of several predictors, or one has no reliability sums.

    Notes
    -----
    The observed share of a bin differs from its mean probability by chance alone, so that the mean squared difference
    exceeds the squared calibration error. Its bias is removed as in the debiased estimator of Kumar, Liang & Ma
    (2019), with groups of documents as the independent units in place of tokens: with D[g] the experts of group g in
    the bin that were chosen minus the sum of their probabilities, the squared difference is the sum of D[g] D[h] over
    pairs of different groups, divided by the sum of n[g] n[h] over the same pairs. It is 0 in expectation where the
    probabilities are calibrated, however dependent the tokens of a group are. Bins that lie in one group are left
    out.

    The parts of the Brier score are those of Murphy (1973). The probabilities of a bin differ, which adds their
    variance within bins and subtracts twice their covariance with the outcomes; Stephenson, Coelho & Jolliffe (2008)
    count both to the resolution, so that the three parts add up exactly.

    References
    ----------
    Murphy (1973), J. Appl. Meteorol. 12; Stephenson, Coelho & Jolliffe (2008), Weather Forecast. 23; Kumar, Liang & Ma
    (2019), Verified Uncertainty Calibration, NeurIPS 32.
    """
    if len({score.predictor for score in scores}) != 1:
        raise RoutestatError(
            "calibration: expected the scores of one predictor, found those of none or several"
        )
    name = scores[0].predictor
    sums = [score.cells.by_group(score.calibration) for score in scores if score.calibration is not None]
    if len(sums) < len(scores):
        raise RoutestatError(f"{name} has no reliability sums; score it with BoardPlan(calibrate=True)")
    total = np.sum(sums, axis=0)
    n, predicted, chosen = (total[:, :, column] for column in (_EXPERTS, _PREDICTED, _CHOSEN))
    used = n.sum(axis=0) > 0
    n, predicted, chosen = n[:, used], predicted[:, used], chosen[:, used]
    bins = n.sum(axis=0)
    if not used.any():
        nothing, nan = read_only(np.zeros(0)), math.nan
        empty = Estimates(*(nothing for _ in range(5)))
        error = without_interval(nan, 0, "no tokens to score")
        return Calibration(name, nothing, nothing, empty, error, nan, nan, nan, nan)
    probability, share = predicted.sum(axis=0) / bins, chosen.sum(axis=0) / bins
    in_all = bins.sum()
    base = chosen.sum() / in_all
    brier = _squared_errors(scores) / in_all
    reliability = float((bins * (share - probability) ** 2).sum() / in_all)
    uncertainty = float(base * (1.0 - base))
    return Calibration(
        name,
        read_only(bins),
        read_only(probability),
        _shares(chosen, n, level),
        _error(chosen - predicted, n, level),
        brier,
        reliability,
        reliability + uncertainty - brier,
        uncertainty,
    )


def _squared_errors(scores: Sequence[PredictionScore]) -> float:
    """Return the sum of the squared errors of all experts; the scores hold their mean over the experts."""
    found = 0.0
    for score in scores:
        tokens = score.sums[:, 0].sum()
        if tokens and score.calibration is not None:
            experts = score.calibration[:, :, _EXPERTS].sum() / tokens
            found += float(score.column("brier").sum()) * experts
    return found


def _shares(chosen: Floats, n: Floats, level: float) -> Estimates:
    each = [proportions(chosen[:, [one]], n[:, one], level) for one in range(n.shape[1])]
    names = ("value", "low", "high", "standard_error", "plugin")
    return Estimates(*(read_only(np.concatenate([getattr(one, name) for one in each])) for name in names))


def _error(differences: Floats, n: Floats, level: float) -> Estimate:
    """Return the calibration error of ``[group, bin]`` sums, with the jackknife interval of its square."""
    seen = n.sum(axis=1) > 0
    differences, n = differences[seen], n[seen]
    size, groups = n.sum(axis=1), int(seen.sum())
    whole = _squared(differences, n)
    if why := too_few(size):
        return without_interval(_root(whole), groups, why)
    left_out = np.array([_squared(*_without(group, differences, n)) for group in range(groups)])
    if not np.isfinite(left_out).all():
        return without_interval(_root(whole), groups, "all probabilities lie in one group of documents")
    scores = jackknife_scores(whole, left_out, size)
    error = float(sandwich_error(scores - scores.mean()))
    square = with_interval(whole, error, effective_dof(size), groups, level)
    root = _root(whole)
    return Estimate(
        root, _root(square.low), _root(square.high), error / (2.0 * root) if root else math.nan, groups
    )


def _without(group: int, differences: Floats, n: Floats) -> tuple[Floats, Floats]:
    return np.delete(differences, group, axis=0), np.delete(n, group, axis=0)


def _squared(differences: Floats, n: Floats) -> float:
    """Return the unbiased estimate of the squared calibration error, mean over the probabilities of all bins."""
    pairs = n.sum(axis=0) ** 2 - (n**2).sum(axis=0)
    # Counts are whole numbers, so that a bin of one group has exactly no pairs.
    several = pairs > 0
    if not several.any():
        return math.nan
    above = differences.sum(axis=0) ** 2 - (differences**2).sum(axis=0)
    weight = n.sum(axis=0)[several]
    return float((weight * above[several] / pairs[several]).sum() / weight.sum())


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0)) if square == square else square
