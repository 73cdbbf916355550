"""The board of predictors in the terminal: the best of each family, what it gains, and how far ahead."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from routestat.forecast import catalogue
from routestat.forecast.scores import PredictionScore
from routestat.report.cautions import Cautions
from routestat.report.numbers import interval, number
from routestat.report.records.memory import partly_known
from routestat.report.terminal.console import new_table, print_titled, why_undefined
from routestat.study.board_findings import BoardFindings, Pooled

_COLUMNS = {
    "recall_at_k": "recall@k",
    "recall_at_2k": "@2k",
    "exact_set": "exact",
    "log_loss_bits": "log loss",
}


def print_board(console: Console, board: BoardFindings) -> None:
    """Print the best predictor of each family by recall@k, and sentences on the best of all."""
    title = "Prediction of the next choice: mean over layers, on held-out documents"
    # Guessing needs no documents to fit on: alone it is no board.
    if not board.best or all(catalogue.family(score.predictor) == "uniform" for score in board.mean):
        why = f": {board.reason}" if board.reason else ""
        print_titled(console, title, Text(f"No predictor could be scored{why}."))
        return
    table = new_table("predictor", *_COLUMNS.values(), "parameters")
    shown, reasons, marks = best_of_each(board.mean), [], Cautions()
    for score in shown:
        estimates = [score.estimate(name) for name in _COLUMNS]
        values = [number(estimate.value) for estimate in estimates]
        values[-1] = marks.beside(values[-1], partly_known(score.known, score.context))
        table.add_row(score.predictor, *values, number(score.cost.parameters))
        reasons += [estimate.reason for estimate in estimates if estimate.value != estimate.value]
    more = len(board.mean) - len(shown)
    below = [f"The best of each family, by recall@k; {more} more in the report."] if more else []
    below += [f"{board.reason[0].upper()}{board.reason[1:]}."] if board.reason else []
    below += [f"Part of the trace: {board.note}."] if board.note else []
    below += [*_gain(board), *_without_gate(board), *_ahead(board), *why_undefined(reasons)]
    below += [_noted(score) for score in shown if score.note]
    print_titled(console, title, table, [*marks.below, *below])


def best_of_each(scores: Sequence[PredictionScore]) -> list[PredictionScore]:
    """Return the predictor with the highest recall of every family, in the order of the scores."""
    best: dict[str, PredictionScore] = {}
    for score in scores:
        family = catalogue.family(score.predictor)
        if family not in best or _recall(score) > _recall(best[family]):
            best[family] = score
    kept = {score.predictor for score in best.values()}
    return [score for score in scores if score.predictor in kept]


def _gain(board: BoardFindings) -> list[str]:
    """Say what the best predictor gains over the best baseline."""
    if board.best in catalogue.baselines():
        return [f"No predictor is better than the baselines; the best of them is {board.best}."]
    place = next(place for place, one in enumerate(board.pooled) if one.score.predictor == board.best)
    gain = board.comparisons[place].recall_over_best_baseline
    if gain is None or not board.best_baseline:
        return [f"Best: {board.best}."]
    limits = f" (95 % interval {interval(gain.low, gain.high)})" if math.isfinite(gain.low) else ""
    doubt = ", too uncertain to claim" if math.isfinite(gain.low) and gain.low <= 0 else ""
    return [
        f"Best: {board.best}; its recall@k is {number(gain.value)}{limits} above that of the best baseline, "
        f"{board.best_baseline}{doubt}."
    ]


def _without_gate(board: BoardFindings) -> list[str]:
    """Name the best predictor that needs no hidden state, if the best of all does."""
    if "gate" not in catalogue.specification(board.best).inputs:
        return []
    others = [s for s in board.mean if "gate" not in catalogue.specification(s.predictor).inputs]
    best = max(others, key=_recall, default=None)
    return (
        [] if best is None else [f"Best without a hidden state: {best.predictor}, {number(_recall(best))}."]
    )


def _noted(score: PredictionScore) -> str:
    """Return the first of a predictor's notes, which may be one for each layer."""
    first, *more = score.note.split("; ")
    return f"{score.predictor}: {first}{f' ({len(more)} more notes in the report)' if more else ''}."


def _ahead(board: BoardFindings) -> list[str]:
    """Say how far ahead some predictor is better than every baseline; nothing where one layer ahead is all there is."""
    numbers = sorted({one.layers_ahead for one in board.horizons})
    if len(numbers) < 2:
        return []
    leading = []
    for n in numbers:
        if (both := _leading(board, n)) is None:
            break
        leading.append((n, *both))
    said = []
    if leading:
        n, real, trivial = leading[-1]
        said.append(
            f"{n} layers ahead, {real.predictor} finds {number(_recall(real))} of the experts, "
            f"{trivial.predictor} {number(_recall(trivial))}."
            if n > 1
            else ""
        )
    if len(leading) < len(numbers):
        first = numbers[len(leading)]
        ahead = f"{first} layer{'s' if first > 1 else ''} ahead"
        # Predictors are not fitted for all horizons: farther ahead one may lead again.
        others = [_leading(board, n) for n in numbers[len(leading) :]]
        where = f"At {ahead}" if any(others) else f"From {ahead} on"
        said.append(f"{where}, no predictor is better than the best baseline.")
    return [one for one in said if one]


def _leading(board: BoardFindings, n: int) -> tuple[PredictionScore, PredictionScore] | None:
    """Return the best predictor and the best baseline n layers ahead, if the former is better."""
    there = [one for one in board.horizons if one.layers_ahead == n]
    real, trivial = (_best_at(there, baseline=which) for which in (False, True))
    return None if real is None or trivial is None or _recall(real) <= _recall(trivial) else (real, trivial)


def _best_at(there: Sequence[Pooled], baseline: bool) -> PredictionScore | None:
    known = set(catalogue.baselines())
    scores = [one.score for one in there if (one.score.predictor in known) == baseline]
    return max(scores, key=_recall, default=None)


def _recall(score: PredictionScore) -> float:
    value = score.estimate("recall_at_k").value
    return value if math.isfinite(value) else -1.0
