"""From how many layers ahead on a predictor without a hidden state is better than the recorded gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from routestat.errors import RoutestatError
from routestat.forecast.scores import PredictionScore, pooled
from routestat.inference.base.estimate import Estimate

#: Scores of which less is better.
LOSSES = ("log_loss_bits", "brier")


@dataclass(frozen=True, slots=True)
class GateHorizons:
    """A predictor against the recorded gate, by horizon.

    Attributes
    ----------
    predictor, gate, score : str
        What was compared.
    horizons : tuple of int
        Those of both, in order; the gate's where the predictor uses no earlier layer of the token.
    predicted, recorded : tuple of Estimate
        The score of each, on the targets that both have: farther horizons have fewer.
    differences : tuple of Estimate
        The predictor's score minus the gate's, on the same tokens of the same targets, paired by groups of documents.
    n_targets : tuple of int
    first : int, optional
        The first horizon from which on the predictor is better: the interval of the difference excludes zero there and
        at every farther horizon of both. Each interval holds for its own horizon. None if there is no such horizon.
    """

    predictor: str
    gate: str
    score: str
    horizons: tuple[int, ...]
    predicted: tuple[Estimate, ...]
    recorded: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]
    n_targets: tuple[int, ...]
    first: int | None


def first_horizon_beaten(
    board: Sequence[PredictionScore],
    predictor: str,
    gate: str = "gate",
    score: str = "recall_at_k",
    level: float = 0.95,
) -> GateHorizons:
    """Compare a predictor with the recorded gate at every horizon of both.

    Parameters
    ----------
    board : sequence of PredictionScore
        As `routestat.forecast.board.make_board` returns it, with several horizons.
    predictor, gate : str
        Names on the board.
    score : str
        One of `routestat.forecast.scores.SCORES`.
    level : float

    Raises
    ------
    RoutestatError
        If one of the two is not on the board, or they have no target and horizon in common.
    """
    for name in (predictor, gate):
        if all(found.predictor != name for found in board):
            names = ", ".join(dict.fromkeys(found.predictor for found in board)) or "nothing"
            raise RoutestatError(f"expected the scores of {name} on the board, found {names}; score it too")
    pairs: dict[int, tuple[PredictionScore, PredictionScore]] = {}
    n_targets = []
    for horizon in sorted({found.horizon for found in board if found.predictor == gate}):
        own, theirs = (_by_router(board, name, horizon) for name in (predictor, gate))
        shared = [router for router in theirs if router in own]
        if shared:
            pairs[horizon] = pooled([own[r] for r in shared]), pooled([theirs[r] for r in shared])
            n_targets.append(len(shared))
    if not pairs:
        raise RoutestatError(
            f"{predictor} and {gate} have no target and horizon in common; make the board with the recorded horizons"
        )
    differences = {n: own.less(theirs, score, level) for n, (own, theirs) in pairs.items()}
    return GateHorizons(
        predictor,
        gate,
        score,
        tuple(pairs),
        tuple(own.estimate(score, level) for own, _ in pairs.values()),
        tuple(theirs.estimate(score, level) for _, theirs in pairs.values()),
        tuple(differences.values()),
        tuple(n_targets),
        _first(differences, score),
    )


def _by_router(board: Sequence[PredictionScore], name: str, horizon: int) -> dict[str, PredictionScore]:
    """Return the scores of a predictor by target; those that use no earlier layer belong to every horizon."""
    return {
        found.router: found for found in board if found.predictor == name and found.horizon in (0, horizon)
    }


def _first(differences: Mapping[int, Estimate], score: str) -> int | None:
    """Return the first horizon from which on all are better."""
    first = None
    for horizon in sorted(differences, reverse=True):
        if not _is_better(differences[horizon], score):
            break
        first = horizon
    return first


def _is_better(difference: Estimate, score: str) -> bool:
    """Whether the interval is on the better side of zero; one without limits is not."""
    return difference.high < 0 if score in LOSSES else difference.low > 0
