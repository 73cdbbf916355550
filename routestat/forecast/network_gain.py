"""Whether the network is worth its cost: its scores minus those of the best ridge."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from routestat.forecast.board import mean_board
from routestat.forecast.catalogue import family
from routestat.forecast.scores import SCORES, PredictionScore
from routestat.inference.base.estimate import Estimate

NETWORK = "network"
_RIDGE = "ridge"


@dataclass(frozen=True, slots=True)
class NetworkGain:
    """The network against the best ridge, on the mean over targets.

    Attributes
    ----------
    ridge : str
        The ridge that finds the largest share of the experts.
    differences : dict of str to Estimate
        The network's score minus the ridge's, by score, paired by groups of documents.
    parameters, multiply_adds : tuple of float
        Of the network and of the ridge, for all targets together.
    words : str
        One sentence.
    """

    ridge: str
    differences: dict[str, Estimate]
    parameters: tuple[float, float]
    multiply_adds: tuple[float, float]
    words: str


def network_gain(
    board: Sequence[PredictionScore], horizon: int = 1, level: float = 0.95, name: str = NETWORK
) -> NetworkGain | None:
    """Compare the network with the best ridge of a board.

    Parameters
    ----------
    board : sequence of PredictionScore
    horizon : int
        Layers ahead.
    level : float
    name : str
        The predictor to compare.

    Returns
    -------
    NetworkGain or None
        None where the board lacks the network or every ridge.
    """
    compared = [s for s in board if s.predictor == name or family(s.predictor) == _RIDGE]
    mean = mean_board([s for s in compared if s.horizon in (0, horizon)], horizon)
    own = next((s for s in mean if s.predictor == name), None)
    ridges = [s for s in mean if s.predictor != name]
    if own is None or not ridges:
        return None
    best = max(ridges, key=lambda score: score.estimate("recall_at_k").value)
    differences = {score: own.less(best, score, level) for score in SCORES}
    costs = own.cost, best.cost
    return NetworkGain(
        best.predictor,
        differences,
        (costs[0].parameters, costs[1].parameters),
        (costs[0].multiply_adds, costs[1].multiply_adds),
        _words(best.predictor, differences["recall_at_k"]),
    )


def with_gain(
    board: Sequence[PredictionScore], horizon: int = 1, level: float = 0.95
) -> tuple[PredictionScore, ...]:
    """Return a board on which the network's notes state whether it beats the best ridge."""
    found = network_gain(board, horizon, level)
    if found is None:
        return tuple(board)
    return tuple(
        replace(score, note="; ".join(filter(None, (score.note, found.words.removesuffix(".")))))
        if score.predictor == NETWORK
        else score
        for score in board
    )


def _words(ridge: str, found: Estimate) -> str:
    value = f"{100 * found.value:+.2f} percentage points of recall"
    interval = f"{value} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
    if found.low > 0:
        return f"The network beats {ridge}, the best ridge, by {interval.removeprefix('+')}."
    if found.high < 0:
        return f"The network does not beat the ridge: {ridge} is better, by {interval}."
    if found.low <= 0 <= found.high:
        return f"The network does not beat the ridge: {interval} beside {ridge}."
    return f"The network does not beat the ridge as far as is known: {value} beside {ridge}, without an interval."
