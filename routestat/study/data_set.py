"""What the data set does to predictors: fitted to other traces or domains, and by domain, phase and depth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from routestat.counting.document_sample import Sample
from routestat.forecast.catalogue import family
from routestat.forecast.effect_of_data import DataEffect, effect_of_data
from routestat.forecast.specification import BoardPlan
from routestat.progress import Tick, silent
from routestat.study.board_findings import BoardFindings
from routestat.study.domain_matrix import DomainMatrix, domain_matrix
from routestat.study.transfer import Transfer, notes_on_models, transfer
from routestat.traces.metadata import Router, TraceMeta


@dataclass(frozen=True)
class TrainingSet:
    """Another trace of the same model, which predictors are fitted to.

    Attributes
    ----------
    meta : TraceMeta
    sample : Sample
        Whole documents.
    """

    meta: TraceMeta
    sample: Sample


@dataclass(frozen=True, eq=False)
class DataSetFindings:
    """What the data set does to the predictors of a board.

    Attributes
    ----------
    transfer : Transfer, optional
        Predictors that were fitted to another trace; None without one.
    domains : DomainMatrix, optional
        Predictors that were fitted to one domain and scored on another; None where this was not requested.
    effect : DataEffect, optional
        The recall of the best predictor by domain, phase and depth; None where nothing was scored.
    """

    transfer: Transfer | None
    domains: DomainMatrix | None
    effect: DataEffect | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, and why."""
        found = self.transfer.notes if self.transfer is not None else ()
        if self.domains is not None:
            found += self.domains.notes + ((self.domains.reason,) if self.domains.reason else ())
        return found


def data_set_findings(
    meta: TraceMeta,
    sample: Sample,
    board: BoardFindings,
    routers: Sequence[Router],
    view: str,
    plan: BoardPlan,
    training: TrainingSet | None = None,
    domains: bool = False,
    tick: Tick = silent,
) -> DataSetFindings:
    """Measure what the data set does to predictors.

    Parameters
    ----------
    meta : TraceMeta
        Of the trace.
    sample : Sample
        Of the board.
    board : BoardFindings
    routers : sequence of Router
        Of the board.
    view : {"subset", "expert"}
    plan : BoardPlan
        Of the board; all of this is of one layer ahead.
    training : TrainingSet, optional
        Fit predictors to it.
    domains : bool
        Predict every domain of the sample from every other, which costs about as much as the board; not beside a
        training set.
    tick : callable(what, done, total)

    Raises
    ------
    RoutestatError
        If the training set is of another model, or of the same documents only.
    """
    near = replace(plan, horizons=(1,), calibrate=False)
    moved = matrix = effect = None
    if training is not None:
        names = meta.name or "test", training.meta.name or "training"
        if names[0] == names[1]:
            names = names[0], f"{names[1]} (training)"
        # Recorded columns beside the choices are of one trace only.
        own, other = (_choices_only(one) for one in (sample, training.sample))
        moved = transfer(own, other, view, near, own=board.scores, names=names, tick=tick)
        moved = replace(moved, notes=notes_on_models(meta, training.meta) + moved.notes)
    elif domains:
        matrix = domain_matrix(sample, routers, view, near, tick=tick)
    best = [score for score in board.one_ahead if score.predictor == board.best]
    # Guessing needs no documents to fit on: alone it is no board.
    if best and family(board.best) != "uniform":
        effect = effect_of_data(best, routers)
    return DataSetFindings(moved, matrix, effect)


def _choices_only(sample: Sample) -> Sample:
    names = {router.name for router in sample.routers}
    return replace(sample, columns={name: values for name, values in sample.columns.items() if name in names})
