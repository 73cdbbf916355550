"""Where engines leave the predictions that they score, so that the first experts of every token can be kept."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.first_experts import first_experts
from routestat.counting.score_sums import LINKS
from routestat.traces.metadata import Router

#: Rows that are converted at a time.
_ROWS = 1 << 14
#: The name of a predictor, and how many layers ahead it looks; 0 where it uses no earlier layer of the token.
Key = tuple[str, int]


@dataclass(frozen=True, eq=False)
class FirstExperts:
    """The first experts of every token at every layer.

    Attributes
    ----------
    experts : int16 array ``[row, layer, place]``
        −1 where there is no prediction.
    chance : float16 array ``[row, layer, place]``
    """

    experts: NDArray[np.int16]
    chance: NDArray[np.float16]

    @classmethod
    def nothing(cls, rows: int, layers: int, places: int) -> "FirstExperts":
        """Return arrays without any prediction."""
        shape = rows, layers, places
        return cls(np.full(shape, -1, np.int16), np.zeros(shape, np.float16))


class PredictionKeeper:
    """Keeps the first experts of the predictions of some predictors.

    Engines call `add` where they score; predictions of the same row and layer are not added twice. Several threads may
    add at the same time.

    Parameters
    ----------
    wanted : collection of Key
        What is kept; anything else that is added is ignored.
    routers : sequence of Router
        The layers of the board.
    rows : int
    places : int
        Experts of each prediction. Every kept predictor takes 4 · rows · layers · places bytes.
    """

    def __init__(self, wanted: Collection[Key], routers: Sequence[Router], rows: int, places: int) -> None:
        self._wanted, self._rows, self._places = frozenset(wanted), rows, places
        self._layer = {router.name: at for at, router in enumerate(routers)}
        self._lock = Lock()
        #: What was kept.
        self.found: dict[Key, FirstExperts] = {}

    def wants(self, name: str, horizon: int) -> bool:
        """Whether the predictions of a predictor are kept."""
        return (name, horizon) in self._wanted

    def add(
        self,
        name: str,
        horizon: int,
        target: Router,
        rows: NDArray[np.integer],
        scores: NDArray[np.floating],
        link: str,
        *,
        order: NDArray[np.floating] | None = None,
        place: NDArray[np.integer] | None = None,
    ) -> None:
        """Keep the predictions of some rows.

        Parameters
        ----------
        name : str
        horizon : int
        target : Router
        rows : int array ``[i]``
            Rows of the board.
        scores : float array ``[i, expert]``
        link : {"rank", "inclusion", "log-weight"}
            Meaning of a score, as for `routestat.counting.score_sums.score_matrix`.
        order : float array ``[i, expert]``, optional
            What the experts are ordered by, if not by their scores.
        place : int array ``[i]``, optional
            The row of `scores` and `order` that predicts each of the rows, where one predicts several.
        """
        if not self.wants(name, horizon) or not len(rows):
            return
        with self._lock:
            if (name, horizon) not in self.found:
                nothing = FirstExperts.nothing(self._rows, len(self._layer), self._places)
                self.found[name, horizon] = nothing
        kept, layer = self.found[name, horizon], self._layer[target.name]
        width = min(self._places, target.n_experts)
        experts = np.empty((len(scores), width), np.int16)
        chance = np.empty((len(scores), width), np.float32)
        for start in range(0, len(scores), _ROWS):
            part = slice(start, start + _ROWS)
            own = np.ascontiguousarray(scores[part], np.float64)
            ordered = own if order is None else np.ascontiguousarray(order[part], np.float64)
            first_experts(own, ordered, LINKS[link], target.top_k, experts[part], chance[part])
        if place is not None:
            experts, chance = experts[place], chance[place]
        kept.experts[rows, layer, :width] = experts
        kept.chance[rows, layer, :width] = chance
