"""What answers a query of ``predict``: a chain, or a ridge of a report."""

from dataclasses import replace
from pathlib import Path

from routestat.cli.choices import Given, Record
from routestat.cli.open_run import open_run
from routestat.cli.predictor_choice import choose_predictor
from routestat.cli.queries import QueryAnswerer, QueryOptions
from routestat.cli.query_stream import Answer
from routestat.cli.ridge_queries import RidgeAnswerer
from routestat.errors import RoutestatError
from routestat.progress import Tick, silent
from routestat.study.chain_file import CHAIN_FILE
from routestat.study.predictors_file import PREDICTORS_FILE


def open_answers(
    folder: Path, alpha: str, options: QueryOptions, name: str | None, tick: Tick | None = None
) -> Answer:
    """Open a report or a trace and choose the predictor.

    Parameters
    ----------
    folder : path
    alpha : str
        Prior for a trace; empty for empirical Bayes.
    options : QueryOptions
    name : str, optional
        As for `routestat.cli.predictor_choice.choose_predictor`.
    tick : callable(what, done, total), optional
        Without it many queries follow.

    Raises
    ------
    RoutestatError
        If the folder is neither, or has no such predictor.
    """
    # A board alone has no chain.
    board = not (folder / CHAIN_FILE).is_file() and (folder / PREDICTORS_FILE).is_file()
    run = None if board else open_run(folder, alpha, tick or silent)
    chosen = choose_predictor(run, folder, name, options.ahead)
    if chosen.history is not None:
        if options.order is not None:
            raise RoutestatError(f"--order goes with the chain; {chosen.name} is a ridge: leave it out")
        return RidgeAnswerer(chosen, chosen.history, options).answer
    if run is None:
        raise RoutestatError(
            f"{folder}: expected a chain, found none; predict --with {chosen.name or 'best'}"
        )
    if chosen.order is not None:
        if options.order not in (None, chosen.order):
            raise RoutestatError(
                f"--order {options.order}: {chosen.name} has order {chosen.order}; leave one out"
            )
        options = replace(options, order=chosen.order)
    answers = QueryAnswerer(run, options, tick)

    def answer(layer: int, history: str, given: Given) -> tuple[Record, str]:
        if given != Given():
            raise RoutestatError(
                "the previous token and token ids are used by ridges alone: add --with ridge-all-token-id, or best"
            )
        record, close = answers.answer(layer, history)
        if chosen.why:
            record["notes"] = [chosen.why, *record["notes"]]
        return record, close

    return answer
