"""How engines make scores of their sums."""

from routestat.counting.board_rows import BoardRows
from routestat.counting.score_sums import ScoreSums
from routestat.forecast.scores import Cost, PredictionScore
from routestat.traces.metadata import Router


def made_score(
    rows: BoardRows,
    name: str,
    target: Router,
    horizon: int,
    sums: ScoreSums,
    cost: Cost,
    *,
    has_probabilities: bool = True,
    note: str = "",
) -> PredictionScore:
    """Return the score of a predictor at a target, `horizon` layers ahead of its source; 0 without a source."""
    place = rows.routers.index(target)
    source = rows.routers[place - horizon].layer if horizon else -1
    return PredictionScore(
        name,
        source,
        target.layer,
        horizon,
        sums.sums,
        rows.cells,
        sums.calibration,
        has_probabilities,
        target.name,
        cost,
        note,
        target.top_k,
    )
