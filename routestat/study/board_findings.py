"""What the board shows: scores pooled over targets, paired differences, horizons, phases, domains, calibration."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from routestat.counting.board_rows import BoardRows
from routestat.forecast import catalogue
from routestat.forecast.board import mean_board
from routestat.forecast.calibration import Calibration, calibration_of
from routestat.forecast.gate_horizons import GateHorizons, first_horizon_beaten
from routestat.forecast.scores import PredictionScore
from routestat.inference.base.estimate import Estimate, Estimates
from routestat.traces.metadata import Router
from routestat.traces.validation import PHASES

#: By these scores predictors are compared: the one of which more is better, and the one of which less is.
RECALL, LOG_LOSS = "recall_at_k", "log_loss_bits"
#: The recorded gate, and the predictors that are compared with it at every horizon, the first that is on the board.
GATE = "gate"
COMPARED_WITH_GATE = ("ridge-all-token-id", "ridge-all", "layer-1")


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The share of the chosen experts among those fetched.

    Attributes
    ----------
    fetched : tuple of int
        How many experts are fetched: k, k + 1, … up to 4k, or all that the layer has.
    found : Estimates ``[fetched]``
    reason : str
        Why there are none, where targets differ in k; empty elsewhere.
    """

    fetched: tuple[int, ...]
    found: Estimates
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """The scores of one predictor over several targets.

    Attributes
    ----------
    score : PredictionScore
    layers_ahead : int
        0 where the targets are all layers of the next token.
    n_targets : int
    curve : Curve
    """

    score: PredictionScore
    layers_ahead: int
    n_targets: int
    curve: Curve


@dataclass(frozen=True, slots=True)
class Comparison:
    """A predictor compared with the best and with the best baseline, on the same tokens; None where there is none.

    Attributes
    ----------
    is_best : bool
        Whether its recall is the highest.
    recall_less_than_best, log_loss_more_than_best : Estimate or None
        Compared with the predictor that is best by that score.
    recall_over_best_baseline, log_loss_saved_over_best_baseline : Estimate or None
        Compared with the baseline that is best by that score.
    """

    is_best: bool
    recall_less_than_best: Estimate | None
    log_loss_more_than_best: Estimate | None
    recall_over_best_baseline: Estimate | None
    log_loss_saved_over_best_baseline: Estimate | None


@dataclass(frozen=True, slots=True)
class PartOfTokens:
    """The scores of one predictor on the tokens of one phase or domain."""

    predictor: str
    name: str
    n_tokens: int
    recall_at_k: Estimate
    exact_set: Estimate
    log_loss_bits: Estimate


@dataclass(frozen=True, eq=False)
class BoardFindings:
    """All findings on the predictors of a trace.

    Attributes
    ----------
    scores : tuple of PredictionScore
        Every predictor at every target and horizon.
    pooled : tuple of Pooled
        One layer ahead, over the targets that all predictors have.
    comparisons : tuple of Comparison
        Of the predictors of `pooled`.
    horizons : tuple of Pooled
        For every number of layers ahead; predictors that use no earlier layer are compared at each.
    curves : tuple of (PredictionScore, Curve)
        Of every score.
    next_token : tuple of Pooled
        Predictors that use no earlier layer of the token, over all layers: the whole next token.
    by_phase, by_domain : tuple of PartOfTokens
        One layer ahead; empty unless tokens are of several.
    calibration : tuple of Calibration
        One layer ahead, of predictors with probabilities.
    gate : GateHorizons, optional
        From which horizon a predictor without a hidden state is better than the recorded gate; None without a gate.
    best, best_by_log_loss, best_baseline, baseline_by_log_loss : str
        Names of predictors, one layer ahead: highest recall, least log loss, and the same of the baselines. Empty
        where nothing was scored.
    note : str
        The part of the trace that was used; empty if all of it.
    reason : str
        Why nothing could be scored, or why there is one target only; empty elsewhere.
    """

    scores: tuple[PredictionScore, ...]
    pooled: tuple[Pooled, ...]
    comparisons: tuple[Comparison, ...]
    horizons: tuple[Pooled, ...]
    curves: tuple[tuple[PredictionScore, Curve], ...]
    next_token: tuple[Pooled, ...]
    by_phase: tuple[PartOfTokens, ...]
    by_domain: tuple[PartOfTokens, ...]
    calibration: tuple[Calibration, ...]
    gate: GateHorizons | None
    best: str
    best_by_log_loss: str
    best_baseline: str
    note: str = ""
    reason: str = ""
    baseline_by_log_loss: str = ""

    @property
    def mean(self) -> tuple[PredictionScore, ...]:
        """The pooled scores one layer ahead."""
        return tuple(one.score for one in self.pooled)

    @property
    def one_ahead(self) -> tuple[PredictionScore, ...]:
        """The scores per target, at most one layer ahead."""
        return tuple(score for score in self.scores if score.horizon <= 1)


def board_findings(scores: Sequence[PredictionScore], rows: BoardRows) -> BoardFindings:
    """Compute the findings of a board.

    Parameters
    ----------
    scores : sequence of PredictionScore
        As `routestat.forecast.board.make_board` returns them.
    rows : BoardRows
        That they were made of.
    """
    ahead = sorted({score.horizon for score in scores if score.horizon})
    mean = _pooled(scores, rows.routers, 1)
    scored = [one.score for one in mean if one.score.n_tokens]
    baselines = set(catalogue.baselines())
    trivial = [score for score in scored if score.predictor in baselines]
    by_recall, by_loss = _highest(scored, RECALL), _least(scored, LOG_LOSS)
    best_of = (by_recall, by_loss, _highest(trivial, RECALL), _least(trivial, LOG_LOSS))
    names = {one.score.predictor for one in mean}
    calibrated = {
        name: [score for score in _shared(scores, 1) if score.predictor == name]
        for name in (score.predictor for score in scored)
        if name in names
    }
    return BoardFindings(
        tuple(scores),
        mean,
        tuple(_comparison(one.score, *best_of) for one in mean),
        tuple(one for n in ahead for one in _pooled(scores, rows.routers, n)),
        tuple((score, _curve(score, rows.routers)) for score in scores),
        _pooled(scores, rows.routers, 0),
        _parts(scored, "phase", PHASES),
        _parts(scored, "domain", sorted({name for name in rows.cells.domain if name})),
        tuple(
            calibration_of(own)
            for own in calibrated.values()
            if all(one.has_probabilities and one.calibration is not None for one in own)
        ),
        _against_gate(scores),
        by_recall.predictor if by_recall else "",
        by_loss.predictor if by_loss else "",
        best_of[2].predictor if best_of[2] else "",
        rows.sample.note,
        _why_nothing(rows, scored),
        best_of[3].predictor if best_of[3] else "",
    )


def _shared(scores: Sequence[PredictionScore], ahead: int) -> list[PredictionScore]:
    """Return the scores at a horizon of the targets that all its predictors have; 0 for those without a horizon."""
    chosen = [score for score in scores if score.horizon in (0, ahead)]
    targets: dict[str, set[str]] = {}
    for score in chosen:
        targets.setdefault(score.predictor, set()).add(score.router)
    shared = set.intersection(*targets.values()) if targets else set()
    return [score for score in chosen if score.router in shared]


def _pooled(scores: Sequence[PredictionScore], routers: Sequence[Router], ahead: int) -> tuple[Pooled, ...]:
    targets = {score.router for score in _shared(scores, ahead)}
    return tuple(
        Pooled(score, ahead, len(targets), _curve(score, routers)) for score in mean_board(scores, ahead)
    )


def _curve(score: PredictionScore, routers: Sequence[Router]) -> Curve:
    found = score.curve()
    if not score.top_k:
        nothing = Estimates(*(np.empty(0) for _ in range(5)))
        return Curve((), nothing, "the layers choose different numbers of experts")
    most = max(router.n_experts for router in routers if score.router in ("", router.name))
    fetched = tuple(m for m in range(score.top_k, score.top_k + len(found.value)) if m <= most)
    names = ("value", "low", "high", "standard_error", "plugin")
    return Curve(fetched, Estimates(*(getattr(found, name)[: len(fetched)] for name in names)))


def _highest(scores: Iterable[PredictionScore], score: str) -> PredictionScore | None:
    return _chosen(scores, score, max)


def _least(scores: Iterable[PredictionScore], score: str) -> PredictionScore | None:
    return _chosen(scores, score, min)


def _chosen(
    scores: Iterable[PredictionScore], score: str, which: Callable[..., PredictionScore]
) -> PredictionScore | None:
    values = {id(one): (one.estimate(score).value, one) for one in scores}
    known = [one for value, one in values.values() if value == value]
    return which(known, key=lambda one: values[id(one)][0]) if known else None


def _comparison(
    score: PredictionScore,
    best: PredictionScore | None,
    least: PredictionScore | None,
    baseline: PredictionScore | None,
    baseline_loss: PredictionScore | None,
) -> Comparison:
    if not score.n_tokens:
        return Comparison(False, None, None, None, None)
    return Comparison(
        score is best,
        best.less(score, RECALL) if best else None,
        score.less(least, LOG_LOSS) if least else None,
        score.less(baseline, RECALL) if baseline else None,
        baseline_loss.less(score, LOG_LOSS) if baseline_loss else None,
    )


def _parts(scores: Sequence[PredictionScore], by: str, names: Sequence[str]) -> tuple[PartOfTokens, ...]:
    """Return the scores on the tokens of each phase or domain, if there are several."""
    if not scores:
        return ()
    words = np.array(getattr(scores[0].cells, by))
    tokens = scores[0].sums[:, 0]
    held = {name: int(tokens[words == name].sum()) for name in names}
    several = [name for name, n in held.items() if n]
    if len(several) < 2:
        return ()
    return tuple(
        PartOfTokens(
            score.predictor,
            name,
            held[name],
            *(
                score.estimate(one, phase=name) if by == "phase" else score.estimate(one, domain=name)
                for one in (RECALL, "exact_set", LOG_LOSS)
            ),
        )
        for score in scores
        for name in several
    )


def _against_gate(scores: Sequence[PredictionScore]) -> GateHorizons | None:
    found = {(score.predictor, score.horizon) for score in scores}
    for name in COMPARED_WITH_GATE:
        if any((name, horizon) in found for predictor, horizon in found if predictor == GATE):
            return first_horizon_beaten(scores, name, GATE, RECALL)
    return None


def _why_nothing(rows: BoardRows, scored: Sequence[PredictionScore]) -> str:
    if rows.n_folds < 2:
        documents = "one document" if rows.sample.n_documents == 1 else "one group of documents"
        return f"all tokens are of {documents}: nothing can be held out"
    if not scored:
        return "no layer has tokens whose choice is known"
    if len(rows.routers) < 2:
        return "one layer: no predictor has an earlier layer of the token"
    return ""
