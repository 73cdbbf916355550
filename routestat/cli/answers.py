"""Predictions as records: the most probable states or experts, and how many experts have to be fetched."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.tables import Floats
from routestat.inference.markov.chain import Prediction
from routestat.traces.metadata import Router

Record = dict[str, Any]
#: Experts are fetched up to so many times as many as are chosen.
MOST_FETCHED = 4


def state_rows(prediction: Prediction, router: Router, top: int) -> list[Record]:
    """Return the most probable states with their experts."""
    best = _best(prediction.probability, top)
    sets = router.alphabet.unrank(best).tolist()
    return [
        {"state": state, "experts": experts} | _values(prediction, state)
        for state, experts in zip(best.tolist(), sets, strict=True)
    ]


def expert_rows(prediction: Prediction, top: int) -> list[Record]:
    """Return the most probable experts."""
    best = _best(prediction.probability, top).tolist()
    return [{"expert": expert} | _values(prediction, expert) for expert in best]


def fetch_rows(inclusion: Floats, top_k: int) -> list[Record]:
    """Return which share of the needed experts is expected among the m most probable ones, m = k … 4k.

    Parameters
    ----------
    inclusion : float array ``[expert]``
        Probabilities that sum to k.
    top_k : int
    """
    shares = np.cumsum(np.sort(inclusion)[::-1]) / top_k
    most = min(MOST_FETCHED * top_k, len(inclusion))
    return [{"fetched": m, "share_present": float(min(shares[m - 1], 1.0))} for m in range(top_k, most + 1)]


def _best(probability: Floats, top: int) -> NDArray[np.intp]:
    return np.argsort(-probability, kind="stable")[:top]


def _values(prediction: Prediction, index: int) -> Record:
    limits = [float(prediction.low[index]), float(prediction.high[index])]
    return {
        "probability": float(prediction.probability[index]),
        # With a single fold of documents there is no interval, and a ridge has none.
        "interval": [None if np.isnan(limit) else limit for limit in limits],
    }
