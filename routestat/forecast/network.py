"""The small network, on request.

The documents are divided into five parts. A part is predicted by a network that was trained on the other four: on the
log weights of ridges that were fitted without the token's own part, as the part that is scored is left out too (see
`routestat.forecast.network_start`). Some groups of documents of the other four parts are kept back, and the epoch
that predicts them best is the one that counts; it may be the one before the first, which is the ridge.

Every random number comes from the seed. The same seed gives the same scores on the same machine with the same number
of threads and version of torch; other sums of floating-point numbers can lead to another epoch.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from routestat.counting.board_rows import BoardRows
from routestat.errors import RoutestatError
from routestat.forecast.network_start import LEAST_PARTS, in_parts
from routestat.forecast.scores import PredictionScore
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.progress import Tick, limited_threads, silent


def score_networks(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Train and score the predictors of the form `NetworkForm`, one layer ahead.

    Parameters
    ----------
    rows : BoardRows
    specs : sequence of PredictorSpec
    view : {"subset", "expert"}
        Both are the same here.
    plan : BoardPlan
        Nothing is trained unless its `network` is True.
    tick : callable(what, done, total)

    Returns
    -------
    list of PredictionScore
        Empty unless the documents have three folds, or where no layer has an earlier one.

    Raises
    ------
    RoutestatError
        If torch is not installed.
    """
    if not plan.network or len(rows.routers) < 2 or np.unique(rows.fold).size < LEAST_PARTS:
        return []
    if find_spec("torch") is None:
        raise RoutestatError(
            "network: expected the package torch, which is not installed; pip install 'routestat[network]', or leave "
            "--network out"
        )
    # Imports torch, which takes seconds.
    from routestat.forecast.network_training import Trainer  # noqa: PLC0415

    with limited_threads(plan.threads, plan.threads or os.cpu_count()):
        return Trainer(in_parts(rows), plan, tick).scores(rows, specs)
