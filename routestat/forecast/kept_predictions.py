"""Held-out predictions of every token, kept: what a prefetcher would fetch, and a cache would keep.

Every document is predicted by models that were fitted without it, exactly as on the board.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class KeptPredictions:
    """The most probable experts of every token at every layer, by one predictor at one horizon.

    Attributes
    ----------
    predictor : str
        Name in `routestat.forecast.catalogue`.
    horizon : int
        Layers ahead; 0 where the predictor uses no earlier layer of the token.
    experts : int16 array ``[row, layer, place]``
        The most probable first; −1 where there is no prediction (a layer without a source, a token without what the
        predictor needs).
    score : float16 array ``[row, layer, place]``
        The probability that the expert is among the chosen ones, where the predictor has probabilities; otherwise
        decreasing numbers. 0 where there is no expert.
    recall : float
        Share of the chosen experts among the first k, of the tokens that were predicted.
    """

    predictor: str
    horizon: int
    experts: NDArray[np.int16]
    score: NDArray[np.float16]
    recall: float
