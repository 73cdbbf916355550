"""Transfer: predictors that are fitted to one trace and scored on another of the same model.

Beside each score stands the one that the same predictor reaches where it is fitted to the test set's own documents,
each fold without itself; the difference is paired by groups of documents. Intervals are over documents of the test
set: fitted predictors are taken as they are, so that how other training documents of the same kind would differ is not
in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from routestat.counting.board_rows import BoardRows, joined_rows
from routestat.counting.document_sample import Sample, rows_of
from routestat.counting.joined_samples import common_routers, shared_documents
from routestat.counting.score_sums import Cells
from routestat.errors import RoutestatError
from routestat.forecast.board import make_board
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.network_gain import with_gain
from routestat.forecast.scores import PredictionScore, pooled
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.inference.base.estimate import Estimate, without_interval
from routestat.progress import Tick, silent
from routestat.study.comparison_inputs import model_of
from routestat.traces.metadata import Router, TraceMeta, layers_were_counted


@dataclass(frozen=True, eq=False)
class TransferScore:
    """One predictor, fitted to one set of documents and scored on another, pooled over target layers.

    Attributes
    ----------
    train, test : str
        Names of the two sets; the same where each fold of a set is predicted from its other folds.
    score : PredictionScore
        Its cells are those of the test set that hold tokens.
    own : PredictionScore, optional
        The same predictor on the same tokens, fitted to other documents of the test set.
    n_train_tokens : int
    """

    train: str
    test: str
    score: PredictionScore
    own: PredictionScore | None
    n_train_tokens: int

    @property
    def is_held_out(self) -> bool:
        """Whether it was fitted to other documents of the test set itself."""
        return self.train == self.test

    def less_than_own(self, score: str, level: float = 0.95) -> Estimate:
        """Return a score minus that of the predictor fitted to the test set's own documents, paired by groups."""
        if self.own is None:
            return without_interval(float("nan"), 0, "not scored on the test set's own documents")
        return self.score.less(self.own, score, level)


@dataclass(frozen=True, eq=False)
class Transfer:
    """Predictors that are fitted to one trace and scored on another.

    Attributes
    ----------
    board : tuple of PredictionScore
        Per target, as `routestat.forecast.board.make_board` gives them.
    scores : tuple of TransferScore
        Pooled over the targets that all predictors have.
    notes : tuple of str
    """

    board: tuple[PredictionScore, ...]
    scores: tuple[TransferScore, ...]
    notes: tuple[str, ...]


def transfer(
    test: Sample,
    train: Sample,
    view: str,
    plan: BoardPlan | None = None,
    *,
    routers: Sequence[Router] | None = None,
    specs: Sequence[PredictorSpec] = PREDICTORS,
    own: Sequence[PredictionScore] = (),
    names: tuple[str, str] = ("test", "training"),
    tick: Tick = silent,
) -> Transfer:
    """Fit predictors to one trace and score them on another.

    Documents of the training set that share their text with documents of the test set are left out.

    Parameters
    ----------
    test, train : Sample
        Whole documents of two traces of one model.
    view : {"subset", "expert"}
    plan : BoardPlan, optional
    routers : sequence of Router, optional
        Targets, which both have; all of those by default.
    specs : sequence of PredictorSpec
    own : sequence of PredictionScore
        The test set's own board, from the same sample and routers: what predictors reach that are fitted to other
        documents of the test set.
    names : (str, str)
        Of the test and the training set.
    tick : callable(what, done, total)

    Raises
    ------
    RoutestatError
        If the traces are of two models, or if too few documents are left to train on.
    """
    rows, train, notes = _joined(test, train, routers)
    board = with_gain(make_board(rows, view, plan, specs=specs, tick=tick))
    (scores,) = mean_scores([board])
    here = {name: in_test_set(score) for name, score in _on_same_targets(board, own).items()}
    found = []
    for name, score in scores.items():
        mine, theirs = in_test_set(score), here.get(name)
        if theirs is not None and not _on_same_tokens(mine, theirs):
            theirs = None
        found.append(TransferScore(names[1], names[0], mine, theirs, len(train)))
    if own and any(one.own is None for one in found):
        notes.append(
            "the test set's own board lacks some of these scores on these tokens: there are no differences from them"
        )
    return Transfer(board, tuple(found), tuple(notes))


def require_training_set(test: Sample, train: Sample) -> None:
    """Refuse what `transfer` would refuse, before anything is fitted.

    Parameters
    ----------
    test, train : Sample

    Raises
    ------
    RoutestatError
        If the traces are of two models, or if too few documents are left to train on.
    """
    _joined(test, train, None)


def notes_on_models(test: TraceMeta, train: TraceMeta) -> tuple[str, ...]:
    """Return what a reader has to know of the models of two traces whose layers and experts agree.

    Parameters
    ----------
    test, train : TraceMeta
    """
    notes = []
    if model_of(test) != model_of(train):
        notes.append(
            f"the models have different names, {test.model or 'none'} and {train.model or 'none'}: experts' ids are "
            "labels, so that one can be predicted from the other only if it was made from it"
        )
    if layers_were_counted(test) or layers_were_counted(train):
        notes.append(
            "a trace whose source does not number its layers has them in order; they are taken as the same"
        )
    return tuple(notes)


def mean_scores(boards: Sequence[Sequence[PredictionScore]]) -> list[dict[str, PredictionScore]]:
    """Pool the predictors that all boards have over the targets that all of these have, one layer ahead.

    Returns
    -------
    list of dict of predictor to PredictionScore
        One for each board.
    """
    near = [[score for score in board if score.horizon in (0, 1)] for board in boards]
    names = [
        name
        for name in dict.fromkeys(score.predictor for score in near[0])
        if all(any(score.predictor == name for score in board) for board in near)
    ]
    have = [{s.router for s in board if s.predictor == name} for board in near for name in names]
    shared = set.intersection(*have) if have else set()
    if not shared:
        return [{} for _ in boards]
    return [
        {name: pooled([s for s in board if s.predictor == name and s.router in shared]) for name in names}
        for board in near
    ]


def in_test_set(score: PredictionScore, domain: str | None = None) -> PredictionScore:
    """Return a score whose cells are those with tokens, of one domain or of all, and whose groups are numbered anew.

    Groups keep their order, so that scores of the same tokens are paired whatever else their boards hold.

    Parameters
    ----------
    score : PredictionScore
    domain : str, optional
    """
    chosen = score.sums[:, 0] > 0
    if domain is not None:
        chosen &= np.array(score.cells.domain) == domain
    at = np.flatnonzero(chosen)
    used, group = np.unique(score.cells.group[at], return_inverse=True)
    phases, domains = (tuple(words[i] for i in at) for words in (score.cells.phase, score.cells.domain))
    return replace(
        score,
        sums=score.sums[at],
        cells=Cells(group, phases, domains, len(used)),
        calibration=None if score.calibration is None else score.calibration[at],
    )


def _joined(
    test: Sample, train: Sample, routers: Sequence[Router] | None
) -> tuple[BoardRows, Sample, list[str]]:
    """Return the rows of both sets, what is trained on, and notes on what is left out."""
    common, note = common_routers(test, train, routers)
    notes = [note] if note else []
    if (test.token >= 0).any() and not (train.token >= 0).any():
        notes.append(
            "the training set has no token ids: predictors that look at them have learned nothing from them"
        )
    train, said = _without_shared(test, train, common)
    notes += said
    return joined_rows(test, train, common), train, notes


def _on_same_targets(
    board: Sequence[PredictionScore], own: Sequence[PredictionScore]
) -> dict[str, PredictionScore]:
    """Pool those predictors of another board that have all targets over which the predictors of a board are pooled."""
    near, beside = ([score for score in some if score.horizon in (0, 1)] for some in (board, own))
    names = {score.predictor for score in near}
    shared = set.intersection(*({s.router for s in near if s.predictor == name} for name in names))
    found = {name: [s for s in beside if s.predictor == name and s.router in shared] for name in names}
    return {name: pooled(scores) for name, scores in found.items() if scores and len(scores) == len(shared)}


def _on_same_tokens(one: PredictionScore, other: PredictionScore) -> bool:
    a, b = (score.cells.by_group(score.sums[:, 0]) for score in (one, other))
    return np.array_equal(a, b)


def _without_shared(test: Sample, train: Sample, routers: Sequence[Router]) -> tuple[Sample, list[str]]:
    shared = shared_documents(test, train, routers)
    if not shared.any():
        return train, []
    n, documents = len(np.unique(train.document[shared])), len(np.unique(train.document))
    if n == documents:
        raise RoutestatError(
            "expected other documents to train on, got only ones that share their text with the test set; without "
            "--train each fold of the test set is predicted from the others"
        )
    note = (
        f"{n} of the {documents} documents of the training set share their text with documents of the test set and "
        "are left out"
    )
    return rows_of(train, ~shared), [note]
