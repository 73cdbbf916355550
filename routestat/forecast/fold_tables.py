"""Tables of experts per fold of documents, and the probabilities of inclusion that the other folds give."""

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, Source
from routestat.counting.context import Context
from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.prior import resolve_alpha
from routestat.traces.metadata import Router


class FoldTables:
    """The tables of one target, by fold.

    Attributes
    ----------
    target : Router
    alpha : str or float
        The prior of rows.
    load_log_weights : float array ``[fold, j]``, optional
        Tempered log weights of the target's load (see `routestat.forecast.tempered.fit_load`).
    """

    def __init__(
        self, rows: BoardRows, target: Router, alpha: str | float, load_log_weights: Floats | None = None
    ) -> None:
        self.target, self.alpha, self.load_log_weights = target, alpha, load_log_weights
        self._rows, self._found = rows, dict[Context, Floats]()

    def has(self, context: Context) -> bool:
        """Whether the target has every source of a context."""
        place = self._rows.routers.index(self.target)
        return all(place + layer >= 0 for layer, _ in context.sources)

    def sources(self, context: Context) -> tuple[Source, ...]:
        """Return the sources of a context as pairs (router, lag in tokens)."""
        place = self._rows.routers.index(self.target)
        return tuple((self._rows.routers[place + layer], -token) for layer, token in context.sources)

    def inclusion(self, context: Context) -> Floats:
        """P(expert j is chosen | row) ``[fold, row, j]``, each fold's from the other folds' table.

        Rows are the experts of the context's one source; without a source there is one row.
        """
        if context not in self._found:
            sources = self.sources(context)
            tables = (
                self._rows.pairs(sources[0], self.target)
                if sources
                else self._rows.loads(self.target)[:, None]
            )
            self._found[context] = held_out_inclusion(tables, self.alpha, self.target.top_k)
        return self._found[context]


def held_out_inclusion(tables: NDArray[np.integer], alpha: str | float, top_k: int) -> Floats:
    """P(expert j is chosen | row) ``[fold, row, j]``, each fold's fitted on the other folds' tables.

    It is k times the posterior mean share of the row's choices. A learned prior comes from the folds of the
    other parity, so that no fold ever scores itself.

    Parameters
    ----------
    tables : counts ``[fold, row, j]``
    alpha : str or float
    top_k : int
        Of the target.
    """
    parts = tables.astype(np.int64)
    total = parts.sum(axis=0)
    priors = [resolve_alpha(parts[1 - parity :: 2].sum(axis=0), alpha) for parity in (0, 1)]
    found = []
    for fold, own in enumerate(parts):
        rows, prior = total - own, priors[fold % 2]
        found.append(top_k * (rows + prior) / (rows.sum(axis=1, keepdims=True) + prior.sum()))
    return np.clip(np.array(found), 1e-9, 1 - 1e-9)
